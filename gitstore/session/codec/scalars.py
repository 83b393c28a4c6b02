"""How one scalar is spelled, and what a spelling means."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gitstore.session.codec.limits import (
    INTEGER_BOUND,
    MAX_DIGITS,
    NOT_FINITE,
    TOO_LONG,
)

if TYPE_CHECKING:
    from gitstore.session.values import Value

#: Characters that may stand in a plain scalar. Fixed ranges, not `str.isprintable`: the bytes of a
#: file must not depend on the Unicode tables of the Python that wrote it.
_PLAIN_CHARS: Final = (
    "\x20-\x7e\xa1-\u167f\u1681-\u1fff\u2010-\u2027\u2030-\u205e\u2060-\u2fff"
    "\u3001-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010fffd"
)
#: Characters that a plain scalar may start with: none that starts a number, a date or an indicator
#: in any YAML version. A single underscore before a digit is a number to some readers.
_PLAIN_START: Final = (
    r"(?:_(?=[A-Za-z_])|[A-Za-z/($\u00c0-\u167f\u3041-\ud7ff\U0001f300-\U0001faff])"
)
_PRINTABLE: Final = (
    "\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
)

_is_plain = re.compile(f"{_PLAIN_START}[{_PLAIN_CHARS}]*(?<![ :])").fullmatch
_unprintable = re.compile(f"[^\t{_PRINTABLE}]").search
#: What is printable of ASCII.
_ASCII: Final = b"\t\n" + bytes(range(0x20, 0x7F))
#: A lone surrogate is not escaped: no other reader accepts one, so that it has to fail.
_to_escape = re.compile('[\x00-\x1f"\\\\\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]')

#: Words that some YAML version takes for a boolean, a null or a number.
_RESERVED: Final = frozenset(
    {"null", "none", "nil", "true", "false", "yes", "no", "on", "off", "y", "n"}
    | {"nan", "inf", "infinity"}
)
#: Characters of the texts whose spelling is remembered.
_SHORT_MAX: Final = 32
_RESERVED_MAX: Final = max(map(len, _RESERVED))
_NAMED_ESCAPES: Final = {
    "\0": "\\0", "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f",
    "\r": "\\r", "\x1b": "\\e", '"': '\\"', "\\": "\\\\", "\x85": "\\N",
    "\u2028": "\\L", "\u2029": "\\P",
}  # fmt: skip
#: The same the other way round: what stands behind the backslash, and the character.
UNESCAPES: Final = {escape[1]: char for char, escape in _NAMED_ESCAPES.items()}


class Unwritable(ValueError):  # noqa: N818 - a signal inside the codec, no error of the package
    """The value has no place in a session file; the message says why."""


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    named = _NAMED_ESCAPES.get(char)
    if named is not None:
        return named
    code = ord(char)
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}"  # noqa: PLR2004 - one byte


def double_quoted(text: str) -> str:
    """Return the text on one line in double quotes."""
    return '"' + _to_escape.sub(_escape, text) + '"'


def is_reserved(text: str) -> bool:
    """Whether some YAML version takes the text, unquoted, for a boolean, a null or a number."""
    return len(text) <= _RESERVED_MAX and text.lower() in _RESERVED


def is_plain(text: str) -> bool:
    """Whether every YAML reader takes the text, unquoted in a block, for that string."""
    return bool(
        _is_plain(text) and ": " not in text and " #" not in text and not is_reserved(text),
    )


def one_line(text: str) -> str:
    """Return the canonical spelling of a string on one line: plain, or in quotes."""
    if is_plain(text):
        return text
    if "'" in text or "\n" in text or "\t" in text or not _is_printable(text):
        return double_quoted(text)
    return f"'{text}'"


#: Remembers, in a megabyte: names, roles, tools and the like come again in one turn after the other.
_short_line: Final = lru_cache(maxsize=4096)(one_line)


def string(text: str, indent: str) -> str:
    """Return the canonical spelling of a string value; a block's lines start with `indent`."""
    if "\n" not in text:
        return _short_line(text) if len(text) <= _SHORT_MAX else one_line(text)
    # A block cannot begin with a tab for libyaml, nor hold nothing but white space.
    if text[0] == "\t" or not text.strip(" \n\t") or not _is_printable(text):
        return double_quoted(text)
    return _block(text, indent)


def _is_printable(text: str) -> bool:
    """Whether a text has nothing but printable characters, line breaks and tabs."""
    if text.isascii():
        return not text.encode().translate(None, _ASCII)  # a seventh of the time of the other way
    return _unprintable(text) is None


def _block(text: str, indent: str) -> str:
    # A reader takes the indentation from the first line, unless it is told.
    header = "|2" if text[0] in " \n" else "|"
    body = text[:-1]
    if text[-1] != "\n":
        header, body = header + "-", text
    elif text[-2] == "\n":
        header += "+"
    if text[0] != "\n" and "\n\n" not in text:
        return f"{header}\n{indent}" + body.replace("\n", "\n" + indent)
    # Empty lines are written without the indentation.
    lines = [indent + line if line else "" for line in body.split("\n")]
    return header + "\n" + "\n".join(lines)


def float_text(value: float) -> str:
    """Return the canonical spelling of a float: with a dot and a signed exponent.

    Raises:
        Unwritable: It is not finite.
    """
    text = repr(value)
    if "e" in text:
        mantissa, exponent = text.split("e")
        if "." not in mantissa:
            mantissa += ".0"
        return f"{mantissa}e{exponent}"
    if "n" in text:
        raise Unwritable(NOT_FINITE)
    return text


_CONSTANTS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NUMBER_START: Final = frozenset("+-.0123456789")
_is_float = re.compile(
    r"""[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?""",
    re.X,
).fullmatch
_is_special = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)").fullmatch
_is_integer = re.compile(r"([-+]?)(?:0b([01_]+)|0o([0-7_]+)|0x([0-9a-fA-F_]+)|([0-9_]+))").fullmatch
#: Characters of the longest integer, written in binary.
_INTEGER_CHARS: Final = 4 * MAX_DIGITS


def resolve(text: str) -> Value:
    """Return the value of a plain scalar by the rules of YAML 1.2; dates stay text.

    Raises:
        Unwritable: It is a number that cannot be kept.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMBER_START:
        return text
    match = _is_integer(text)
    if match is not None:
        return _integer(text, match)
    if _is_float(text):
        return _float(text)
    if _is_special(text):
        raise Unwritable(NOT_FINITE)
    return text


def _integer(text: str, match: re.Match[str]) -> int | str:
    digits = match[match.lastindex or 0].replace("_", "")
    if not digits:
        return text
    base = {2: 2, 3: 8, 4: 16, 5: 10}[match.lastindex or 0]
    if len(digits) > (MAX_DIGITS if base == 10 else _INTEGER_CHARS):  # noqa: PLR2004 - decimal
        raise Unwritable(TOO_LONG)
    value = int(digits, base)
    if value >= INTEGER_BOUND:
        raise Unwritable(TOO_LONG)
    return -value if match[1] == "-" else value


def _float(text: str) -> float | str:
    digits = text.replace("_", "")
    if digits.lstrip("+-") == ".":
        return text
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        message = "a number too large for a float; store it as text"
        raise Unwritable(message)
    return value

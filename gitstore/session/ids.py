"""Session ids, and the one path in the tree that belongs to each.

An id becomes a file name, a line of a commit message and an argument of commands, on every
operating system the repository is cloned to. So what any of them would read as something else is
refused: the rules are few and strict, because an id that was once accepted cannot be taken back.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from gitstore.errors import InvalidSessionIdError
from gitstore.types import SessionId

#: The folder of the repository that holds the sessions.
DIRECTORY: Final = "sessions"
SUFFIX: Final = ".yaml"
#: In UTF-8; with the suffix a file name stays below the 255 bytes that file systems allow, and
#: leaves room for the affixes of temporary files.
ID_BYTES_MAX: Final = 200
#: What is kept of a longer text in the error about it.
_EXCERPT_MAX: Final = 80

# Nearly every id is a UUID or a slug. No character of this set can break any rule but the one
# about device names, so one match decides.
_DEVICE: Final = "(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])"
_USUAL_NAME: Final = rf"[A-Za-z0-9_][A-Za-z0-9_-]{{0,{ID_BYTES_MAX - 1}}}"
_USUAL: Final = re.compile(rf"(?!{_DEVICE}\Z){_USUAL_NAME}")
_ABOVE: Final = f"{DIRECTORY}/([0-9a-f]{{2}})/"
_BEHIND: Final = re.escape(SUFFIX)
_USUAL_PATH: Final = re.compile(f"{_ABOVE}(?!{_DEVICE}{_BEHIND})({_USUAL_NAME}){_BEHIND}")
_PATH: Final = re.compile(f"{_ABOVE}(.+){_BEHIND}", re.DOTALL)
_FORBIDDEN: Final = re.compile(r'[/\\:*?"<>|]')
# Whole names that mean something else to Windows, with what to say of them.
_NAMES: Final = (
    # The device is opened whatever the extension, and a superscript digit is a digit.
    (
        re.compile(
            r"(?:con|prn|aux|nul|conin\$|conout\$|clock\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])"
            r"(?: *\..*)?",
            re.IGNORECASE | re.DOTALL,
        ),
        "Windows takes it for a device",
    ),
    # NTFS short names: `git~1` is another spelling of `.git`, `gitmod~1` one of `.gitmodules`.
    (
        re.compile(r"[^.]*~[0-9]+(?:\..*)?", re.DOTALL),
        "Windows could take it for the short name of another file",
    ),
)
_ENDINGS: Final = (".lock", ".tmp", SUFFIX, "~")
# Printable by category, but drawn as nothing: two ids that differ by one of them look the same,
# and HFS+ skips some of them when it compares names.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_CATEGORIES: Final = {
    "Cc": "a control character",
    "Cf": "an invisible or text-direction character",
    "Cn": "not assigned by Unicode",
    "Co": "for private use",
    "Cs": "half of a surrogate pair",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
    "Zs": "a space other than U+0020",
}


def parse_session_id(text: str) -> SessionId:
    """Return the text as a session id.

    A trailing ``.yaml`` is refused too: it is always a file name given in place of an id.

    Raises:
        InvalidSessionIdError: It could not be one file name on every system. The error's
            `session_id` is the text, cut when it is long; `problem` says which rule it breaks.
    """
    plain = _plain(text)
    if _USUAL.fullmatch(plain) is None:
        problem = _length_problem(plain) or _character_problem(plain) or _name_problem(plain)
        if problem is not None:
            cut = plain if len(plain) <= _EXCERPT_MAX else plain[:_EXCERPT_MAX] + "..."
            raise InvalidSessionIdError(session_id=cut, problem=problem)
    return SessionId(plain)


def path_of(session_id: SessionId) -> str:
    """Return the path of the session's file from the top of the repository."""
    return f"{DIRECTORY}/{_shard_of(session_id)}/{session_id}{SUFFIX}"


def session_id_of(path: str) -> SessionId | None:
    """Return the session whose file this is, or None if the path belongs to no session."""
    match = _USUAL_PATH.fullmatch(path) or _PATH.fullmatch(path)
    if match is None:
        return None
    shard, name = match.groups()
    if match.re is _PATH:
        try:
            parse_session_id(name)
        except InvalidSessionIdError:
            return None
    return SessionId(name) if _shard_of(name) == shard else None


def _shard_of(session_id: str) -> str:
    """Return the name of the folder that a session's file lies in."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:2]


def clash_key(session_id: SessionId) -> str:
    """Return a text that is equal for ids which some file system cannot tell apart.

    Coarser than any one file system, on purpose: Unicode's canonical caseless match, which knows
    more equal pairs than NTFS, and upper case before it, because some compare by that.
    """
    # Decomposed first: a mark in between would hide from the folding what it belongs to.
    folded = unicodedata.normalize("NFD", session_id).upper().casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", folded).casefold())


def _plain(value: object) -> str:
    """Return the value as an exact `str`: an annotation is a promise that callers may not keep."""
    if not isinstance(value, str):
        name = type(value).__name__
        raise InvalidSessionIdError(session_id=f"<{name}>", problem=f"it is a {name}, not text")
    return str.__str__(value)


def _length_problem(text: str) -> str | None:
    if not text:
        return "it is empty"
    # Counted in characters first, so that a huge text costs nothing.
    if len(text) > ID_BYTES_MAX or len(text.encode(errors="replace")) > ID_BYTES_MAX:
        return f"it is longer than {ID_BYTES_MAX} bytes of UTF-8"
    return None


def _character_problem(text: str) -> str | None:
    """Name the first rule about single characters that the text breaks."""
    for character in text:
        category = unicodedata.category(character)
        if category in _CATEGORIES and character != " ":
            return f"it contains U+{ord(character):04X}, which is {_CATEGORIES[category]}"
    if found := _INVISIBLE.search(text):
        return f"it contains U+{ord(found[0]):04X}, which is invisible"
    if found := _FORBIDDEN.search(text):
        return f"it contains {found[0]}, which file systems or git give a meaning"
    if not unicodedata.is_normalized("NFC", text):
        return "it is not in Unicode normalization form C; use unicodedata.normalize('NFC', ...)"
    return None


def _name_problem(text: str) -> str | None:
    """Name the first rule about the whole name that the text breaks."""
    if text[0] in ".- ":
        return f"it begins with {text[0]!r}"
    if unicodedata.category(text[0]).startswith("M"):
        return "it begins with a combining mark"
    if text[-1] in ". ":
        return f"it ends in {text[-1]!r}"
    for ending in _ENDINGS:
        if text.lower().endswith(ending):
            return f"it ends in {ending}, like a file that is not a session"
    return next((problem for rule, problem in _NAMES if rule.fullmatch(text)), None)

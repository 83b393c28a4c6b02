"""The text of a git configuration file, changed in places: every other byte stays (git-config(1))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_HEADER: Final = re.compile(
    rb'[ \t]*\[[ \t]*([A-Za-z0-9.-]+)(?:[ \t]+"((?:[^"\\\n]|\\[^\n])*)")?[ \t]*\][ \t]*'
)
_VARIABLE: Final = re.compile(rb"[ \t]*([A-Za-z][A-Za-z0-9-]*)")
_NO_VALUE: Final = re.compile(rb"[ \t\r]*(?:[#;][^\n]*)?(?:\n|\Z)")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some bytes of the file, and what they are: a header, a variable, or (no name) the rest."""

    text: bytes
    #: As ``remote.origin``.
    section: str
    name: str | None = None
    is_header: bool = False


class ConfigText:
    """A configuration file as pieces whose bytes add up to it."""

    def __init__(self, data: bytes) -> None:
        self._pieces = list(_pieces(data))

    def data(self) -> bytes:
        """Return the file."""
        return b"".join(piece.text for piece in self._pieces)

    def is_sound(self) -> bool:
        """Whether the bytes mean what was changed: a file that breaks off in a value swallows it."""
        again = _pieces(self.data())
        return [(p.section, p.name) for p in again if p.name] == [
            (p.section, p.name) for p in self._pieces if p.name
        ]

    def has(self, section: str, name: str | None = None) -> bool:
        """Whether a section is there, or a variable in it."""
        return any(
            piece.section == section and (piece.is_header if name is None else _is(piece, name))
            for piece in self._pieces
        )

    def set(self, section: str, name: str, value: str) -> None:
        """Replace the first value of a variable, or add the variable."""
        line = f"\t{name} = {_quoted(value)}\n".encode()
        new = _Piece(line, section, name.lower())
        ours = [n for n, piece in enumerate(self._pieces) if piece.section == section]
        for at in ours:
            if _is(self._pieces[at], name):
                self._pieces[at] = new
                return
        last = max((n for n in ours if self._is_told(n)), default=None)
        if last is None:
            self._end_line(len(self._pieces) - 1)
            header = _Piece(_header(section), section, is_header=True)
            self._pieces += [header, new]
            return
        self._end_line(last)
        self._pieces.insert(last + 1, new)

    def remove(self, section: str, name: str) -> None:
        """Remove all values of a variable."""
        self._pieces = [p for p in self._pieces if not (p.section == section and _is(p, name))]

    def remove_section(self, section: str) -> None:
        """Remove a section, but not the comments after its last variable."""
        told = 0
        kept: list[_Piece] = []
        for n, piece in reversed(list(enumerate(self._pieces))):
            # Reading backwards: below the last variable of a block a comment is the next block's.
            if piece.section != section:
                told = 0
            elif self._is_told(n):
                told = 0 if piece.is_header else 1
                continue
            elif told:
                continue
            kept.append(piece)
        self._pieces = kept[::-1]

    def remove_empty(self, section: str) -> None:
        """Remove a section if there is no variable in it any more."""
        if not any(p.section == section and p.name is not None for p in self._pieces):
            self.remove_section(section)

    def _is_told(self, at: int) -> bool:
        return self._pieces[at].is_header or self._pieces[at].name is not None

    def _end_line(self, at: int) -> None:
        """Make sure that what comes after a piece begins on a line of its own."""
        if at >= 0 and not self._pieces[at].text.endswith(b"\n"):
            piece = self._pieces[at]
            self._pieces[at] = _Piece(
                piece.text + b"\n", piece.section, piece.name, is_header=piece.is_header
            )


def _pieces(data: bytes) -> list[_Piece]:
    found: list[_Piece] = []
    section = ""
    at = 0
    while at < len(data):
        begin = at
        header = _HEADER.match(data, at)
        variable = None if header else _VARIABLE.match(data, at)
        if header:
            section = _section(header)
            at = header.end()
            if nothing := _NO_VALUE.match(data, at):
                at = nothing.end()
            found.append(_Piece(data[begin:at], section, is_header=True))
        elif variable:
            at = _end_of_value(data, variable.end())
            name = variable[1].decode().lower()
            found.append(_Piece(data[begin:at], section, name))
        else:
            at = data.find(b"\n", at) + 1 or len(data)
            found.append(_Piece(data[begin:at], section))
    return found


def _end_of_value(data: bytes, at: int) -> int:
    """Return where the line after a value begins; a backslash can continue a line."""
    quoted = False
    while at < len(data):
        character = data[at : at + 1]
        if character == b"\\":
            at += 3 if data[at + 1 : at + 3] == b"\r\n" else 2
            continue
        if character == b"\n":
            return at + 1
        if character == b'"':
            quoted = not quoted
        elif character in (b"#", b";") and not quoted:
            return data.find(b"\n", at) + 1 or len(data)
        at += 1
    return len(data)


def _section(header: re.Match[bytes]) -> str:
    name = header[1].decode().lower()
    if header[2] is None:
        return name
    subsection = re.sub(rb"\\(.)", rb"\1", header[2]).decode(errors="surrogateescape")
    return f"{name}.{subsection}"


def _header(section: str) -> bytes:
    name, dot, subsection = section.partition(".")
    if not dot:
        return f"[{name}]\n".encode()
    escaped = subsection.replace("\\", "\\\\").replace('"', '\\"')
    return f'[{name} "{escaped}"]\n'.encode(errors="surrogateescape")


def _quoted(value: str) -> str:
    escaped = "".join(_ESCAPES.get(character, character) for character in value)
    needs = value != value.strip() or any(character in value for character in "#;\r")
    return f'"{escaped}"' if needs else escaped


def _is(piece: _Piece, name: str) -> bool:
    return piece.name == name.lower()

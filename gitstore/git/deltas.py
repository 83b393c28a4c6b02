"""Deltas: one version of a file told as copies from another, and what is new (gitformat-pack(5)).

What both begin and end with is found by comparing bytes, what is between by lines that occur once in
the base. So a delta costs time in proportion to the texts, however unlike they are, and no step of
it is long enough to keep other threads waiting.
"""

from __future__ import annotations

from typing import Final

_COPY: Final = 0x80
_COPY_MAX: Final = 0xFFFFFF
_INSERT_MAX: Final = 0x7F
#: Bytes below which a copy takes as much room as what it copies.
_MATCH_MIN: Final = 12
#: Bytes of a line below which it is not looked for: it would be found everywhere.
_LINE_MIN: Final = 4
_STEP: Final = 64
#: Stands for a line that the base holds more than once.
_REPEATED: Final = -1


class Base:
    """What deltas are made against; the index of its lines is made when one is needed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._lines: dict[bytes, int] | None = None

    def delta(self, target: bytes) -> bytes:
        """Return the delta that makes `target` of the base."""
        base = self.data
        out = bytearray(_varint(len(base)) + _varint(len(target)))
        shorter = min(len(base), len(target))
        head = _same_ahead(base, 0, target, 0, shorter)
        tail = _same_behind(base, len(base), target, len(target), shorter - head)
        _copy(out, 0, head)
        self._middle(out, target, head, len(target) - tail)
        _copy(out, len(base) - tail, tail)
        return bytes(out)

    def _middle(self, out: bytearray, target: bytes, start: int, stop: int) -> None:
        """Tell `target` from `start` to `stop`, where neither its beginning nor its end is common."""
        base, told, at = self.data, start, start
        lines = self._index() if stop - start >= _MATCH_MIN else {}
        while at < stop and lines:
            end = target.find(b"\n", at, stop)
            place = lines.get(target[at : end if end >= 0 else stop], _REPEATED)
            if place != _REPEATED:
                before = _same_behind(base, place, target, at, min(place, at - told))
                ahead = _same_ahead(base, place, target, at, min(len(base) - place, stop - at))
                if before + ahead >= _MATCH_MIN:
                    _insert(out, target, told, at - before)
                    _copy(out, place - before, before + ahead)
                    told = at = at + ahead
                    if target[at - 1 : at] == b"\n":
                        continue
                    end = target.find(b"\n", at, stop)
            if end < 0:
                break
            at = end + 1
        _insert(out, target, told, stop)

    def _index(self) -> dict[bytes, int]:
        """Return where each line begins that there is once, but for the shortest."""
        if self._lines is None:
            found: dict[bytes, int] = {}
            at = 0
            for line in self.data.split(b"\n"):
                if len(line) >= _LINE_MIN:
                    found[line] = _REPEATED if line in found else at
                at += len(line) + 1
            self._lines = found
        return self._lines


def splice(size: int, target: bytes, head: int, tail: int) -> bytes:
    """Return the delta that makes `target` of a base of this size that begins and ends as it does.

    `head` and `tail` are how many bytes; in neither of the two texts do they overlap.
    """
    out = bytearray(_varint(size) + _varint(len(target)))
    _copy(out, 0, head)
    _insert(out, target, head, len(target) - tail)
    _copy(out, size - tail, tail)
    return bytes(out)


def _same_ahead(one: bytes, i: int, two: bytes, j: int, most: int) -> int:
    """Return how many bytes from `i` and from `j` on are the same, up to `most`."""
    done, step = 0, _STEP
    while done < most and one[i + done : i + done + step] == two[j + done : j + done + step]:
        done += step
        step *= 2
    # The first difference is within the last step, or the end is.
    done = min(done, most)
    while step:
        if done + step <= most and (
            one[i + done : i + done + step] == two[j + done : j + done + step]
        ):
            done += step
        step >>= 1
    return done


def _same_behind(one: bytes, i: int, two: bytes, j: int, most: int) -> int:
    """Return how many bytes up to `i` and up to `j` are the same, up to `most`."""
    done, step = 0, _STEP
    while (
        done + step <= most and one[i - done - step : i - done] == two[j - done - step : j - done]
    ):
        done += step
        step *= 2
    while step:
        if done + step <= most and (
            one[i - done - step : i - done] == two[j - done - step : j - done]
        ):
            done += step
        step >>= 1
    return done


def _copy(out: bytearray, offset: int, size: int) -> None:
    while size:
        part = min(size, _COPY_MAX)
        command, operands = _COPY, bytearray()
        for bit, byte in enumerate((*offset.to_bytes(4, "little"), *part.to_bytes(3, "little"))):
            if byte:
                command |= 1 << bit
                operands.append(byte)
        out.append(command)
        out += operands
        offset += part
        size -= part


def _insert(out: bytearray, target: bytes, start: int, stop: int) -> None:
    while start < stop:
        part = target[start : min(stop, start + _INSERT_MAX)]
        out.append(len(part))
        out += part
        start += len(part)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 -- seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)

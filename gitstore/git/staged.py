"""Objects before they are written: their ids, and those that wait in memory."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

#: What kind of object it is, as a pack numbers them.
KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
NUMBERS = {kind: number for number, kind in KINDS.items()}


def header(kind: str, data: bytes) -> bytes:
    """Return what git puts in front of an object's data."""
    return b"%s %d\0" % (kind.encode(), len(data))


def framed(kind: str, data: bytes) -> bytes:
    """Return the bytes an object's id is the SHA-1 of."""
    return header(kind, data) + data


def object_id(kind: str, data: bytes) -> str:
    """Return the id that git gives to an object: 40 hex digits."""
    digest = sha1(header(kind, data), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


class Like(NamedTuple):
    """An object that another one begins and ends as, by so many bytes: a tree before an edit."""

    name: str
    head: int
    tail: int


class StagedObject(NamedTuple):
    """An object that waits to be written."""

    name: str
    kind: str
    data: bytes
    like: Like | None


class Staged:
    """Objects that exist in memory and are not written yet."""

    def __init__(self) -> None:
        self._objects: dict[str, StagedObject] = {}
        #: The pack that they were written into, without suffix, if they were.
        self.pack: str | None = None

    def add(
        self, kind: str, data: bytes, *, name: str | None = None, like: Like | None = None
    ) -> str:
        """Take an object in and return its id, which is `name` if the caller has computed it."""
        name = object_id(kind, data) if name is None else name
        if name not in self._objects:
            self._objects[name] = StagedObject(name, kind, data, like)
        return name

    def get(self, name: str) -> bytes | None:
        """Return the data of a staged object."""
        found = self._objects.get(name)
        return None if found is None else found.data

    def objects(self) -> Collection[StagedObject]:
        """Return the objects, in the order of `add`: what is named comes first."""
        return self._objects.values()

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Return ids and framed bytes, in the order of `objects`."""
        for each in self._objects.values():
            yield each.name, framed(each.kind, each.data)

"""Commits in memory: each is the tip's tree with one path changed, never built from the index."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from gitstore.git import trees
from gitstore.git.staged import Like, Staged
from gitstore.types import Author, CommitId, Revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    #: Returns the signature, in armour, of the bytes of a commit that has none.
    Sign = Callable[[bytes], bytes]


class Drafted(NamedTuple):
    """A commit of a draft: its parents, its time and its root tree."""

    id: CommitId
    parents: tuple[CommitId, ...]
    time: int
    tree: str


@dataclass(frozen=True, slots=True)
class File:
    """A file of a commit; its bytes are read when they are needed."""

    id: str
    mode: bytes
    read: Callable[[], bytes]


class _Step(NamedTuple):
    """A tree on the way to a path, if there is one, and what it holds under the next name."""

    tree: str | None
    name: bytes
    entry: trees.Entry | None


class Draft:
    """A chain of commits on top of a tip."""

    def __init__(
        self,
        *,
        base: CommitId | None,
        base_time: int,
        root: str | None,
        read_tree: Callable[[str], bytes],
    ) -> None:
        self.base = base
        self.tip = base
        self.staged = Staged()
        #: What the changed files are at the end of the chain; None for a removed one.
        self.files: dict[str, File | None] = {}
        #: What was at the paths that are no sessions, and must be staged there still.
        self.before: dict[str, str | None] = {}
        #: The commits, oldest first.
        self.commits: list[Drafted] = []
        #: Subject of the last commit, for the reflog.
        self.subject = ""
        self._time = base_time
        self._root = root
        self._read = read_tree
        self._trees: dict[str, bytes] = {}
        self._last_way: tuple[str | None, str, list[_Step]] = (None, "", [])

    @property
    def time(self) -> int:
        """Committer time of the last commit."""
        return self._time

    def blob_at(self, path: str) -> Revision | None:
        """Return the id of the file at `path` as of the last commit."""
        entry = self._way(self._root, path)[-1].entry
        return None if entry is None or entry.is_folder else Revision(entry.id)

    def entries_in(self, folder: str) -> list[trees.Entry]:
        """Return the entries of a folder as of the last commit."""
        tree = self._root
        for part in folder.split("/"):
            entry = None if tree is None else trees.find(self._tree(tree), part.encode())
            tree = entry.id if entry is not None and entry.is_folder else None
        return [] if tree is None else list(trees.entries(self._tree(tree)))

    def commit(
        self,
        path: str,
        data: bytes | None,
        *,
        author: Author,
        time: int,
        message: str,
        sign: Sign | None = None,
        blob: str | None = None,
    ) -> CommitId:
        """Add a commit that puts `data` at `path`, or removes what is there when it is None.

        The commit is never older than its parent nor than 1970: git counts on it. `sign` makes the
        signature it carries; when that fails, the draft is as it was. `blob` is the id of the data,
        if the caller has computed it.
        """
        ids = {} if blob is None else {path: blob}
        return self.commit_all(
            {path: data}, author=author, time=time, message=message, sign=sign, ids=ids
        )

    def commit_all(
        self,
        files: Mapping[str, bytes | None],
        *,
        author: Author,
        time: int,
        message: str,
        sign: Sign | None = None,
        ids: Mapping[str, str] = MappingProxyType({}),
    ) -> CommitId:
        """Add one commit that changes several files, as `commit` does one; `ids` are known ids."""
        made = {
            path: None if data is None else self._stage(data, ids.get(path))
            for path, data in files.items()
        }
        parents = () if self.tip is None else (self.tip,)
        return self._commit(made, parents, author=author, time=time, message=message, sign=sign)

    def merge(
        self,
        theirs: CommitId,
        files: Mapping[str, File | bytes | None],
        *,
        before: Mapping[str, str | None],
        author: Author,
        time: int,
        message: str,
        sign: Sign | None = None,
    ) -> CommitId:
        """Add a commit that has `theirs` as its second parent, and changes files as `commit` does.

        `time` must not be before the commit time of `theirs`. `before` is as in `forward`.
        """
        assert self.tip is not None
        made = {
            path: self._stage(file) if isinstance(file, bytes) else file
            for path, file in files.items()
        }
        self.before.update(before)
        return self._commit(
            made, (self.tip, theirs), author=author, time=time, message=message, sign=sign
        )

    def forward(
        self,
        to: CommitId,
        files: Mapping[str, File | None],
        *,
        before: Mapping[str, str | None],
        root: str,
        time: int,
        subject: str,
    ) -> None:
        """End at a commit that exists: `root` is its tree, `files` are what it has otherwise.

        `before` holds, for the changed paths that are no sessions, the blob that was there: what a
        person staged in its place must not be overwritten.
        """
        self.tip = to
        self._root = root
        self._time = time
        self.subject = subject
        self.files.update(files)
        self.before.update(before)

    def trees(self) -> Iterator[tuple[str, bytes]]:
        """Return id and data of every tree of the draft."""
        yield from self._trees.items()

    def _tree(self, name: str) -> bytes:
        found = self._trees.get(name)
        return self._read(name) if found is None else found

    def _stage(self, data: bytes, name: str | None = None) -> File:
        return File(self.staged.add("blob", data, name=name), trees.FILE, lambda: data)

    def _commit(
        self,
        files: Mapping[str, File | None],
        parents: tuple[CommitId, ...],
        *,
        author: Author,
        time: int,
        message: str,
        sign: Sign | None,
    ) -> CommitId:
        root = self._root
        # What goes makes room first: a folder may take the place of a file.
        for path, file in sorted(files.items(), key=lambda item: item[1] is not None):
            root = self._edit(root, path, file)
        root = self._add_tree(b"", None) if root is None else root
        when = max(self._time, time, 0)
        who = identity(author, when)
        above = b"".join(b"parent %s\n" % parent.encode() for parent in parents)
        head = b"tree %s\n%sauthor %s\ncommitter %s\n" % (root.encode(), above, who, who)
        body = b"%s\n%s" % (head, message.encode())
        if sign is not None:
            body = with_signature(body, sign(body))
        self.tip = CommitId(self.staged.add("commit", body))
        self.commits.append(Drafted(self.tip, parents, when, root))
        self._root = root
        self._time = when
        self.subject = message.split("\n", 1)[0]
        self.files.update(files)
        return self.tip

    def _way(self, root: str | None, path: str) -> list[_Step]:
        """Return the trees on the way to a path, and what they hold there.

        The last way is kept: who has looked at a path changes it next.
        """
        if self._last_way[:2] == (root, path):
            return self._last_way[2]
        way: list[_Step] = []
        tree = root
        for part in path.split("/"):
            name = part.encode()
            entry = None if tree is None else trees.find(self._tree(tree), name)
            way.append(_Step(tree, name, entry))
            tree = entry.id if entry is not None and entry.is_folder else None
        self._last_way = root, path, way
        return way

    def _edit(self, root: str | None, path: str, file: File | None) -> str | None:
        """Return the root tree with one path changed, or None if nothing is left in it."""
        mode, below = (trees.FOLDER, None) if file is None else (file.mode, file.id)
        for tree, name, entry in reversed(self._way(root, path)):
            data = b"" if tree is None else self._tree(tree)
            if below is None:
                edited = trees.removed(data, entry)
            else:
                edited = trees.put(data, entry, mode, name, below)
            like = None if tree is None else Like(tree, edited.head, edited.tail)
            mode, below = trees.FOLDER, self._add_tree(edited.data, like) if edited.data else None
        return below

    def _add_tree(self, data: bytes, like: Like | None) -> str:
        name = self.staged.add("tree", data, like=like)
        self._trees[name] = data
        return name


def with_signature(commit: bytes, signature: bytes) -> bytes:
    """Return the commit with the signature as its last header, as git writes it."""
    head, end, message = commit.partition(b"\n\n")
    lines = b"\n ".join(signature.rstrip(b"\n").split(b"\n"))
    return b"%s\ngpgsig %s%s%s" % (head, lines, end, message)


def identity(author: Author, time: int) -> bytes:
    """Return an author or committer line's value, with what git forbids in names left out."""
    return b"%s %d +0000" % (_who(author.name, author.email), time)


@lru_cache(maxsize=16)
def _who(name: str, email: str) -> bytes:
    """Return name and address as commits have them; a store has one author for all of its."""
    return f"{_clean(name) or 'unknown'} <{_clean(email)}>".encode()


def _clean(text: str) -> str:
    """Leave out what would end the field (git's own rule, `strbuf_addstr_without_crud`)."""
    kept = "".join(" " if ord(c) < 32 else c for c in text if c not in "<>")  # noqa: PLR2004 -- control characters
    return kept.encode(errors="replace").decode().strip(" .,:;\\\"'")

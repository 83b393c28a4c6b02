"""What an object must look like so that every git takes it, and no file system is fooled by it.

Pure. The rules are those of ``git fsck --strict`` (git-fsck(1), fsck.h), which a server with
``receive.fsckObjects`` applies to a push, and a few that are stricter:

* what git only warns of is refused too (zero-padded modes, NUL in a message): somebody's server would;
* no header of a commit may come twice, since readers differ in which of the two they believe;
* dates end with the year 9998: later ones some programs cannot show.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain
from typing import Final

from gitstore.git.trees import FILE, FOLDER

EXECUTABLE: Final = b"100755"
LINK: Final = b"120000"
GITLINK: Final = b"160000"
#: A folder of about 100,000 files.
TREE_BYTES_MAX: Final = 4 << 20
COMMIT_BYTES_MAX: Final = 1 << 20
#: Bytes of a line of ``.gitattributes`` that git reads.
_ATTRIBUTE_LINE_MAX: Final = 2048
_DATE_MAX: Final = 253_370_764_800
_NAME_BYTES_MAX: Final = 4096
_SHOWN_MAX: Final = 300
#: Modes that git writes, and the one that it wrote for files long ago.
_MODES: Final = frozenset(
    mode + b" " for mode in (FILE, b"100664", EXECUTABLE, FOLDER, LINK, GITLINK)
)
_NULL: Final = b"\0" * 20
_FOLDER: Final = FOLDER + b" "
_PERSON: Final = rb"[^<>\n\0]* <[^<>\n\0]*> (0|[1-9][0-9]{0,11}) [+-][0-9]{4}\n"
_EXTRA: Final = rb"(?:(?!tree |parent |author |committer )[^\0\n]+\n)*"
_COMMIT: Final = re.compile(
    rb"tree [0-9a-f]{40}\n(?:parent [0-9a-f]{40}\n)*"
    rb"author " + _PERSON + rb"committer " + _PERSON + _EXTRA + rb"(?:\n[^\0]*)?"
)
_TAG: Final = re.compile(
    rb"object [0-9a-f]{40}\ntype (?:commit|tree|blob|tag)\n"
    rb"tag [^\0\n~^:?*\[\\ ]+\ntagger " + _PERSON + rb"(?:[^\0\n]+\n)*(?:\n[^\0]*)?"
)
_entries = re.compile(rb"([0-7]+ )([^\0]+)\0(.{20})", re.DOTALL).findall
# Names joined by a slash: when all of them are like this, and none holds "git", none is special.
_all_plain = re.compile(rb"(?:[0-9A-Za-z_][0-9A-Za-z_.-]{0,250}/)*").fullmatch
#: What HFS+ leaves out when it compares names.
_IGNORED: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
#: Git takes such a character for the end of a name.
_NO_CHARACTER: Final = re.compile("[\ufffe\uffff]")
_MODULES: Final = re.compile(r"\.gitmodules|gitmod~[1-4]|gi7eba~[1-9]\d*|gi7eb~[1-9]\d*")
_ATTRIBUTES: Final = re.compile(r"\.gitattributes|gitatt~[1-4]|gi7d29~[1-9]\d*|gi7d2~[1-9]\d*")


def object_problem(kind: str, data: bytes) -> str | None:
    """Return what is wrong with the form of an object, to be read after its name; None if nothing."""
    match kind:
        case "commit":
            return commit_problem(data)
        case "tree":
            return tree_problem(data)
        case "tag":
            return None if _TAG.fullmatch(data) else "is a malformed tag"
        case _:
            return None


def commit_problem(data: bytes) -> str | None:
    """Return what is wrong with the form of a commit."""
    if len(data) > COMMIT_BYTES_MAX:
        return f"is a commit of more than {COMMIT_BYTES_MAX} bytes"
    found = _COMMIT.fullmatch(data)
    if found is None:
        return "is a malformed commit"
    if any(int(seconds) > _DATE_MAX for seconds in found.groups()):
        return "is dated after the year 9998"
    return None


def tree_problem(data: bytes) -> str | None:
    """Return what is wrong with the form of a folder."""
    if len(data) > TREE_BYTES_MAX:
        return f"is a folder of more than {TREE_BYTES_MAX} bytes"
    rows: list[tuple[bytes, bytes, bytes]] = _entries(data)
    # Mode, space, name, NUL and id: anything in between was passed over.
    if len(b"".join(chain.from_iterable(rows))) + len(rows) != len(data):
        return "is a malformed folder"
    return _rows_problem(rows) or _names_problem([name for _, name, _ in rows])


def _rows_problem(rows: list[tuple[bytes, bytes, bytes]]) -> str | None:
    modes, names, objects = zip(*rows, strict=True) if rows else ((), (), ())
    strange = {*modes} - _MODES
    if strange:
        return f"has an entry of mode {min(strange).decode().strip()[:16]}"
    if len({*names}) != len(rows):
        return "has two entries of one name"
    keys = [name + b"/" if mode == _FOLDER else name for mode, name, _ in rows]
    if keys != sorted(keys):
        return "has entries out of order"
    if _NULL in objects:
        return "has an entry without an object"
    return None


def _names_problem(names: list[bytes]) -> str | None:
    joined = b"/".join([*names, b""])
    if (
        _all_plain(joined) is not None
        and joined.count(b"/") == len(names)
        and b"git" not in joined.lower()
    ):
        return None
    for name in names:
        problem = name_problem(name)
        if problem is not None:
            return f"has the entry {shown(name)}, {problem}"
    return None


@lru_cache(maxsize=4096)
def name_problem(name: bytes) -> str | None:
    """Return why no folder may have an entry of this name, as half a sentence; None if it may."""
    if b"/" in name:
        return "a path and not a name"
    if len(name) > _NAME_BYTES_MAX:
        return f"longer than {_NAME_BYTES_MAX} bytes"
    if name in (b".", b".."):
        return "which is no name"
    # To Windows a backslash is a slash.
    for part in name.split(b"\\"):
        if not _spellings(part).isdisjoint({".git", "git~1"}):
            return "which a file system may take for .git"
    return None


@lru_cache(maxsize=4096)
def new_name_problem(name: bytes) -> str | None:
    """Return why no file or folder of this name may be added, though git would take it.

    ``.gitmodules`` may not since submodules are not supported, and git reads it by rules of its own.
    """
    if b"\\" in name:
        return "has a backslash in its name, which Windows takes for a slash"
    spellings = _spellings(name)
    if "" in spellings:
        return "has a name that Windows takes for a folder above it"
    if any(_MODULES.fullmatch(each) for each in spellings):
        return "names submodules, which are not supported"
    return None


def may_be(name: bytes, other: str) -> bool:
    """Whether a file system may take a name for another, which is plain and in lower case."""
    return other in _spellings(name)


@lru_cache(maxsize=4096)
def is_attributes(name: bytes) -> bool:
    """Whether a file system may take the name for ``.gitattributes``."""
    return any(_ATTRIBUTES.fullmatch(each) for each in _spellings(name))


def attributes_problem(data: bytes) -> str | None:
    """Return what is wrong with the content of a ``.gitattributes`` file."""
    if any(len(line) >= _ATTRIBUTE_LINE_MAX for line in data.split(b"\n")):
        return f"has a line of {_ATTRIBUTE_LINE_MAX} bytes or more"
    return None


def _spellings(name: bytes) -> set[str]:
    """Return what file systems may make of a name: NTFS (up to a colon, without dots and spaces at
    the end, any case) and HFS+ (without some characters, any case); ``""`` for a name of dots.
    """  # noqa: D205 -- one sentence, too long for one line
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        # Git compares up to the first byte that is no UTF-8.
        text = name[: error.start].decode() or "?"
    whole = name.decode(errors="replace")
    hfs = _IGNORED.sub("", _NO_CHARACTER.split(text)[0])
    candidates = (whole, whole.partition(":")[0], hfs)
    return {each.casefold().rstrip(" .") for each in candidates} | {hfs.casefold()}


def shown(name: bytes) -> str:
    """Return a name or path as a message shows it: nothing in it can move a terminal's cursor."""
    text = name[:_SHOWN_MAX].decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

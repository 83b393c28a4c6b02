"""Session files: YAML bytes to plain documents and back.

* `limits`   what is refused, and how a message names a place
* `scalars`  how one scalar is spelled, and what a spelling means
* `writer`   the canonical form
* `exact`    reads canonical text quickly, and proves it
* `turns`    writes and reads a session turn by turn, and remembers what it has seen
* `reader`   reads any other YAML, strictly
* `keep`     saves over a file that a person edited: what did not change keeps its bytes
  * `outline`  cuts such a file into parts
  * `patch`    changes single lines of a part, found by `nodes`
  * `rewrite`  changes a part through ruamel's tree, where no line patch fits
* `head`     reads the listing row from the first lines

The only importer of ruamel.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gitstore.errors import SerializationError
from gitstore.session.codec import head
from gitstore.session.codec.exact import read_exact
from gitstore.session.codec.keep import keep_text
from gitstore.session.codec.limits import MAX_BYTES, MAX_DEPTH, MAX_NODES, TOO_BIG
from gitstore.session.codec.reader import read_text
from gitstore.session.codec.turns import TurnCodec
from gitstore.session.codec.writer import encode_text
from gitstore.session.frozen import FrozenDocument, freeze_document, thaw_turn, thawed
from gitstore.session.values import is_map
from gitstore.types import SyncState

if TYPE_CHECKING:
    from gitstore.session.meta import SessionMeta
    from gitstore.types import Revision, SessionId

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "decode",
    "decode_frozen",
    "encode",
    "is_canonical",
    "read_meta",
]

_BOM: Final = "\ufeff"
_turns: Final = TurnCodec()


def encode(
    document: dict[str, Any] | FrozenDocument,
    *,
    previous: bytes | None = None,
    session_id: str | None = None,
) -> bytes:
    """Return the bytes of a document: canonical YAML, in the order the document has.

    With `previous`, the bytes stored now, whatever did not change since keeps its bytes, with the
    comments and the formatting of the person who edited them. Subclasses of str, int and float are
    written by their plain value.

    Raises:
        SerializationError: Something in the document cannot be kept; `where` is the path to it.
    """
    canonical = _canonical(document, session_id)
    if previous is not None and previous != canonical and not is_canonical(previous):
        kept = _keep(previous, canonical)
        if kept is not None:
            return kept
    return canonical


def decode(data: bytes, *, session_id: str | None = None) -> dict[str, Any]:
    """Return the document of some bytes: any YAML 1.2 that holds what JSON can hold.

    Dates stay text. Nothing is read that would be written differently: no anchors, aliases, tags,
    directives, merge keys, duplicate keys or second document.

    Raises:
        SerializationError: The bytes are not such a file; it names the place, line and column.
    """
    document, _ = decode_frozen(data, session_id=session_id)
    return document.whole(list(map(thaw_turn, document.turns)))


def decode_frozen(data: bytes, *, session_id: str | None = None) -> tuple[FrozenDocument, bool]:
    """Do as `decode`, with the turns frozen, and tell whether the bytes are canonical.

    The turns are those of a document that is read turn by turn; else they are in the shell.
    """
    known = _turns.read(data)
    if known is not None:
        return known
    written = _strict_text(data, session_id)
    text = written.removeprefix(_BOM).replace("\r\n", "\n")
    document = read_exact(text)
    is_exact = document is not None and text == written
    if document is None:
        document = read_text(text, session_id=session_id)
    if not is_map(document):
        problem = "a session is a map at the top level, of keys and values"
        raise SerializationError(problem, where="document", session_id=session_id, line=1, column=1)
    return FrozenDocument(document, []), is_exact


def _canonical(document: dict[str, Any] | FrozenDocument, session_id: str | None) -> bytes:
    frozen = document if isinstance(document, FrozenDocument) else freeze_document(document)
    data = None if frozen is None else _turns.write(frozen)
    return data or encode_text(thawed(document), session_id=session_id).encode()


def _keep(previous: bytes, canonical: bytes) -> bytes | None:
    """Return the previous bytes with only the changed lines changed, or None."""
    try:
        text = _strict_text(previous, None)
        old = read_text(text.removeprefix(_BOM).replace("\r\n", "\n"))
    except SerializationError:
        return None
    new = read_exact(canonical.decode())
    if not is_map(old) or new is None:
        return None
    document: dict[str, Any] = old
    mark = _BOM if text.startswith(_BOM) else ""
    kept = keep_text(text.removeprefix(_BOM), document, new)
    if kept is None:
        return None
    result = (mark + kept).encode()
    return result if len(result) <= MAX_BYTES else None


def is_canonical(data: bytes) -> bool:
    """Whether the bytes are what `encode` writes for their own document."""
    known = _turns.is_canonical(data)
    if known is not None:
        return known
    try:
        return read_exact(_strict_text(data, None)) is not None
    except SerializationError:
        return False


def read_meta(
    data: bytes,
    *,
    session_id: SessionId,
    revision: Revision,
    state: SyncState = SyncState.LOCAL_ONLY,
) -> SessionMeta:
    """Return the listing row of a file, without reading all of a well-formed one.

    Never raises for what the file holds: a file that cannot be read gives a row with a `problem`.
    The turns are counted, not read, so that a mistake inside one may go unnoticed. Costs about five
    milliseconds for each megabyte, sixty when the file was edited in a way that needs decoding.
    """
    return head.read_meta(
        data,
        session_id=session_id,
        revision=revision,
        state=state,
        decode=decode,
    )


def _strict_text(data: bytes, session_id: str | None) -> str:
    """Return the text of the bytes, with its line breaks and its byte order mark."""
    if len(data) > MAX_BYTES:
        raise SerializationError(TOO_BIG, where="document", session_id=session_id)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:4] == b"\0\0\xfe\xff":
        problem = "not UTF-8 but UTF-16 or UTF-32; save the file as UTF-8"
        raise SerializationError(problem, where="document", session_id=session_id, line=1, column=1)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise SerializationError(
            f"not UTF-8: byte \\x{data[error.start]:02x}; save the file as UTF-8",
            where="document",
            session_id=session_id,
            line=before.count("\n") + 1,
            column=len(before) - before.rfind("\n"),
        ) from error

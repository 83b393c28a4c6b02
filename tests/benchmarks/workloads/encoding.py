"""Sessions to YAML and back, without a store: each round another session that nobody has seen."""

from __future__ import annotations

import io
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml
from ruamel.yaml import YAML

from gitstore import dump_session, read_session
from tests.benchmarks.measure import OURS, Row, interleave
from tests.benchmarks.sessions import MIDDLE, SMALL, THOUSAND, session

if TYPE_CHECKING:
    from gitstore import SessionAsset
    from tests.benchmarks.bench import Bench
    from tests.benchmarks.measure import Prepare
    from tests.benchmarks.sessions import Size

PYYAML_C = "PyYAML C"
RUAMEL_C = "ruamel safe, C"
_NOTE = "PyYAML, ruamel and json give and take plain data; gitstore the checked model"
#: Seeds of sessions for the peers, of other texts than gitstore's: it keeps what it saw.
_THEIRS_FROM = 5_003


def codec(bench: Bench) -> list[Row]:
    """Dump and load a session of 1,000 turns and one of 2 KB."""
    rows: list[Row] = []
    for size in (SMALL, MIDDLE if bench.options.quick else THOUSAND):
        rows += _of_size(bench, size)
    return rows


def _dumped(load: bytes) -> Any:
    return yaml.load(load, yaml.CSafeLoader)


def _ruamel(kind: str, *, pure: bool) -> YAML:
    made = YAML(typ=kind, pure=pure)
    made.width = 1 << 20
    made.allow_unicode = True
    made.default_flow_style = False
    return made


def _ruamel_dump(value: object, kind: str, *, pure: bool) -> None:
    _ruamel(kind, pure=pure).dump(value, io.BytesIO())


def _of_size(bench: Bench, size: Size) -> list[Row]:
    theirs = dump_session(session("theirs", size, seed=_THEIRS_FROM))
    value = _dumped(theirs)
    as_json = json.dumps(value)
    seen = session("seen", size, seed=_THEIRS_FROM + 1)
    seen_bytes = dump_session(seen)

    def fresh_dump(number: int) -> partial[bytes]:
        return partial(dump_session, session("fresh", size, seed=number + 10))

    def fresh_load(number: int) -> partial[SessionAsset]:
        return partial(read_session, _changed(seen_bytes, number))

    def same(act: partial[Any]) -> Prepare:
        return lambda _: act

    dumps: dict[str, Prepare] = {
        OURS: fresh_dump,
        "gitstore, again": same(partial(dump_session, seen)),
        PYYAML_C: same(partial(yaml.dump, value, Dumper=yaml.CSafeDumper, sort_keys=False)),
        RUAMEL_C: same(partial(_ruamel_dump, value, "safe", pure=False)),
        "ruamel round-trip, pure": same(partial(_ruamel_dump, value, "rt", pure=True)),
        "json": same(partial(json.dumps, value)),
    }
    loads: dict[str, Prepare] = {
        OURS: fresh_load,
        "gitstore, again": same(partial(read_session, seen_bytes)),
        PYYAML_C: same(partial(_dumped, theirs)),
        RUAMEL_C: lambda _: partial(_ruamel("safe", pure=False).load, theirs),
        "ruamel round-trip, pure": lambda _: partial(_ruamel("rt", pure=True).load, theirs),
        "json": same(partial(json.loads, as_json)),
    }
    rows: list[Row] = []
    for what, subjects in (("dump", dumps), ("load", loads)):
        measured = interleave(
            subjects,
            rounds=max(bench.options.rounds // 2, 3),
            budget_seconds=bench.options.budget_seconds,
        )
        parameters: dict[str, str | int] = {"act": what, "size": size.name}
        rows += [
            samples.row("codec", parameters, name, notes=_NOTE if name == OURS else "")
            for name, samples in measured.items()
        ]
    return rows


def _changed(data: bytes, number: int) -> bytes:
    """Return the bytes with another word in the first line of every turn: nothing of it was seen."""
    return data.replace(b"content: |\n      ", b"content: |\n      round %d " % (number + 10))

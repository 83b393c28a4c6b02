"""One session, written out for a person to read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from gitstore.cli.output import iso, one_line, safe_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitstore import CompactedTurn, ConversationTurn, SessionAsset, ToolCallRecord

_INDENT: Final = "    "
#: Characters of a tool's arguments or result that are shown; ``--json`` has all of them.
_VALUE_MAX: Final = 200


def readable(asset: SessionAsset) -> str:
    """Return the session as text that cannot steer a terminal."""
    blocks = ["\n".join(_head(asset))]
    blocks += ["\n".join(_compacted(record)) for record in asset.history.compacted]
    blocks += ["\n".join(_turn(turn)) for turn in asset.history.turns]
    return "\n\n".join(blocks) + "\n"


def _head(asset: SessionAsset) -> Iterator[str]:
    project = asset.project_context
    facts = {fact.key: fact.value for fact in project.learned_facts}
    values = {
        "session": asset.id,
        "name": project.name,
        "project": project.root_path,
        "created": iso(asset.created_at),
        "updated": iso(asset.updated_at),
        "revision": asset.revision,
        "turns": str(len(asset.history.turns)),
        "technologies": ", ".join(project.technologies),
        "facts": ", ".join(f"{key} = {value}" for key, value in facts.items()),
        "skills": ", ".join(asset.skill_configs),
        "granted": ", ".join(grant.pattern for grant in asset.granted_commands),
    }
    shown = {name: value for name, value in values.items() if value}
    width = max(map(len, shown))
    for name, value in shown.items():
        yield f"{name:<{width}}  {one_line(value)}"


def _compacted(record: CompactedTurn) -> Iterator[str]:
    span = f"{iso(record.start_time)} to {iso(record.end_time)}"
    yield f"-- {record.turn_count} earlier turns, {span}"
    yield from _indented(record.summary)


def _turn(turn: ConversationTurn) -> Iterator[str]:
    tags = f"  [{one_line(', '.join(turn.tags))}]" if turn.tags else ""
    yield f"-- {one_line(turn.role)}  {iso(turn.timestamp)}{tags}"
    yield from _indented(turn.content)
    for call in turn.tool_calls:
        yield from _call(call)


def _call(call: ToolCallRecord) -> Iterator[str]:
    end = "ok" if call.success else "failed"
    args = "" if call.args is None else f" {_value(call.args)}"
    yield f"{_INDENT}* {one_line(call.tool_name)}{args} ({end}, {call.duration_ms} ms)"
    if call.result is not None:
        yield f"{_INDENT}  {_value(call.result)}"


def _indented(text: str) -> Iterator[str]:
    for line in safe_lines(text.rstrip("\n")):
        yield f"{_INDENT}{line}" if line else ""


def _value(value: Any) -> str:  # noqa: ANN401 - anything JSON can say
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    cut = text if len(text) <= _VALUE_MAX else text[:_VALUE_MAX] + "..."
    return one_line(cut)

"""One HTML page that holds all it needs: to be kept, printed, and handed on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gitstore.engine.report.logs import utc
from gitstore.engine.report.parts import session_diff, text, turns
from gitstore.engine.report.style import POLICY, STYLE
from gitstore.types import SignatureState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from gitstore.session.diff import SessionDiff
    from gitstore.session.meta import SessionMeta
    from gitstore.types import Change, CommitId

#: Characters of HTML that a change may take up to be shown unfolded.
_SHORT: Final = 2_500
_ABBREVIATED: Final = 10
_SIGNATURES: Final[Mapping[SignatureState, tuple[str, str]]] = {
    SignatureState.UNSIGNED: ("", "unsigned"),
    SignatureState.GOOD: ("good", "good"),
    SignatureState.BAD: ("bad", "bad"),
    SignatureState.UNKNOWN_KEY: ("warn", "unknown key"),
    SignatureState.EXPIRED: ("warn", "expired key"),
    SignatureState.UNCHECKED: ("warn", "could not be checked"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSession:
    """A session in a report. `document` is None where its turns are not to be shown."""

    meta: SessionMeta
    document: dict[str, Any] | None = None


def html_report(
    changes: Sequence[Change],
    *,
    title: str,
    made_at: datetime,
    facts: Mapping[str, str] | None = None,
    sessions: Sequence[ReportedSession] = (),
    diffs: Mapping[CommitId, Sequence[SessionDiff | str]] | None = None,
) -> str:
    """Return a page of changes, newest first, with their diffs, and of sessions with their turns.

    `facts` are told at the top, by name. In `diffs` a text stands for a diff that is not there,
    and says why. The page loads nothing, runs nothing, and links to nothing but itself; long
    turns and diffs are cut, and say so.
    """
    diffs = diffs or {}
    body = [
        f"<header><h1>{text(title)}</h1>",
        f"<p class=faint>Made {_time(made_at)} by gitstore from the history of a git repository.",
        "Times are UTC.</p>",
        *_facts(changes, facts or {}),
        *_contents(sessions, diffs),
        "</header><main>",
        *_people(changes),
        *_timeline(changes, diffs),
        *_changes(changes, diffs),
        *_sessions(sessions),
        "</main>",
    ]
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n"
    )
    return head + "\n".join(body) + "\n</body></html>\n"


def _facts(changes: Sequence[Change], given: Mapping[str, str]) -> Iterator[str]:
    signatures = Counter(_signature(change)[1] for change in changes)
    times = [change.time for change in changes]
    told = {
        **{name: text(value) for name, value in given.items()},
        "Changes": f"{len(changes):,}",
        "First": _time(min(times)) if times else "never",
        "Last": _time(max(times)) if times else "never",
        "Signatures": "<br>".join(f"{count:,} {word}" for word, count in signatures.most_common())
        or "none",
    }
    yield "<dl class=facts>"
    for name, value in told.items():
        yield f"<div><dt>{text(name)}</dt><dd>{value}</dd></div>"
    yield "</dl>"


def _contents(
    sessions: Sequence[ReportedSession], diffs: Mapping[CommitId, Sequence[SessionDiff | str]]
) -> Iterator[str]:
    places = {
        "people": "People",
        "timeline": "Timeline",
        **({"changes": "Changes in full"} if diffs else {}),
        **({"sessions": "Sessions"} if len(sessions) > 1 else {}),
        **({"turns": "Turns"} if any(each.document is not None for each in sessions) else {}),
    }
    links = "".join(f'<li><a href="#{place}">{name}</a></li>' for place, name in places.items())
    yield f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _people(changes: Sequence[Change]) -> Iterator[str]:
    who: dict[tuple[str, str, str | None], list[Change]] = {}
    for change in changes:
        author = change.author
        who.setdefault((author.name, author.email, change.actor), []).append(change)
    yield '<section aria-labelledby="people"><h2 id="people">People</h2>'
    yield from _table(
        "Who made the changes", ("Author", "Address", "Actor", "Changes", "First", "Last")
    )
    for (name, email, actor), made in sorted(who.items(), key=lambda item: -len(item[1])):
        times = [change.time for change in made]
        yield f'<tr><th scope="row">{text(name)}</th><td>{text(email)}</td><td>{text(actor or "")}</td>'
        yield f'<td class="number">{len(made):,}</td><td class="time">{_time(min(times))}</td>'
        yield f'<td class="time">{_time(max(times))}</td></tr>'
    yield "</tbody></table></div></section>"


def _timeline(
    changes: Sequence[Change], diffs: Mapping[CommitId, Sequence[SessionDiff | str]]
) -> Iterator[str]:
    yield '<section aria-labelledby="timeline"><h2 id="timeline">Timeline</h2>'
    heads = ("Time", "Operation", "Session", "What changed", "Who", "Signature", "Commit")
    yield from _table("All changes, newest first", heads)
    for change in changes:
        kind, word = _signature(change)
        short = f"<code>{text(change.commit[:_ABBREVIATED])}</code>"
        link = f'<a href="#c{change.commit}">{short}</a>' if change.commit in diffs else short
        by = f" <span class=faint>as {text(change.actor)}</span>" if change.actor else ""
        names = change.sessions or ((change.session_id,) if change.session_id else ())
        yield f'<tr><td class="time">{_time(change.time)}</td><td>{text(change.operation or "—")}</td>'
        yield f"<td class=names><code>{_few(names)}</code></td>"
        yield f'<td class="what">{_what(change)}</td>'
        yield f'<td>{text(change.author.name)}{by}</td><td><span class="mark {kind}">{word}</span></td>'
        yield f"<td class=number>{link}</td></tr>"
    yield "</tbody></table></div></section>"


def _changes(
    changes: Sequence[Change], diffs: Mapping[CommitId, Sequence[SessionDiff | str]]
) -> Iterator[str]:
    if not diffs:
        return
    several = (
        len(
            {
                each.session_id
                for found in diffs.values()
                for each in found
                if not isinstance(each, str)
            }
        )
        > 1
    )
    yield '<section aria-labelledby="changes"><h2 id="changes">Changes in full</h2>'
    for change in changes:
        if change.commit not in diffs:
            continue
        inside: list[str] = []
        for diff in diffs[change.commit]:
            if isinstance(diff, str):
                inside.append(f"<p>{text(diff)}</p>")
            else:
                of = f"Session {text(diff.session_id)}: " if several else ""
                inside.append(f"<h3>{of}{text(diff.summary)}</h3>")
                inside += session_diff(diff)
        whole = "\n".join(inside)
        unfolded = " open" if len(whole) <= _SHORT else ""
        yield f'<details class="change" id="c{change.commit}"{unfolded}><summary>'
        yield f"<strong>{text(change.subject)}</strong> <span class=faint>{_time(change.time)} by "
        yield f"{text(change.author.name)}</span></summary><div>"
        yield f"<p class=faint>Commit <code>{change.commit}</code></p>{whole}</div></details>"
    yield "</section>"


def _sessions(sessions: Sequence[ReportedSession]) -> Iterator[str]:
    if len(sessions) > 1:
        yield '<section aria-labelledby="sessions"><h2 id="sessions">Sessions</h2>'
        yield from _table(
            "Sessions as they are now", ("Session", "Name", "Turns", "Updated", "Revision")
        )
        for each in sessions:
            meta = each.meta
            name = text(meta.name or "") + (f"<p>{text(meta.problem)}</p>" if meta.problem else "")
            yield f'<tr><th scope="row"><code>{text(meta.id)}</code></th><td>{name}</td>'
            yield f'<td class="number">{meta.turn_count:,}</td>'
            yield f'<td class="time">{_time(meta.updated_at)}</td>'
            yield f"<td><code>{text((meta.revision or '')[:_ABBREVIATED])}</code></td></tr>"
        yield "</tbody></table></div></section>"
    shown = [each for each in sessions if each.document is not None]
    if shown:
        yield '<section aria-labelledby="turns"><h2 id="turns">Turns</h2>'
        for each in shown:
            history = (each.document or {}).get("history", {})
            found = list(history.get("turns", []))
            of = f" of {text(each.meta.id)}" if len(shown) > 1 else ""
            yield f"<p class=faint>{len(found):,} turns{of}, as they are now.</p>"
            yield from turns(found)
        yield "</section>"


def _table(caption: str, heads: Sequence[str]) -> Iterator[str]:
    cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
    yield f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">'
    yield f"<table><caption>{caption}</caption><thead><tr>{cells}</tr></thead><tbody>"


def _what(change: Change) -> str:
    if not change.summary:
        return text(change.subject)
    return f"{text(change.summary)}<br><span class=faint>{text(change.subject)}</span>"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(text(name) for name in names[:3])
    return f"{shown} and {len(names) - 3:,} more" if len(names) > 3 else shown  # noqa: PLR2004 -- as shown


def _signature(change: Change) -> tuple[str, str]:
    return ("", "not checked") if change.signature is None else _SIGNATURES[change.signature]


def _time(time: datetime) -> str:
    moment = utc(time)
    return f'<time datetime="{moment}">{moment[:19].replace("T", " ")}</time>'

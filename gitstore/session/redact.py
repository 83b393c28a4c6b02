r"""Secrets out of a session before it is written: a net, not a proof.

What has the form of a well-known secret is replaced by ``[redacted:NAME]``. A password that is an
ordinary word, a secret cut in two, in another alphabet or encoding passes through: whoever must be
sure keeps secrets out of the conversation. What was written once is in history; `purge` removes it.

Only the text of values is changed. Ids, times, roles and the keys of maps stay: they are what other
things are found by, and masking two keys could make them one. Text inside a mark that is there
already is left alone, so that doing it twice is doing it once.

Every pattern here takes time linear in the text, whatever the text: repetitions that are not bounded
are possessive, or begin only where no character of their own kind stands before them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from gitstore.types import Masked

#: Finds secrets in a text: where each begins and ends.
Finder: TypeAlias = Callable[[str], Iterable[tuple[int, int]]]
#: What to look for, by the name that takes its place. Of a pattern with a group called ``secret``
#: only that group is replaced. A name is 1 to 64 characters other than brackets and line breaks.
Redaction: TypeAlias = Mapping[str, "re.Pattern[str] | Finder"]

_MARK: Final = re.compile(r"\[redacted:[^\[\]\n]{1,64}\]")
_GROUP: Final = "secret"

# Letters or digits on either side make it a part of something longer: base64, a hash. What a find
# ends with must be followed by none either: a second find would else begin where it was masked.
_HEAD: Final = r"(?<![A-Za-z0-9])"
_TAIL: Final = r"(?![A-Za-z0-9])"
_PEM_NAME: Final = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_BREAK: Final = r"(?:\s|\\[nr])"

#: Name, pattern, and texts of which every match holds one: looking for these is quick.
_TABLE: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    (
        "private-key",
        # To the end line; of a key that was cut off, the lines that look like one.
        (
            rf"-----BEGIN {_PEM_NAME}(?:[^-]*+(?:-(?!----)[^-]*+)*+-----END {_PEM_NAME}(?![A-Za-z0-9_-])"
            rf"|{_BREAK}*+(?:[A-Za-z-]{{1,20}}: [^\n\\]{{0,200}}{_BREAK}++){{0,4}}"
            rf"(?:[A-Za-z0-9+/=]{{16,}}+{_BREAK}*+)++)"
        ),
        ("PRIVATE KEY",),
    ),
    (
        "aws-access-key",
        rf"{_HEAD}(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}}{_TAIL}",
        ("AKIA", "ASIA", "ABIA", "ACCA"),
    ),
    (
        "aws-secret-key",
        (
            r"(?i:secret_?access_?key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?"
            r"(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
        ),
        ("ccess", "CCESS"),
    ),
    (
        "github-token",
        rf"{_HEAD}(?:gh[pousr]_[A-Za-z0-9]{{36,}}+|github_pat_[A-Za-z0-9_]{{22,}}+)",
        ("gh", "github_pat_"),
    ),
    ("gitlab-token", rf"{_HEAD}gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{{20,}}+", ("gl",)),
    ("anthropic-key", rf"{_HEAD}sk-ant-[A-Za-z0-9_-]{{20,}}+", ("sk-ant-",)),
    (
        "openai-key",
        rf"{_HEAD}sk-(?:(?:proj|svcacct|admin|None|or-v1)-[A-Za-z0-9_-]{{20,}}+|[A-Za-z0-9]{{32,}}+)",
        ("sk-",),
    ),
    (
        "slack-token",
        rf"{_HEAD}xox[abeoprs]-[A-Za-z0-9-]{{10,}}+|{_HEAD}xapp-[0-9]-[A-Za-z0-9-]{{10,}}+",
        ("xox", "xapp-"),
    ),
    (
        "slack-webhook",
        r"hooks\.slack\.com/services/(?P<secret>[A-Za-z0-9/+]{20,}+)",
        ("hooks.slack.com",),
    ),
    ("google-api-key", rf"(?<![A-Za-z0-9_+/-])AIza[A-Za-z0-9_-]{{35}}{_TAIL}", ("AIza",)),
    ("google-oauth", rf"{_HEAD}(?:ya29\.|GOCSPX-)[A-Za-z0-9_-]{{20,}}+", ("ya29.", "GOCSPX-")),
    (
        "stripe-key",
        rf"{_HEAD}(?:[rs]k_(?:live|test)_[A-Za-z0-9]{{16,}}+|whsec_[A-Za-z0-9+/]{{32,}}+)",
        ("k_live_", "k_test_", "whsec_"),
    ),
    ("huggingface-token", rf"{_HEAD}hf_[A-Za-z0-9]{{30,}}+", ("hf_",)),
    ("npm-token", rf"{_HEAD}npm_[A-Za-z0-9]{{36}}{_TAIL}", ("npm_",)),
    ("pypi-token", rf"{_HEAD}pypi-AgE[A-Za-z0-9_-]{{40,}}+", ("pypi-AgE",)),
    (
        "sendgrid-key",
        rf"{_HEAD}SG\.[A-Za-z0-9_-]{{22}}\.[A-Za-z0-9_-]{{43}}{_TAIL}",
        ("SG.",),
    ),
    ("age-key", rf"{_HEAD}AGE-SECRET-KEY-1[0-9A-Z]{{58}}{_TAIL}", ("AGE-SECRET-KEY-1",)),
    (
        "jwt",
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+",
        (".eyJ",),
    ),
    (
        "basic-auth-url",
        r"(?<=[A-Za-z0-9])://[^\s/:@]{0,100}:(?P<secret>[^\s/@]{1,300})@",
        ("://",),
    ),
    (
        "basic-auth-header",
        (
            r"(?i:authorization)[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?i:basic)\s{1,4}"
            r"(?P<secret>[A-Za-z0-9+/]{8,}+={0,2})"
        ),
        ("uthorization", "UTHORIZATION"),
    ),
    (
        "bearer-token",
        # With a digit in it: else it is prose about bearers.
        (
            rf"{_HEAD}(?i:bearer)[ \t]{{1,4}}(?=[A-Za-z._~+/-]*+[0-9])"
            r"(?P<secret>[A-Za-z0-9._~+/-]{20,}+=*+)"
        ),
        ("earer", "EARER"),
    ),
)

#: The forms that are known here; choose from them, or add your own: ``{**named_redactions, ...}``.
named_redactions: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {name: re.compile(pattern) for name, pattern, _ in _TABLE}
)
_HINTS: Final = {id(named_redactions[name]): hints for name, _, hints in _TABLE}

_Shape: TypeAlias = Mapping[str, "_Shape | None"]
#: What is left alone: None is a value, ``*`` any key or item.
_KEPT: Final[_Shape] = {
    "id": None,
    "version": None,
    "created_at": None,
    "updated_at": None,
    "project_context": {
        "learned_facts": {"*": {"key": None, "learned_at": None}},
        "persistent_contexts": {"*": {"id": None, "timing": None}},
    },
    "skill_configs": {"*": {"skill_id": None}},
    "component_snapshots": {"*": {"component_fqn": None}},
    "granted_commands": {"*": {"kind": None}},
    "history": {
        "compacted": {"*": {"start_time": None, "end_time": None}},
        "turns": {"*": {"id": None, "timestamp": None, "role": None}},
    },
}
_NOTHING: Final[_Shape] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Redacted:
    """A document without the secrets that were found, and where they were.

    `document` shares with the original what did not change: treat it as read-only.
    """

    document: dict[str, Any]
    masked: tuple[Masked, ...]


def redact_document(document: dict[str, Any], rules: Redaction) -> Redacted:
    """Return the document with every secret in its text values masked; the original stays as it is.

    Costs a few milliseconds for each megabyte without secrets. A callable of the caller's may
    raise what it likes, and takes the time it takes.
    """
    walk = _Walk(rules)
    changed = cast("dict[str, Any]", walk.value(document, "", _KEPT))
    return Redacted(document=changed, masked=tuple(walk.masked))


def redact_text(text: str, rules: Redaction) -> tuple[str, Mapping[str, int]]:
    """Return a text with its secrets masked, and how many of each name were replaced.

    Where two rules find what overlaps, all of it is masked under the name of the longer find; of
    equal ones, under that of the rule that comes first.
    """
    spans = _spans(text, rules)
    if not spans:
        return text, {}
    parts: list[str] = []
    counts: Counter[str] = Counter()
    end = 0
    for start, stop, name in spans:
        parts += [text[end:start], f"[redacted:{name}]"]
        counts[name] += 1
        end = stop
    return "".join([*parts, text[end:]]), counts


class _Walk:
    """One pass over a document."""

    def __init__(self, rules: Redaction) -> None:
        self.masked: list[Masked] = []
        self._rules = rules

    def value(self, value: object, where: str, kept: _Shape) -> object:
        """Return the value with its texts masked; itself, when nothing in it was."""
        if isinstance(value, str):
            return self._text(value, where)
        if isinstance(value, dict):
            return self._map(cast("dict[str, object]", value), where, kept)
        if isinstance(value, list):
            items = cast("list[object]", value)
            below = kept.get("*", _NOTHING) or _NOTHING
            new = [self.value(item, f"{where}[{i}]", below) for i, item in enumerate(items)]
            return new if any(map(_differ, new, items)) else items
        return value

    def _map(self, value: dict[str, object], where: str, kept: _Shape) -> dict[str, object]:
        new: dict[str, object] = {}
        for key, part in value.items():
            below = kept.get(key, kept.get("*", _NOTHING))
            new[key] = part if below is None else self.value(part, _member(where, key), below)
        return new if any(map(_differ, new.values(), value.values())) else value

    def _text(self, text: str, where: str) -> str:
        new, counts = redact_text(text, self._rules)
        if counts:
            # A key on the way may be a secret itself, and what is reported is logged.
            where, _ = redact_text(where, self._rules)
            self.masked += [Masked(where=where, name=n, count=c) for n, c in counts.items()]
        return new


def _differ(one: object, other: object) -> bool:
    return one is not other


def _spans(text: str, rules: Redaction) -> list[tuple[int, int, str]]:
    """Return what to mask, in order and apart from one another."""
    found: list[tuple[int, int, int, str]] = []
    for rank, (name, rule) in enumerate(rules.items()):
        found += [(start, stop, rank, name) for start, stop in _found_by(rule, text)]
    if not found:
        return []
    marks = [match.span() for match in _MARK.finditer(text)]
    found = _outside(sorted(found), marks)
    spans: list[tuple[int, int, str]] = []
    longest = 0
    for start, stop, _, name in found:
        if spans and start < spans[-1][1]:
            before, end, label = spans[-1]
            longer = stop - start > longest
            longest = max(longest, stop - start)
            spans[-1] = (before, max(end, stop), name if longer else label)
        else:
            spans.append((start, stop, name))
            longest = stop - start
    return spans


def _found_by(rule: re.Pattern[str] | Finder, text: str) -> Iterable[tuple[int, int]]:
    """Return the spans that one rule finds; an empty one is none."""
    if isinstance(rule, re.Pattern):
        hints = _HINTS.get(id(rule))
        if hints is not None and not any(hint in text for hint in hints):
            return []
        group: str | int = _GROUP if _GROUP in rule.groupindex else 0
        spans: Iterable[tuple[int, int]] = (match.span(group) for match in rule.finditer(text))
    else:
        spans = ((max(start, 0), min(stop, len(text))) for start, stop in rule(text))
    return [(start, stop) for start, stop in spans if 0 <= start < stop]


def _outside(
    found: list[tuple[int, int, int, str]], marks: list[tuple[int, int]]
) -> list[tuple[int, int, int, str]]:
    """Leave out what lies inside a mark, or is nothing but one."""
    kept: list[tuple[int, int, int, str]] = []
    at = 0
    for span in found:
        while at < len(marks) and marks[at][1] <= span[0]:
            at += 1
        inside = at < len(marks) and marks[at][0] <= span[0] and span[1] <= marks[at][1]
        if not inside:
            kept.append(span)
    return kept


def _member(where: str, key: str) -> str:
    if re.fullmatch(r'[^\s.\[\]"]+', key) is None:
        return f"{where}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{where}.{key}" if where else key

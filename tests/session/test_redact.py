"""Redaction: what is caught, what is left alone, and that no text can make it slow."""

from __future__ import annotations

import base64
import copy
import hashlib
import random
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.session import codec
from gitstore.session.model import SessionAsset
from gitstore.session.parts import ConversationTurn, ToolCallRecord
from gitstore.session.redact import Redaction, named_redactions, redact_document, redact_text
from gitstore.types import Masked

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHANCE = random.Random(1)
ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def some(count: int, letters: str = ALNUM) -> str:
    return "".join(CHANCE.choice(letters) for _ in range(count))


PEM = "\n".join(
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        *(some(64) for _ in range(4)),
        "-----END RSA PRIVATE KEY-----",
    ]
)
JWT = f"eyJ{some(20)}.eyJ{some(40)}.{some(43)}"
#: Name, and a text in which all of the last item, and nothing else, must be masked.
SECRETS = [
    ("private-key", "key: {} end", PEM),
    ("private-key", '"{}"', PEM.replace("\n", "\\n")),
    ("private-key", "{}", PEM.replace("RSA", "OPENSSH")),
    ("private-key", "{}", PEM.replace("RSA ", "")),
    ("private-key", "cut off: {}", PEM[:200]),
    ("private-key", "{}", PEM.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1)),
    ("aws-access-key", "id={}", "AKIAIOSFODNN7EXAMPLE"),
    ("aws-access-key", "'{}'", "ASIA" + some(16, "ABCDEFGHIJ234567")),
    ("aws-secret-key", "aws_secret_access_key = {}\n", some(40)),
    ("aws-secret-key", '"SecretAccessKey": "{}"', some(40)),
    ("github-token", "push https://x/{}", "ghp_" + some(36)),
    ("github-token", "({})", "ghs_" + some(36)),
    ("github-token", "{}", "github_pat_" + some(22) + "_" + some(59)),
    ("gitlab-token", "{}", "glpat-" + some(20)),
    ("anthropic-key", "key {}.", "sk-ant-api03-" + some(40) + "-" + some(40) + "AA"),
    ("openai-key", "{}", "sk-" + some(48)),
    ("openai-key", "export OPENAI_API_KEY={}", "sk-proj-" + some(60) + "_" + some(20)),
    ("slack-token", "{}", "xoxb-123456789012-1234567890123-" + some(24)),
    ("slack-webhook", "https://hooks.slack.com/services/{}", "T00000000/B00000000/" + some(24)),
    ("google-api-key", "?key={}&x=1", "AIza" + some(35)),
    ("google-oauth", "{}", "ya29." + some(60)),
    ("stripe-key", "{}", "sk_live_" + some(24)),
    ("stripe-key", "{}", "rk_test_" + some(24)),
    ("huggingface-token", "{}", "hf_" + some(34)),
    ("npm-token", "//registry/:_authToken={}", "npm_" + some(36)),
    ("pypi-token", "{}", "pypi-AgEIcHlwaS5vcmc" + some(60)),
    ("sendgrid-key", "{}", f"SG.{some(22)}.{some(43)}"),
    ("age-key", "{}", "AGE-SECRET-KEY-1" + some(58, "ABCDEFGHIJ0123456789")),
    ("jwt", "token={}", JWT),
    ("jwt", "Authorization: Bearer {}", JWT),
    ("basic-auth-url", "postgres://ann:{}@db:5432/x", "hunter2"),
    ("basic-auth-url", "https://:{}@host", "p:w"),
    ("basic-auth-header", "Authorization: Basic {}", "YW5uOmh1bnRlcjI="),
    ("bearer-token", "curl -H 'authorization: bearer {}'", some(30) + "7"),
]  # fmt: skip
INNOCENT = [
    str(uuid.UUID(int=CHANCE.getrandbits(128), version=4)),
    hashlib.sha1(b"x").hexdigest(),
    hashlib.sha256(b"x").hexdigest(),
    f"disk-{hashlib.md5(b'x').hexdigest()}",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "data:image/png;base64," + base64.b64encode(CHANCE.randbytes(200_000)).decode(),
    base64.urlsafe_b64encode(CHANCE.randbytes(200_000)).decode(),
    "sk-learn and sk-fading-circle-container-of-some-length",
    "task-0123456789012345678901234567890123456789",
    "eyJ alone, and eyJhbGciOiJIUzI1NiJ9 without the rest",
    "a bearer authentication, the bearer responsibilities_of_everyone",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
    "A file that begins -----BEGIN PRIVATE KEY----- is a key, and this is not.",
    "http://localhost:8080/path@2x.png",
    "ssh://git@github.com/a/b.git and git@github.com:a/b.git",
    "https://example.org/?a=b:c@d",
    "AKIA is how they begin; ASIA is a continent",
    "AIzawa, ghost_writer, gh_pages, npm_config_registry, hf_hub",
    "2026-01-01T00:00:00Z 127.0.0.1:80 user@example.org",
    "Authorization: Basic",
    "[redacted:jwt]",
]


@pytest.mark.parametrize(("name", "around", "secret"), SECRETS)
def test_a_secret_is_masked_whole_and_nothing_else(name: str, around: str, secret: str) -> None:
    text, counts = redact_text(around.format(secret), named_redactions)
    assert (text, counts) == (around.format(f"[redacted:{name}]"), {name: 1})


@pytest.mark.parametrize("text", INNOCENT, ids=range(len(INNOCENT)))
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert redact_text(text, named_redactions) == (text, {})


def test_every_name_has_an_example() -> None:
    assert {name for name, _, _ in SECRETS} == named_redactions.keys()


def test_a_document_is_masked_where_people_and_tools_write() -> None:
    key = "ghp_" + some(36)
    asset = SessionAsset.new("/p", name=f"about {key}", id="s-1", now=NOW)
    turn = ConversationTurn.user(f"use {key} and {key}, or {JWT}", id=key, now=NOW)
    call = ToolCallRecord(
        tool_name="sh", args={"id": key, "env": [{"role": key}, 1, None]}, result=key, success=True
    )
    turn.tool_calls.append(call)
    turn.metadata["nested"] = {"a key.": [key]}
    asset.add_turn(turn, now=NOW)
    document = asset.to_document()
    before = copy.deepcopy(document)
    redacted = redact_document(document, named_redactions)
    assert document == before
    assert redacted.masked == (
        Masked(where="project_context.name", name="github-token", count=1),
        Masked(where="history.turns[0].content", name="github-token", count=2),
        Masked(where="history.turns[0].content", name="jwt", count=1),
        Masked(where="history.turns[0].tool_calls[0].args.id", name="github-token", count=1),
        Masked(where="history.turns[0].tool_calls[0].args.env[0].role", name="github-token", count=1),
        Masked(where="history.turns[0].tool_calls[0].result", name="github-token", count=1),
        Masked(where='history.turns[0].metadata.nested["a key."][0]', name="github-token", count=1),
    )  # fmt: skip
    data = codec.encode(redacted.document, session_id="s-1")
    assert data.count(key.encode()) == 1  # the id of the turn, which is never touched
    back = SessionAsset.from_document(codec.decode(data), session_id="s-1")
    assert back.history.turns[0].id == key
    assert back.history.turns[0].content == (
        "use [redacted:github-token] and [redacted:github-token], or [redacted:jwt]"
    )
    again = redact_document(redacted.document, named_redactions)
    assert (again.masked, again.document is redacted.document) == ((), True)


def test_keys_and_structure_stay_and_are_not_told() -> None:
    key = "ghp_" + some(36)
    document: dict[str, Any] = {
        "id": key,
        "created_at": key,
        "metadata": {key: key, "id": key},
        "history": {"turns": [{"id": key, "timestamp": key, "role": key, "content": key}]},
    }
    redacted = redact_document(document, named_redactions)
    mark = "[redacted:github-token]"
    assert redacted.document == {
        "id": key,
        "created_at": key,
        "metadata": {key: mark, "id": mark},
        "history": {"turns": [{"id": key, "timestamp": key, "role": key, "content": mark}]},
    }
    assert not any(key in masked.where for masked in redacted.masked)
    assert len(redacted.masked) == 3


def test_rules_of_the_caller() -> None:
    def digits(text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer("[0-9]+", text)] + [
            (3, 3),
            (-9, -1),
            (90, 99),
        ]

    rules: Redaction = {"number": digits, "word": re.compile("key=(?P<secret>[a-z]+)")}
    assert redact_text("a1 22 key=x", rules) == (
        "a[redacted:number] [redacted:number] key=[redacted:word]",
        {"number": 2, "word": 1},
    )
    assert redact_text("nothing", {}) == ("nothing", {})


def test_of_finds_that_overlap_nothing_is_left() -> None:
    rules = {"a": re.compile("abc"), "b": re.compile("bcdef"), "c": re.compile("fg")}
    assert redact_text("xabcdefgx", rules) == ("x[redacted:b]x", {"b": 1})
    inside = PEM.replace(PEM.split("\n")[2], "AKIAIOSFODNN7EXAMPLE")
    assert redact_text(inside, named_redactions) == ("[redacted:private-key]", {"private-key": 1})


FRAGMENTS = [
    *(around.format(secret) for _, around, secret in SECRETS),
    "[redacted:jwt]", "[redacted:", "]", "://", "@", ":", ".eyJ", "Bearer ", " ", "-----", "\n", "x1",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join))
def test_twice_is_once_and_one_pass_leaves_no_secret(text: str) -> None:
    once, _ = redact_text(text, named_redactions)
    assert redact_text(once, named_redactions) == (once, {})


HOSTILE = [
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----BEGIN PRIVATE KEY----- a-", "-----",
    "-----BEGIN PRIVATE KEY-----\nA: b\n" + "A" * 30 + "\n",
    "eyJ", "eyJaaaaaaaa.", ".eyJ", "eyJaaaaaaaa.eyJaaaaaaaa-", "sk-", "sk-ant-", "sk-proj-", "a://",
    "a://b:", "://a:" + "b" * 299, "bearer ", "bearer a", "Bearer " + "a" * 50 + " ", "authorization: basic ",
    "AKIA", "ghp_", "github_pat_", "xoxb-", "AIza", "SG.", "secret_access_key = ", "secret_access_key ",
    "hooks.slack.com/services/", "ya29.", "[redacted:", "[redacted:x]", "PRIVATE KEY", "a", "A", " ", "=",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE, ids=range(len(HOSTILE)))
def test_time_is_linear_on_hostile_text(unit: str) -> None:
    """Under two seconds for a megabyte, with every hint present; quadratic takes minutes."""
    hints = " PRIVATE KEY .eyJ :// earer sk- uthorization ccess gh gl "
    text = (unit * (250_000 // len(unit) + 1))[:250_000] + hints
    began = time.process_time()
    redact_text(text, named_redactions)
    assert time.process_time() - began < 0.5


def test_a_deep_document_is_walked() -> None:
    deep: Any = "ghp_" + some(36)
    for _ in range(codec.MAX_DEPTH):
        deep = {"x": [deep]}
    (masked,) = redact_document({"metadata": deep}, named_redactions).masked
    assert masked.count == 1

"""The audit half of the store as its users meet it: the parts have tests of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gitstore import (
    BlockingSessionStore,
    ConversationTurn,
    Outcome,
    Programs,
    SessionAsset,
    SignatureState,
    SigningSettings,
)
from gitstore.session.redact import named_redactions
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "ghp_" + "a1B2" * 9


def session(session_id: str, *texts: str) -> SessionAsset:
    asset = SessionAsset.new(id=session_id, now=NOW)
    for text in texts:
        asset.add_turn(ConversationTurn.user(text, id=f"t-{text[:9]}", now=NOW), now=NOW)
    return asset


def test_a_secret_never_reaches_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with BlockingSessionStore.open(path, create=True, redact=named_redactions) as store:
        asset = session("a", f"my token is {SECRET}, keep it")
        saved = store.save(asset)
        assert [(each.where, each.name) for each in saved.masked] == [
            ("history.turns[0].content", "github-token")
        ]
        assert store.save(asset).outcome is Outcome.UNCHANGED
        assert (
            store.load("a").history.turns[0].content
            == "my token is [redacted:github-token], keep it"
        )
    everything = run_git(path, "cat-file", "--batch", "--batch-all-objects")
    files = b"".join(each.read_bytes() for each in path.rglob("*") if each.is_file())
    assert "redacted:github-token" in everything
    assert SECRET not in everything
    assert SECRET.encode() not in files


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_commits_are_signed_and_checked(tmp_path: Path) -> None:
    key, path = tmp_path / "key", tmp_path / "s"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann@example.org", "-f", str(key)]
    subprocess.run(make, check=True, timeout=60)
    public = key.with_suffix(".pub").read_text()
    (tmp_path / "allowed").write_text(f"ann@example.org {public}")
    signing = SigningSettings(format="ssh", key=str(key), allowed_signers=str(tmp_path / "allowed"))
    with BlockingSessionStore.open(path, create=True, sign=True, signing=signing) as store:
        saved = store.save(session("a", "x"))
        (told,) = store.history("a")
        (checked,) = store.history("a", check_signatures=True)
        assert (told.signature, checked.signature) == (
            SignatureState.UNCHECKED,
            SignatureState.GOOD,
        )
        assert store.verify(require_signatures=True).is_clean
    for name, value in (
        ("gpg.format", "ssh"),
        ("gpg.ssh.allowedSignersFile", signing.allowed_signers),
    ):
        run_git(path, "config", name, value or "")
    run_git(path, "verify-commit", saved.commit or "")
    with BlockingSessionStore.open(path) as store:
        store.save(session("b"))
        assert [change.signature for change in store.history(check_signatures=True)] == [
            SignatureState.UNSIGNED,
            SignatureState.GOOD,
        ]
        assert not store.verify(require_signatures=True).is_clean


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="ssh-agent is not installed")
def test_a_key_in_an_agent_signs(tmp_path: Path) -> None:
    key = tmp_path / "key"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann@example.org", "-f", str(key)]
    subprocess.run(make, check=True, timeout=60)
    public = key.with_suffix(".pub").read_text().strip()
    socket = f"/tmp/gitstore-{uuid.uuid4().hex[:12]}"  # a socket's path must be short
    with subprocess.Popen(
        ["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as agent:
        try:
            agent_environment = {**os.environ, "SSH_AUTH_SOCK": socket}
            subprocess.run(
                ["sh", "-c", 'until ssh-add -q "$0"; do sleep 0.05; done', str(key)],
                check=True, timeout=60, env=agent_environment, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            key.unlink()
            (tmp_path / "allowed").write_text(f"ann@example.org {public}\n")
            signing = SigningSettings(
                format="ssh", key=f"key::{public}", allowed_signers=str(tmp_path / "allowed")
            )
            with BlockingSessionStore.open(
                tmp_path / "s",
                create=True,
                sign=True,
                signing=signing,
                programs=Programs(environment=agent_environment),
            ) as store:
                store.save(session("a"))
                (change,) = store.history("a", check_signatures=True)
                assert change.signature is SignatureState.GOOD
        finally:
            agent.terminate()


def test_a_purge_is_expected_by_the_next_check(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with BlockingSessionStore.open(path, create=True) as store:
        store.save(session("kept", "x"))
        store.save(session("gone", "never said"))
        assert store.verify(deep=True).is_clean
        store.save(session("kept", "x", "y"))
        purged = store.purge("gone", confirm="gone")
        assert purged.new == run_git(path, "rev-parse", "main").strip()
        assert store.verify(deep=True).is_clean
        run_git(path, "update-ref", "refs/heads/main", "main~1")
        assert not store.verify().is_clean, "rewritten by somebody else"
        run_git(path, "update-ref", "refs/heads/main", purged.new or "")
        assert [row.id for row in store.list()] == ["kept"]
    assert "never said" not in run_git(path, "cat-file", "--batch", "--batch-all-objects")
    assert_git_is_content(path)


def test_the_whole_store_is_read_as_of_a_moment(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        first = store.save(session("a", "x"))
        store.save(session("b"))
        store.save(session("a", "x", "y"))
        store.delete("b")
        assert first.commit is not None
        assert [row.id for row in store.list(at=first.commit)] == ["a"]
        assert [row.id for row in store.list(at="main")] == ["a"]
        assert store.exists("b") is False
        assert store.exists("a", at=first.commit)
        assert not store.exists("b", at=first.commit)
        assert [turn.content for turn in store.load("a", at="@{1}").history.turns] == ["x"]
        assert first.revision is not None
        assert store.load("a", at=first.revision[:12]).revision == first.revision
        (lost,) = store.deleted()
        assert lost.session_id == "b"
        assert store.restore("b").revision == lost.last_revision

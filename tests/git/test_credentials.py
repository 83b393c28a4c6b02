"""Who is asked for credentials, in which order; and that they are written down nowhere."""

from __future__ import annotations

import base64
import logging
import os
import traceback
from pathlib import Path

import pytest

from gitstore.errors import AuthenticationError, SyncError
from gitstore.git.remote.cancellation import Cancellation
from gitstore.git.remote.network import Network
from gitstore.git.remote.transport import Transport
from gitstore.git.remote.url import parse_url
from gitstore.types import CommitId, Credentials
from tests.git.test_transport import commit, make_bare, opened
from tests.gitcommand import run_git
from tests.servers import PASSWORD, USER, Server

BRANCH = "refs/heads/main"
WRONG = "not-the-secret-2846"


@pytest.fixture
def private(http_server: Server, tmp_path: Path) -> Path:
    """A repository that wants a password."""
    path = http_server.root / "private" / f"{tmp_path.name}.git"
    make_bare(path)
    http_server.requests.clear()
    return path


@pytest.fixture
def url(http_server: Server, private: Path) -> str:
    return http_server.url_of(private)


@pytest.fixture
def helped(tmp_path: Path) -> dict[str, str]:
    """An environment whose git has a credential helper: a file of passwords, and a log."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "helper").write_text(
        f'#!/bin/sh\n{{ echo "action=$1"; cat; }} >> {home}/log\n'
        f'test "$1" = get && cat {home}/answer\nexit 0\n'
    )
    (home / "helper").chmod(0o755)
    (home / "answer").write_text(f"username={USER}\npassword={PASSWORD}\n")
    (home / ".gitconfig").write_text(f"[credential]\n\thelper = {home}/helper\n")
    return {"PATH": os.environ["PATH"], "HOME": str(home)}


def ask_nobody(url: str) -> Credentials | None:
    """Know no credentials."""
    return None


def ask_right(url: str) -> Credentials | None:
    """Know the right ones."""
    return Credentials(username=USER, password=PASSWORD)


def ask_wrong(url: str) -> Credentials | None:
    """Know wrong ones."""
    return Credentials(username=USER, password=WRONG)


def refs(url: str, **options: object) -> dict[str, str]:
    options = {"environment": {}, "timeout_seconds": 10.0, **options}
    network = Network(**options)  # type: ignore[arg-type]  # fields by name
    transport = Transport(parse_url(url, folder="/"), name="origin", network=network)
    return transport.advertised(cancel=Cancellation())


def with_login(url: str, password: str) -> str:
    return url.replace("//", f"//{USER}:{password}@")


def test_without_credentials_the_advice_says_how_to_give_some(url: str) -> None:
    with pytest.raises(AuthenticationError, match="credential helper"):
        refs(url)
    with pytest.raises(AuthenticationError, match="credential helper"):
        refs(url, ask=ask_nobody)


def test_wrong_credentials_are_refused(url: str, http_server: Server) -> None:
    with pytest.raises(AuthenticationError, match="refused user name or password"):
        refs(with_login(url, WRONG))
    with pytest.raises(AuthenticationError, match="refused user name or password"):
        refs(url, ask=ask_wrong)
    assert {user for _, user in http_server.requests} == {None, f"{USER} (wrong)"}


def test_credentials_of_the_url_come_first(url: str, http_server: Server) -> None:
    assert refs(with_login(url, PASSWORD), ask=ask_wrong).keys() <= {"HEAD@"}
    assert {user for _, user in http_server.requests} == {USER}, "at once, and no others"
    refs(with_login(url, WRONG), ask=ask_right)
    users = [user for _, user in http_server.requests[-3:]]
    assert users == [f"{USER} (wrong)", USER, USER]


def test_whoever_is_asked_comes_before_the_helpers(
    url: str, helped: dict[str, str], http_server: Server
) -> None:
    asked: list[str] = []

    def ask(text: str) -> Credentials | None:
        asked.append(text)
        return ask_right(text)

    refs(with_login(url, WRONG), ask=ask, environment=helped)
    assert asked == [url], "without user name and password"
    assert not (Path(helped["HOME"]) / "log").exists()


def test_helpers_of_git_are_asked_and_told(
    url: str, helped: dict[str, str], http_server: Server
) -> None:
    log, answer = Path(helped["HOME"]) / "log", Path(helped["HOME"]) / "answer"
    assert refs(url, ask=ask_wrong, environment=helped).keys() <= {"HEAD@"}
    said = log.read_text()
    assert said.count("action=get") == said.count("action=store") == 1
    assert f"host=127.0.0.1:{http_server.port}\n" in said
    assert f"password={PASSWORD}" in said.partition("action=store")[2]

    answer.write_text(f"username={USER}\npassword={WRONG}\n")
    with pytest.raises(AuthenticationError):
        refs(url, environment=helped)
    said = log.read_text()
    assert f"password={WRONG}" in said.partition("action=erase")[2]
    assert said.count("action=store") == 1

    log.unlink()
    with pytest.raises(AuthenticationError):
        refs(url, environment=helped, use_credential_helpers=False)
    assert not log.exists()


def test_a_helper_that_the_repository_names_is_not_run(
    url: str, helped: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "ours"
    run_git("/", "init", "-q", "-b", "main", str(ours))
    ran = tmp_path / "ran"
    run_git(ours, "config", "credential.helper", f"!touch {ran}; true")
    monkeypatch.chdir(ours)
    (Path(helped["HOME"]) / ".gitconfig").unlink()
    with pytest.raises(AuthenticationError):
        refs(url, environment={**helped, "GIT_DIR": str(ours / ".git")})
    assert not ran.exists()


def test_the_secret_is_written_nowhere(
    private: Path,
    url: str,
    http_server: Server,
    helped: dict[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    ours = tmp_path / "ours"
    run_git("/", "init", "-q", "-b", "main", str(ours))
    commit(ours, "a", "text")
    repository = opened(ours)
    repository.remotes().add("origin", url)
    tip = repository.tip()
    assert tip is not None
    words: list[str] = []
    for given, ask, environment in (
        (with_login(url, PASSWORD), None, {}),
        (url, ask_right, {}),
        (url, None, helped),
    ):
        parsed = parse_url(given, folder="/")
        network = Network(ask=ask, environment=environment)
        to = Transport(parsed, name="origin", network=network)
        lost = Transport(
            parse_url(given.replace(".git", "-no.git"), folder="/"), name="origin", network=network
        )
        words += [repr(parsed), str(parsed), parsed.shown, repr(network), repr(to)]
        ask_all(to, tip, repository.outgoing, tmp_path)
        words += failures(lost, tip, tmp_path)
    words += failures(
        Transport(parse_url(with_login(url, WRONG), folder="/"), name="origin", network=Network()),
        tip,
        tmp_path,
    )
    repository.close()
    assert (f"/private/{private.name}/git-receive-pack", USER) in http_server.requests
    written = [path for top in (ours, private) for path in top.rglob("*") if path.is_file()]
    assert len(written) > 20
    everything = [path.read_bytes() for path in written]
    everything += [text.encode() for text in (*words, caplog.text)]
    assert len(caplog.records) > 10, "debug messages were looked at"
    for secret in (PASSWORD, WRONG):
        coded = base64.b64encode(f"{USER}:{secret}".encode())
        assert not any(secret.encode() in data or coded in data for data in everything)


def ask_all(to: Transport, tip: CommitId, outgoing: object, folder: Path) -> None:
    """Use everything a transport can do."""
    found = to.advertised(cancel=Cancellation())
    if BRANCH not in found:
        to.push(
            ref=BRANCH,
            old=None,
            new=tip,
            pack=lambda known: outgoing(tip, known),  # type: ignore[operator]  # a bound method
            cancel=Cancellation(),
        )
    pack = folder / "pack"
    to.fetch([tip], have=lambda: iter(()), into=str(pack), cancel=Cancellation())
    pack.unlink()


def failures(to: Transport, tip: CommitId, folder: Path) -> list[str]:
    """Return all that is said when nothing works: messages, causes, tracebacks with the source."""
    said: list[str] = []
    cancel = Cancellation()
    for act in (
        lambda: to.advertised(cancel=cancel),
        lambda: to.fetch([tip], have=lambda: iter(()), into=str(folder / "pack"), cancel=cancel),
    ):
        with pytest.raises(SyncError) as caught:
            act()
        said += [
            repr(caught.value),
            repr(vars(caught.value)),
            *traceback.format_exception(caught.value),
        ]
    return said

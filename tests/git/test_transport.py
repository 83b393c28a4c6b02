"""Talking to real servers of every kind, and to servers that lie, stall and die."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitstore.errors import (
    AuthenticationError,
    HostKeyError,
    PushRejectedError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    RepositoryError,
    SyncError,
    UntrustedContentError,
)
from gitstore.git.remote.cancellation import Cancellation
from gitstore.git.remote.network import Network
from gitstore.git.remote.transport import Transport
from gitstore.git.remote.url import parse_url
from gitstore.git.repository import Repository
from gitstore.system import system_runtime
from gitstore.types import CommitId, Progress
from tests.gitcommand import assert_git_is_content, run_git
from tests.servers import (
    PASSWORD,
    USER,
    Server,
    answering_server,
    free_port,
    python_hook,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

KINDS = ["path", "file", "git", "ssh", "http", "https"]
BRANCH = "refs/heads/main"
_numbers = count()


def network(server: Server | None = None, **options: object) -> Network:
    """Return how tests reach a server."""
    if server is not None and server.known_hosts is not None:
        options |= {
            "ssh_known_hosts": str(server.known_hosts),
            "ssh_identity": str(server.identity),
            "ssh_config": "/dev/null",
        }
    if server is not None and server.ca_file is not None:
        options["ca_file"] = str(server.ca_file)
    options = {"environment": {"PATH": os.environ["PATH"]}, "timeout_seconds": 10.0, **options}
    return Network(**options)  # type: ignore[arg-type]  # fields by name


@dataclass
class Remote:
    """A bare repository behind a server, and a transport to it."""

    path: Path
    url: str
    transport: Transport
    network: Network

    def tip(self, ref: str = BRANCH) -> str:
        """Return what a ref of it points at."""
        return run_git(self.path, "rev-parse", "--verify", ref).strip()


@pytest.fixture(params=KINDS)
def remote(request: pytest.FixtureRequest, served: Path) -> Remote:
    """An empty repository behind each kind of server."""
    return make_remote(request, request.param, served)


@pytest.fixture(params=["path", "git", "http"])
def distinct(request: pytest.FixtureRequest, served: Path) -> Remote:
    """The same behind those whose answers come to us in different ways."""
    return make_remote(request, request.param, served)


def make_remote(request: pytest.FixtureRequest, kind: str, served: Path) -> Remote:
    path = served / f"{kind}{next(_numbers)}.git"
    make_bare(path)
    if kind in ("path", "file"):
        server, url = None, str(path) if kind == "path" else f"file://{path}"
    else:
        names = {"git": "git_daemon", "ssh": "sshd", "http": "http_server", "https": "https_server"}
        server = request.getfixturevalue(names[kind])
        url = server.url_of(path)
    options = network(server)
    return Remote(path, url, transport(url, options), options)


def make_bare(path: Path) -> None:
    """Make an empty bare repository, quicker than git does."""
    for folder in ("objects/pack", "refs"):
        (path / folder).mkdir(parents=True)
    (path / "HEAD").write_text("ref: refs/heads/main\n")
    (path / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")


def transport(url: str, options: Network | None = None) -> Transport:
    return Transport(parse_url(url, folder="/"), name="origin", network=options or network())


def commit(path: Path, name: str, text: str) -> CommitId:
    (path / name).write_text(text)
    run_git(path, "add", name)
    run_git(path, "commit", "-q", "-m", f"add {name}")
    return CommitId(run_git(path, "rev-parse", "HEAD").strip())


def opened(path: Path) -> Repository:
    return Repository.open(
        str(path),
        branch="main",
        durability="process",
        lock_timeout_seconds=5,
        trust_owner=False,
        runtime=system_runtime(),
    )


def push(
    to: Transport,
    path: Path,
    old: str | None,
    *,
    cancel: Cancellation | None = None,
    progress: Callable[[Progress], None] | None = None,
    ref: str = BRANCH,
) -> CommitId:
    """Push the branch of a repository, and return its tip."""
    repository = opened(path)
    tip = repository.tip()
    assert tip is not None
    try:
        to.push(
            ref=ref,
            old=None if old is None else CommitId(old),
            new=tip,
            pack=lambda known: repository.outgoing(tip, known),
            cancel=cancel or Cancellation(),
            progress=progress,
        )
    finally:
        repository.close()
    return tip


def fetch(
    from_: Transport, tip: str, into: Path, *have: str, cancel: Cancellation | None = None
) -> None:
    from_.fetch(
        [CommitId(tip)],
        have=lambda: iter([CommitId(commit) for commit in have]),
        into=str(into),
        cancel=cancel or Cancellation(),
    )


def advertised(remote: Transport) -> dict[str, str]:
    return remote.advertised(cancel=Cancellation())


# --- what works, on every kind ------------------------------------------------------


def test_every_kind_of_server_takes_a_push_and_gives_it_back(
    remote: Remote, ours: Path, tmp_path: Path
) -> None:
    assert set(advertised(remote.transport)) <= {"HEAD@"}  # empty; newer protocols name the branch
    told: list[Progress] = []
    first = push(remote.transport, ours, None, progress=told.append)
    assert remote.tip() == first
    assert told[-1] == Progress(phase="sending", done=9, total=9, unit="objects")
    assert advertised(remote.transport) == {
        "HEAD": first, "HEAD@": BRANCH, BRANCH: first,
    }  # fmt: skip
    theirs = Path(shutil.copytree(ours, tmp_path / "theirs"))
    second = commit(ours, "more", "more")
    push(remote.transport, ours, first)
    assert_git_is_content(remote.path)

    # A copy from before the second commit: git itself puts the pack into place.
    assert run_git(theirs, "cat-file", "-t", second, check=False) == ""
    pack = tmp_path / "pack"
    fetch(remote.transport, second, pack, first)
    run_git(theirs, "index-pack", "--fix-thin", "--strict", "--stdin", given=pack.read_bytes())
    run_git(theirs, "merge", "-q", "--ff-only", second)
    assert_git_is_content(theirs)
    assert int.from_bytes(pack.read_bytes()[8:12], "big") == 3, "only what was missing came"


def test_a_large_push_over_http_is_streamed(
    request: pytest.FixtureRequest, served: Path, ours: Path
) -> None:
    remote = make_remote(request, "http", served)
    (ours / "noise").write_bytes(os.urandom(1_500_000))
    run_git(ours, "add", "noise")
    run_git(ours, "commit", "-q", "-m", "noise")
    assert push(remote.transport, ours, None) == remote.tip()
    assert_git_is_content(remote.path)


def test_a_remote_that_moved_on_gets_nothing(distinct: Remote, ours: Path, tmp_path: Path) -> None:
    remote = distinct
    first = push(remote.transport, ours, None)
    other = tmp_path / "other"
    run_git("/", "clone", "-q", str(remote.path), str(other))
    theirs = commit(other, "theirs", "")
    run_git(other, "push", "-q", "origin", "main")
    commit(ours, "mine", "")
    with pytest.raises(PushRejectedError) as caught:
        push(remote.transport, ours, first)
    assert (caught.value.ref, caught.value.remote) == (BRANCH, "origin")
    assert theirs in caught.value.reason
    assert remote.tip() == theirs


def test_a_hook_that_declines_is_quoted(distinct: Remote, ours: Path) -> None:
    remote = distinct
    say = "import sys; print('\\x1b[31mno pushes\\nbefore noon', file=sys.stderr); sys.exit(1)"
    python_hook(remote.path, "pre-receive", say)
    with pytest.raises(PushRejectedError) as caught:
        push(remote.transport, ours, None)
    assert "hook declined" in caught.value.reason
    assert "before noon" in caught.value.reason
    assert str(caught.value).isprintable()
    assert advertised(remote.transport).keys() <= {"HEAD@"}


@pytest.mark.parametrize("kind", ["path", "http"])
def test_a_checked_out_branch_is_refused(
    request: pytest.FixtureRequest, kind: str, served: Path, ours: Path
) -> None:
    remote = make_remote(request, kind, served)
    first = push(remote.transport, ours, None)
    run_git(remote.path, "config", "core.bare", "false")
    run_git(remote.path, "config", "core.worktree", str(served))
    commit(ours, "mine", "")
    with pytest.raises(PushRejectedError, match="checked out"):
        push(remote.transport, ours, first)
    assert remote.tip() == first


def test_the_answer_of_a_server_whose_branch_moves_meanwhile_counts(
    request: pytest.FixtureRequest, served: Path, ours: Path
) -> None:
    remote = make_remote(request, "path", served)
    first = push(remote.transport, ours, None)
    tree = run_git(remote.path, "rev-parse", f"{first}^{{tree}}").strip()
    rival = run_git(remote.path, "commit-tree", "-p", first, "-m", "rival", tree).strip()
    repository, tip = opened(ours), commit(ours, "mine", "")

    def late(known: object) -> object:
        run_git(remote.path, "update-ref", BRANCH, rival)
        return repository.outgoing(tip, known)  # type: ignore[arg-type]  # as it came

    with pytest.raises(PushRejectedError):
        remote.transport.push(
            ref=BRANCH, old=first, new=tip, pack=late, cancel=Cancellation()  # type: ignore[arg-type]
        )  # fmt: skip
    repository.close()
    assert remote.tip() == rival


# --- what is not there --------------------------------------------------------------


def test_no_repository_there(remote: Remote, ours: Path) -> None:
    missing = transport(remote.url.replace(".git", "-missing.git"), remote.network)
    with pytest.raises(RemoteNotFoundError):
        advertised(missing)
    with pytest.raises(RemoteNotFoundError):
        push(missing, ours, None)


@pytest.mark.parametrize("scheme", ["git", "ssh", "http", "https"])
def test_nobody_listens(scheme: str) -> None:
    with free_port() as port, pytest.raises(RemoteUnavailableError, match=r"[Rr]efused") as caught:
        advertised(transport(f"{scheme}://127.0.0.1:{port}/x.git"))
    assert caught.value.retryable


@pytest.mark.parametrize("scheme", ["git", "http"])
def test_an_unknown_host(scheme: str) -> None:
    with pytest.raises(RemoteUnavailableError, match="not found"):
        advertised(transport(f"{scheme}://nowhere.invalid/x.git"))


def test_a_web_page_is_no_repository(http_server: Server) -> None:
    with pytest.raises(RemoteNotFoundError, match="no git repository"):
        advertised(transport(f"{http_server.url}/page/x.git"))


def test_another_users_repository(served: Path, ours: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    path = served / f"foreign{next(_numbers)}.git"
    shutil.copytree(ours / ".git", path)
    os.chown(path, 12345, 12345)
    with pytest.raises(RemoteNotFoundError, match=r"safe\.directory"):
        advertised(transport(str(path)))


def test_a_shallow_and_a_sha256_remote(ours: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    run_git("/", "clone", "-q", "--depth=1", f"file://{ours}", str(shallow))
    tip = run_git(ours, "rev-parse", "HEAD").strip()
    with pytest.raises(UntrustedContentError, match="shallow"):
        fetch(transport(str(shallow)), tip, tmp_path / "pack")
    with pytest.raises(UntrustedContentError, match="shallow"):
        push(transport(str(shallow)), ours, tip)
    other = tmp_path / "other"
    run_git("/", "init", "-q", "--object-format=sha256", "-b", "main", str(other))
    commit(other, "x", "")
    with pytest.raises(RemoteNotFoundError, match="SHA-1"):
        advertised(transport(str(other)))


def test_a_commit_that_the_remote_does_not_have(distinct: Remote, ours: Path) -> None:
    remote = distinct
    push(remote.transport, ours, None)
    with pytest.raises(RemoteUnavailableError):
        fetch(remote.transport, "1" * 40, ours.parent / "pack")
    assert not (ours.parent / "pack").exists()


# --- keys, and redirects ------------------------------------------------------------


def test_an_unknown_and_a_changed_host_key(sshd: Server, tmp_path: Path) -> None:
    url = f"{sshd.url}/x.git"
    nothing = tmp_path / "known_hosts"
    nothing.write_text("")
    options = network(sshd)
    with pytest.raises(HostKeyError, match="unknown"):
        advertised(transport(url, _with(options, ssh_known_hosts=str(nothing))))
    assert sshd.identity is not None
    key = sshd.identity.with_name("stranger.pub").read_text()
    nothing.write_text(f"[127.0.0.1]:{sshd.port} {key}")
    with pytest.raises(HostKeyError, match="another than the known one"):
        advertised(transport(url, _with(options, ssh_known_hosts=str(nothing))))


def test_a_key_that_the_host_does_not_know(sshd: Server) -> None:
    assert sshd.identity is not None
    stranger = str(sshd.identity.with_name("stranger"))
    with pytest.raises(AuthenticationError):
        advertised(transport(f"{sshd.url}/x.git", _with(network(sshd), ssh_identity=stranger)))


def test_a_certificate_that_nobody_vouches_for(https_server: Server) -> None:
    with pytest.raises(RemoteUnavailableError, match="certificate"):
        advertised(transport(f"{https_server.url}/x.git"))


def test_redirects_are_followed_without_credentials(
    request: pytest.FixtureRequest, http_server: Server, served: Path, ours: Path
) -> None:
    remote = make_remote(request, "http", served)
    tip = push(remote.transport, ours, None)
    login = f"http://{USER}:{PASSWORD}@127.0.0.1:{http_server.port}"
    within = transport(f"{login}/moved/{remote.path.name}")
    assert advertised(within)[BRANCH] == tip
    fetch(within, tip, ours.parent / "pack")
    assert http_server.requests[-1] == (f"/{remote.path.name}/git-upload-pack", USER)

    asked: list[bytes] = []

    def other(connection: socket.socket) -> None:
        asked.append(connection.recv(10_000))
        connection.sendall(b"HTTP/1.1 401 no\r\nContent-Length: 0\r\n\r\n")

    with answering_server(other) as port:
        away = transport(f"{login}/away/{port}/x.git")
        with pytest.raises(AuthenticationError, match=rf"redirects to http://127\.0\.0\.1:{port}"):
            advertised(away)
    assert len(asked) == 1
    assert b"uthorization" not in asked[0]


def test_a_proxy_of_the_environment_is_used() -> None:
    asked: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        asked.append(connection.recv(10_000))
        connection.sendall(b"HTTP/1.1 404 no\r\nContent-Length: 0\r\n\r\n")

    with answering_server(proxy) as port:
        given = {"http_proxy": f"http://me:mine@127.0.0.1:{port}", "no_proxy": "direct.invalid"}
        with pytest.raises(RemoteNotFoundError):
            advertised(transport("http://far.invalid/x", network(environment=given)))
        with pytest.raises(RemoteUnavailableError, match="not found"):
            advertised(transport("http://direct.invalid/x", network(environment=given)))
    assert len(asked) == 1
    assert asked[0].startswith(b"GET http://far.invalid/x/info/refs?service=git-upload-pack ")
    assert b"roxy-Authorization: Basic bWU6bWluZQ==" in asked[0].replace(
        b"proxy-auth", b"Proxy-Auth"
    )


def test_redirects_never_leave_http() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(10_000)
        where = b"file:///etc/info/refs?service=git-upload-pack"
        connection.sendall(
            b"HTTP/1.1 302 go\r\nLocation: " + where + b"\r\nContent-Length: 0\r\n\r\n"
        )

    with answering_server(answer) as port, pytest.raises(SyncError, match="not followed"):
        advertised(transport(f"http://127.0.0.1:{port}/x.git"))


# --- our own failures -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "http"])
def test_what_our_side_raises_comes_out_as_it_is(
    request: pytest.FixtureRequest, kind: str, served: Path, ours: Path, tmp_path: Path
) -> None:
    remote = make_remote(request, kind, served)

    class OwnError(ValueError):
        """Would be taken for the remote's, by its class."""

    def fail(*_: object) -> None:
        raise OwnError

    with pytest.raises(OwnError):
        push(remote.transport, ours, None, progress=fail)
    tip = push(remote.transport, ours, None)
    with pytest.raises(OwnError):
        remote.transport.fetch(
            [tip], have=lambda: iter(()), into=str(tmp_path / "a"), cancel=Cancellation(), progress=fail
        )  # fmt: skip

    def ask(url: str) -> None:
        fail(url)

    asking = transport(remote.url.replace(remote.path.name, "private/x.git"), network(ask=ask))
    if kind == "http":
        with pytest.raises(OwnError):
            advertised(asking)

    def have() -> Iterator[CommitId]:
        yield CommitId("1" * 40)
        raise OwnError

    with pytest.raises(OwnError):
        remote.transport.fetch([tip], have=have, into=str(tmp_path / "b"), cancel=Cancellation())
    with pytest.raises(RepositoryError):
        fetch(remote.transport, tip, tmp_path / "no folder" / "c")
    assert sorted(os.listdir(tmp_path)) == ["ours"]


def test_programs_leave_nothing_of_the_callers_environment_to_a_local_git(
    request: pytest.FixtureRequest, served: Path, ours: Path, tmp_path: Path
) -> None:
    remote = make_remote(request, "path", served)
    seen = tmp_path / "seen"
    python_hook(
        remote.path, "pre-receive", f"import os; open({str(seen)!r}, 'w').write(repr(dict(os.environ)))"
    )  # fmt: skip
    given = {"PATH": os.environ["PATH"], "GIT_DIR": str(ours), "GIT_SSH_COMMAND": "false"}
    push(transport(remote.url, network(environment=given)), ours, None)
    assert "GIT_SSH_COMMAND" not in seen.read_text()
    assert str(ours) not in seen.read_text()


def test_no_configuration_of_a_repository_names_a_program(
    git_daemon: Server, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    trap = f"touch {ran}; false"
    for name in ("core.sshCommand", "core.gitProxy", "credential.helper", "core.askPass"):
        run_git(ours, "config", name, f"!{trap}" if name == "credential.helper" else trap)
    monkeypatch.chdir(ours)
    with pytest.raises(RemoteNotFoundError):
        advertised(transport(f"{git_daemon.url}/missing.git"))
    with free_port() as port, pytest.raises(SyncError):
        advertised(transport(f"ssh://127.0.0.1:{port}/x.git"))
    assert not ran.exists()


# --- without git ----------------------------------------------------------------------


def test_a_local_path_without_the_git_command(
    request: pytest.FixtureRequest, served: Path, ours: Path, tmp_path: Path
) -> None:
    remote = make_remote(request, "path", served)
    nothing = Network(environment={"PATH": ""})
    without = transport(remote.url, nothing)
    first = push(without, ours, None)
    assert advertised(without)[BRANCH] == remote.tip() == first
    second = commit(ours, "more", "more")
    with pytest.raises(PushRejectedError):
        push(without, ours, second)
    push(without, ours, first)
    assert_git_is_content(remote.path)
    fetch(without, second, tmp_path / "pack", first)
    assert int.from_bytes((tmp_path / "pack").read_bytes()[8:12], "big") == 3
    other = tmp_path / "other"
    run_git("/", "clone", "-q", str(ours), str(other))
    commit(ours, "evenmore", "")
    with pytest.raises(PushRejectedError, match="checked out"):
        push(transport(str(other), nothing), ours, second)
    with pytest.raises(RemoteNotFoundError):
        advertised(transport(str(tmp_path / "nothing"), nothing))


# --- helpers ----------------------------------------------------------------------------


def _with(options: Network, **changed: str) -> Network:
    return replace(options, **changed)  # type: ignore[arg-type]  # fields by name

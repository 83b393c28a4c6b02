"""Servers that say nothing, trickle, die, lie, and send without end."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

import gitstore.git.remote.network
from gitstore.errors import RemoteUnavailableError, SyncError, UntrustedContentError
from gitstore.git.remote.cancellation import Cancellation, Cancelled
from tests.git.test_transport import (
    BRANCH,
    advertised,
    commit,
    fetch,
    make_remote,
    network,
    push,
    transport,
)
from tests.gitcommand import run_git
from tests.servers import Server, answering_server, cutting_proxy, python_hook, silent_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gitstore.git.remote.transport import Transport
    from tests.git.test_transport import Remote


# --- servers that stall, die, and lie -----------------------------------------------


pytestmark = pytest.mark.faults


@pytest.mark.parametrize("scheme", ["git", "ssh", "http", "https"])
def test_a_server_that_says_nothing(scheme: str) -> None:
    with silent_server() as port:
        since = time.monotonic()
        options = network(timeout_seconds=0.3 if scheme != "ssh" else 1.0)
        with pytest.raises(RemoteUnavailableError):
            advertised(transport(f"{scheme}://127.0.0.1:{port}/x.git", options))
        assert time.monotonic() - since < 4


@pytest.mark.parametrize("scheme", ["git", "http"])
def test_a_server_that_trickles(scheme: str) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(10_000)
        if scheme == "http":
            kind = b"application/x-git-upload-pack-advertisement"
            connection.sendall(b"HTTP/1.1 200 ok\r\nContent-Type: " + kind + b"\r\n\r\n")
        connection.sendall(_packet(b"version 2\n"))
        stop = threading.Event()
        while not stop.wait(0.02):
            connection.sendall(b"0005x")

    with answering_server(answer) as port, pytest.raises(RemoteUnavailableError, match="too slow"):
        advertised(
            transport(f"{scheme}://127.0.0.1:{port}/x.git", network(timeout_seconds=0.1))
        )  # fmt: skip


def test_a_server_that_dies_at_any_byte(
    request: pytest.FixtureRequest, git_daemon: Server, served: Path, ours: Path
) -> None:
    (ours / "noise").write_bytes(os.urandom(100_000))
    run_git(ours, "add", "noise")
    run_git(ours, "commit", "-q", "-m", "noise")
    remote = make_remote(request, "git", served)
    tip = push(remote.transport, ours, None)
    pack = ours.parent / "pack"
    for after in (1, 3, 4, 50, 100, 300, 1000, 50_000, 100_000):
        with cutting_proxy(git_daemon.port, after=after) as port:
            cut = transport(remote.url.replace(str(git_daemon.port), str(port)))
            with pytest.raises(RemoteUnavailableError):
                fetch(cut, tip, pack)
        assert not pack.exists()


def test_a_push_whose_answer_is_lost_is_settled_by_asking(
    request: pytest.FixtureRequest, git_daemon: Server, served: Path, ours: Path
) -> None:
    remote = make_remote(request, "git", served)
    first = push(remote.transport, ours, None)
    second = commit(ours, "more", "")
    # The answer to the push is cut off, the answers to the question are not.
    greeting = len(_advertisement(git_daemon.port, remote.path.name))
    cuts = iter([greeting + 3])
    ports: list[int] = []

    def once(client: socket.socket) -> None:
        after = next(cuts, 1 << 30)
        with cutting_proxy(git_daemon.port, after=after) as port:
            ports.append(port)
            _pass_on(client, port)

    with answering_server(once) as port:
        assert push(transport(remote.url.replace(str(git_daemon.port), str(port))), ours, first)
    assert len(ports) == 2
    assert remote.tip() == second


def test_a_lost_push_that_did_not_arrive_is_an_error(
    request: pytest.FixtureRequest, git_daemon: Server, served: Path, ours: Path
) -> None:
    remote = make_remote(request, "git", served)
    first = push(remote.transport, ours, None)
    commit(ours, "more", "")
    python_hook(remote.path, "pre-receive", "import os; os.kill(os.getppid(), 9)")
    with pytest.raises(RemoteUnavailableError):
        push(remote.transport, ours, first)
    assert remote.tip() == first


def test_an_endless_pack_is_stopped(
    request: pytest.FixtureRequest, served: Path, ours: Path
) -> None:
    (ours / "noise").write_bytes(os.urandom(200_000))
    run_git(ours, "add", "noise")
    run_git(ours, "commit", "-q", "-m", "noise")
    tip = run_git(ours, "rev-parse", "HEAD").strip()

    def more(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(_packet(b"version 2\n") + _packet(b"ls-refs\n") + b"0000")
        connection.recv(10_000)
        connection.sendall(_packet(tip.encode() + b" refs/heads/main\n") + b"0000")
        connection.recv(10_000)
        connection.sendall(_packet(b"packfile\n") + _packet(b"\x01PACK"))
        while True:
            connection.sendall(_packet(b"\x01" + bytes(60_000)))

    pack = ours.parent / "pack"

    def endless(port: int) -> Transport:
        return transport(f"git://127.0.0.1:{port}/x", network(receive_bytes_max=3_000_000))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gitstore.git.remote.network, "_TALK_BYTES_MAX", 100_000)
        with answering_server(more) as port, pytest.raises(UntrustedContentError, match="larger"):
            fetch(endless(port), tip, pack)
    assert not pack.exists()


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"0000", b"zzzz", b"0003", b"0001", b"000eversion 2\n0000", b"0009ERR x",
        b"0005\xff", b"000ahello\n0000", b"HTTP/1.1 200 OK\r\n\r\n" * 9, b"0032" + b"1" * 40 + b" a\n\xff0000",
        b"000eversion 2\n0010unknown=xyz\n0000" + b"003d" + b"g" * 40 + b" refs/heads/main\n0000",
        b"fff0" + bytes(100),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["git", "http"])
def test_nonsense_is_one_documented_error(
    answer: bytes, scheme: str, template: Path, tmp_path: Path
) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(10_000)
        if scheme == "http":
            kind = b"application/x-git-upload-pack-advertisement"
            head = b"HTTP/1.1 200 ok\r\nConnection: close\r\nContent-Type: " + kind + b"\r\n\r\n"
            connection.sendall(head)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(10_000)

    with answering_server(serve) as port:
        remote = transport(f"{scheme}://127.0.0.1:{port}/x.git", network(timeout_seconds=2))
        with pytest.raises(SyncError):
            fetch(remote, "1" * 40, tmp_path / "pack")
        with pytest.raises(SyncError):
            push(remote, template, None)
        with suppress(SyncError):  # an empty repository would say the shortest of them, too
            assert set(advertised(remote)) <= {"HEAD@"}


def test_terminal_sequences_of_a_server_are_not_shown() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(_packet(b"ERR \x1b]0;owned\x07 no\n\x00such " + b"y" * 1000))

    with answering_server(serve) as port, pytest.raises(SyncError) as caught:
        advertised(transport(f"git://127.0.0.1:{port}/x.git"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


# --- giving up ----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["git", "ssh", "http", "https", "full"])
def test_a_hung_call_can_be_given_up_at_once(scheme: str) -> None:
    cancel = Cancellation()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        fillers = []
        if scheme == "full":  # nobody even takes the connection
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
        name = "git" if scheme == "full" else scheme
        hung = transport(f"{name}://127.0.0.1:{port}/x.git", network(timeout_seconds=30))
        timer = threading.Timer(0.25, cancel.cancel)
        timer.start()
        since = time.monotonic()
        with pytest.raises(Cancelled):
            hung.advertised(cancel=cancel)
        assert time.monotonic() - since < 0.75
        timer.join()
        for filler in fillers:
            filler.close()
    with pytest.raises(Cancelled):
        hung.advertised(cancel=cancel)


def test_a_hung_hook_can_be_given_up_and_is_ended(
    request: pytest.FixtureRequest, served: Path, ours: Path
) -> None:
    remote = make_remote(request, "path", served)
    fifo = served / "fifo"
    os.mkfifo(fifo)
    python_hook(remote.path, "pre-receive", f"open({str(fifo)!r}).read()")
    cancel = Cancellation()

    def when_it_hangs() -> None:
        with fifo.open("w"):  # opens when the hook has opened it, too
            cancel.cancel()

    thread = threading.Thread(target=when_it_hangs)
    thread.start()
    since = time.monotonic()
    with pytest.raises(Cancelled):
        push(remote.transport, ours, None, cancel=cancel)
    assert time.monotonic() - since < 5
    thread.join()
    fifo.unlink()
    assert run_git(remote.path, "for-each-ref") == ""


# --- answers with mistakes -------------------------------------------------------------


@pytest.mark.parametrize(
    "rounds", [15, pytest.param(1500, marks=[pytest.mark.deep, pytest.mark.timeout(900)])]
)
def test_an_answer_with_mistakes_works_or_is_one_documented_error(
    request: pytest.FixtureRequest, served: Path, ours: Path, rounds: int
) -> None:
    remote = make_remote(request, "git", served)
    tip = push(remote.transport, ours, None)
    commit(ours, "more", "more")
    port = request.getfixturevalue("git_daemon").port
    chance, pack = random.Random(7), ours.parent / "pack"
    calls: list[Callable[[Transport], object]] = [
        advertised,
        lambda to: fetch(to, tip, pack),
        lambda to: push(to, ours, tip),
    ]
    for call in calls:
        good = _overheard(remote, port, call)
        pack.unlink(missing_ok=True)
        for _ in range(rounds):
            bad = _with_mistakes(good, chance)
            with answering_server(partial(_replay, answer=bad)) as lying:
                to = transport(f"git://127.0.0.1:{lying}/x", network(timeout_seconds=2))
                with suppress(SyncError):
                    call(to)
            pack.unlink(missing_ok=True)


def _overheard(remote: Remote, port: int, call: Callable[[Transport], object]) -> bytes:
    """Return what a server answers to a call."""
    heard = bytearray()

    def listen(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            threading.Thread(target=partial(_copy, client, server), daemon=True).start()
            while data := server.recv(1 << 16):
                heard.extend(data)
                client.sendall(data)

    before = run_git(remote.path, "for-each-ref")
    with answering_server(listen) as listening:
        call(transport(remote.url.replace(str(port), str(listening))))
    if run_git(remote.path, "for-each-ref") != before:
        run_git(remote.path, "update-ref", BRANCH, before.split()[0])
    return bytes(heard)


def _with_mistakes(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(changed))
        kind = chance.randrange(4)
        if kind == 0:
            changed[at] = chance.randrange(256)
        elif kind == 1:
            del changed[at : at + chance.randint(1, 20)]
        elif kind == 2:
            changed[at:at] = chance.choice(
                [b"0000", b"0001", b"0008NAK\n", b" ", b"=", b"\0", b"\n"]
            )
        else:
            changed[at : at + 4] = b"%04x" % chance.randrange(200)
        changed = changed or bytearray(b"0")
    return bytes(changed)


def _replay(client: socket.socket, *, answer: bytes) -> None:
    client.sendall(answer)
    client.shutdown(socket.SHUT_WR)
    while client.recv(1 << 16):
        pass


# --- helpers ----------------------------------------------------------------------------


def _packet(data: bytes) -> bytes:
    return b"%04x" % (len(data) + 4) + data


def _advertisement(port: int, name: str) -> bytes:
    """Return what a daemon says first to who wants to push."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(_packet(f"git-receive-pack /{name}\0host=127.0.0.1:{port}\0".encode()))
        data = b""
        while not data.endswith(b"0000"):
            data += connection.recv(10_000)
        return data


def _pass_on(client: socket.socket, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as server:
        thread = threading.Thread(target=partial(_copy, client, server), daemon=True)
        thread.start()
        _copy(server, client)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return

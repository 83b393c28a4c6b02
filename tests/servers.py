"""Real servers on the loopback: git daemon, git http-backend behind HTTP(S) with passwords, sshd.

Each is started once for all tests, serves one folder, and takes pushes. What it lacks to run skips
the tests that need it, but fails them where CI says that everything is there.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.gitcommand import environment, run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER, PASSWORD = "ann", "open-sesame-7391"


def missing(what: str) -> None:
    """Skip the test for want of something; fail it in CI, where nothing may be wanting."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")


def program(name: str) -> str:
    """Return the path of a program, also of those for administrators."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        missing(name)
    assert found is not None
    return found


def git_program(name: str) -> str:
    """Return the path of a program of git's own."""
    found = Path(run_git("/", "--exec-path").strip()) / name
    if not found.exists():
        missing(name)
    return str(found)


@dataclass
class Server:
    """A running server: where the repositories are, and how their URLs begin."""

    root: Path
    #: Without a slash at the end.
    url: str
    port: int
    #: For ssh: the known host keys, and the key to show.
    known_hosts: Path | None = None
    identity: Path | None = None
    #: For HTTPS.
    ca_file: Path | None = None
    #: For HTTP: the paths that were asked for, with the user who asked.
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def url_of(self, repository: Path) -> str:
        """Return the URL of a repository below the root."""
        return f"{self.url}/{repository.relative_to(self.root)}"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all servers serve."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def git_daemon(served: Path) -> Iterator[Server]:
    """A real ``git daemon``, which takes anonymous pushes."""
    daemon = git_program("git-daemon")
    with free_port() as port:
        process = subprocess.Popen(
            [
                daemon, "--reuseaddr", f"--base-path={served}", "--export-all", "--listen=127.0.0.1",
                f"--port={port}", "--enable=receive-pack", str(served),
            ],
            env=environment(GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*"),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        with _ending(process):
            wait_for(port, process)
            yield Server(served, f"git://127.0.0.1:{port}", port)


@pytest.fixture(scope="session")
def sshd(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real ``sshd`` with a host key of its own, which lets one new key in."""
    folder = tmp_path_factory.mktemp("sshd")
    program("ssh")
    for name in ("host", "user", "stranger"):
        subprocess.run(
            [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],
            check=True,
        )
    with free_port() as port:
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        (folder / "sshd_config").write_text(
            f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\n"
            f"PidFile none\nUsePAM no\nPasswordAuthentication no\nListenAddress 127.0.0.1:{port}\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            "AcceptEnv GIT_PROTOCOL\nLogLevel ERROR\n"
        )
        host_key = " ".join((folder / "host.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in while it checks keys
        process = subprocess.Popen(
            [program("sshd"), "-D", "-E", str(folder / "log"), "-f", str(folder / "sshd_config")],
            start_new_session=True,
        )
        with _ending(process):
            wait_for(port, process)
            yield Server(
                served,
                f"ssh://127.0.0.1:{port}{served}",
                port,
                known_hosts=folder / "known_hosts",
                identity=folder / "user",
            )


@pytest.fixture(scope="session")
def http_server(served: Path) -> Iterator[Server]:
    """``git http-backend`` behind HTTP; below ``private/`` it wants a password."""
    with _serving_http(served, None) as server:
        yield server


@pytest.fixture(scope="session")
def https_server(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same behind TLS, with a certificate that only `Server.ca_file` vouches for."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(folder / "key"), "-out", str(folder / "certificate"),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    with _serving_http(served, context) as server:
        server.ca_file = folder / "certificate"
        yield server


@contextmanager
def _serving_http(root: Path, context: ssl.SSLContext | None) -> Iterator[Server]:
    backend = git_program("git-http-backend")
    server = Server(root, "", 0)
    handler = type("Handler", (_Backend,), {"backend": backend, "server_of": server})
    with _Listener(("127.0.0.1", 0), handler) as listener:
        if context is not None:
            listener.socket = context.wrap_socket(
                listener.socket, server_side=True, do_handshake_on_connect=False
            )
        server.port = listener.server_address[1]
        server.url = f"{'http' if context is None else 'https'}://127.0.0.1:{server.port}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: who hangs up, or does not trust the certificate, is part of the tests."""


class _Backend(BaseHTTPRequestHandler):
    """Runs ``git http-backend`` as CGI (RFC 3875), after looking at the password."""

    protocol_version = "HTTP/1.1"
    timeout = 20.0  # type: ignore[mutable-override]  # never None here
    backend: str
    server_of: Server

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts: list[bytes] = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self._answer(b"".join(parts))
        else:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name there
        """Say nothing."""

    def _answer(self, body: bytes) -> None:
        user = self._user()
        self.server_of.requests.append((self.path, user))
        path, _, query = self.path.partition("?")
        if path.startswith("/moved/"):
            self._plain(302, "", Location=self.path.replace("/moved/", "/", 1))
        elif path.startswith("/away/"):
            port, _, rest = path.removeprefix("/away/").partition("/")
            self._plain(302, "", Location=f"http://127.0.0.1:{port}/{rest}?{query}")
        elif path.startswith("/private/") and user != USER:
            self._plain(401, "who are you?", **{"WWW-Authenticate": 'Basic realm="git"'})
        elif path.startswith("/page/"):
            self._plain(200, "<html>hello</html>", **{"Content-Type": "text/html"})
        else:
            self._backend(path, query, body, user)

    def _user(self) -> str | None:
        kind, _, text = (self.headers.get("Authorization") or "").partition(" ")
        if kind != "Basic":
            return None
        name, _, password = base64.b64decode(text).decode().partition(":")
        return name if password == PASSWORD else f"{name} (wrong)"

    def _plain(self, status: int, text: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _backend(self, path: str, query: str, body: bytes, user: str | None) -> None:
        done = subprocess.run(
            [self.backend],
            input=body,
            capture_output=True,
            check=False,
            env=environment(
                GIT_PROJECT_ROOT=str(self.server_of.root),
                GIT_HTTP_EXPORT_ALL="1",
                GIT_CONFIG_COUNT="2",
                GIT_CONFIG_KEY_0="http.receivepack",
                GIT_CONFIG_VALUE_0="true",
                GIT_CONFIG_KEY_1="safe.directory",
                GIT_CONFIG_VALUE_1="*",
                REQUEST_METHOD=self.command,
                PATH_INFO=path,
                QUERY_STRING=query,
                CONTENT_TYPE=self.headers.get("Content-Type", ""),
                CONTENT_LENGTH=str(len(body)),
                HTTP_GIT_PROTOCOL=self.headers.get("Git-Protocol", ""),
                GIT_PROTOCOL=self.headers.get("Git-Protocol", ""),
                REMOTE_USER=user or "",
                REMOTE_ADDR="127.0.0.1",
            ),
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen on a port, accept, and never say anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def answering_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on a port and let `answer` speak to each who connects."""
    open_ones: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_ones.append(connection)
                threading.Thread(target=speak, args=(connection,), daemon=True).start()

    def speak(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            # Closing alone does not wake up who accepts.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in open_ones:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting_proxy(port: int, *, after: int) -> Iterator[int]:
    """Pass bytes on to a port, and hang up when so many came back."""

    def answer(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:

            def up() -> None:
                with suppress(OSError):
                    while data := client.recv(1 << 16):
                        server.sendall(data)
                    server.shutdown(socket.SHUT_WR)

            threading.Thread(target=up, daemon=True).start()
            left = after
            while left > 0 and (data := server.recv(min(left, 1 << 16))):
                client.sendall(data)
                left -= len(data)
            client.shutdown(socket.SHUT_RDWR)

    with answering_server(answer) as listening:
        yield listening


@contextmanager
def free_port() -> Iterator[int]:
    """Keep a port that nobody listens on, for a server that asks for it by number.

    The system gives it to no other process meanwhile: tests may run in several.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        assert isinstance(port, int)
        yield port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server listens."""
    for _ in range(500):
        assert process.poll() is None, "the server ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        threading.Event().wait(0.01)
    raise AssertionError("the server does not listen")


@contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a server and what it started."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def python_hook(repository: Path, name: str, script: str) -> None:
    """Install a hook in a repository."""
    hook = repository / "hooks" / name
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!{sys.executable}\n{script}\n")
    hook.chmod(0o755)

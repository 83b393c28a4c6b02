"""Faults on purpose: every change a process makes on disk passes a tap that may kill, fail or stop it.

The tap replaces functions of the `os` module, so it is only ever installed in a forked child: the
parent stays whole, and looks at what is left behind.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn

from gitstore.git import files

When = Literal["before", "after"]
Real = Callable[[], Any]

_AT_CWD = -100
_CHANGING_FLAGS = os.O_CREAT | os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND
_BY_PATH = ("mkdir", "rmdir", "unlink", "remove", "utime", "chmod", "truncate")
_BY_TWO_PATHS = ("rename", "replace", "link", "symlink")
_BY_DESCRIPTOR = ("write", "writev", "fsync", "fdatasync", "ftruncate")
_CHILD_SECONDS_MAX = 60

_real: dict[str, Callable[..., Any]] = {
    name: getattr(os, name) for name in ("open", *_BY_PATH, *_BY_TWO_PATHS, *_BY_DESCRIPTOR)
}
_real_open = builtins.open
_real_exchange = files._renameat2


class Call(NamedTuple):
    """One call about to be made."""

    name: str
    path: str
    #: The second path of a rename, link or exchange.
    target: str = ""
    descriptor: int = -1
    data: bytes = b""
    flags: int = 0

    @property
    def changes(self) -> bool:
        """Whether it changes something on disk, or makes a change durable."""
        return self.name not in ("open", "read-open") or bool(self.flags & _CHANGING_FLAGS)


#: Decides what happens in place of a call; `real` makes the call.
Handler = Callable[[Call, Real], Any]


class Tap:
    """Hands every call below `root` made by one thread to a handler."""

    def __init__(self, root: str, handler: Handler) -> None:
        self._root = os.path.realpath(root)
        self._handler = handler
        self._thread = threading.get_ident()
        self._open: dict[int, str] = {}
        self._enabled = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let calls pass unseen: for looking around in the middle of a save."""
        before, self._enabled = self._enabled, False
        try:
            yield
        finally:
            self._enabled = before

    def install(self) -> None:
        """Take the place of the real functions. There is no way back: call it in a child."""
        for name in _BY_PATH:
            setattr(os, name, self._wrap_path(name))
        for name in _BY_TWO_PATHS:
            setattr(os, name, self._wrap_two_paths(name))
        for name in _BY_DESCRIPTOR:
            setattr(os, name, self._wrap_descriptor(name))
        setattr(os, "open", self._os_open)  # noqa: B010 -- a plain assignment would not type-check
        setattr(builtins, "open", self._builtin_open)  # noqa: B010 -- as above
        if _real_exchange is not None:
            setattr(files, "_renameat2", self._exchange)  # noqa: B010 -- as above

    def _pass(self, call: Call, real: Real) -> Any:
        mine = self._enabled and threading.get_ident() == self._thread
        inside = call.path == self._root or call.path.startswith(self._root + os.sep)
        if not mine or not inside:
            return real()
        with self.paused():
            return self._handler(call, real)

    def _locate(self, path: Any, folder: int | None) -> str:
        if isinstance(path, int):
            return self._open.get(path, "")
        text = os.fsdecode(path)
        above = os.getcwd() if folder in (None, _AT_CWD) else self._open.get(folder or 0, "")
        return os.path.normpath(os.path.join(above, text))

    def _wrap_path(self, name: str) -> Callable[..., Any]:
        def function(path: Any, *args: Any, dir_fd: int | None = None, **kwargs: Any) -> Any:
            more = kwargs if dir_fd is None else {**kwargs, "dir_fd": dir_fd}
            call = Call(name, self._locate(path, dir_fd))
            return self._pass(call, lambda: _real[name](path, *args, **more))

        return function

    def _wrap_two_paths(self, name: str) -> Callable[..., Any]:
        def function(source: Any, target: Any, **kwargs: Any) -> Any:
            call = Call(
                name,
                self._locate(source, kwargs.get("src_dir_fd")),
                target=self._locate(target, kwargs.get("dst_dir_fd")),
            )
            return self._pass(call, lambda: _real[name](source, target, **kwargs))

        return function

    def _wrap_descriptor(self, name: str) -> Callable[..., Any]:
        def function(descriptor: int, *args: Any) -> Any:
            data = b""
            if name in ("write", "writev"):
                data = bytes(args[0]) if name == "write" else b"".join(args[0])
            # One of several parts is a write like any other: it may be short, too.
            call = Call(
                name.removesuffix("v"),
                self._open.get(descriptor, ""),
                descriptor=descriptor,
                data=data,
            )
            return self._pass(call, lambda: _real[name](descriptor, *args))

        return function

    def _os_open(
        self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        where = self._locate(path, dir_fd)
        descriptor: int = self._pass(
            Call("open", where, flags=flags),
            lambda: _real["open"](path, flags, mode, dir_fd=dir_fd),
        )
        self._open[descriptor] = where
        return descriptor

    def _builtin_open(self, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, int):
            return _real_open(file, mode, *args, **kwargs)
        flags = os.O_CREAT if set(mode) & set("wax+") else os.O_RDONLY
        call = Call("open", self._locate(file, None), flags=flags)
        return self._pass(call, lambda: _real_open(file, mode, *args, **kwargs))

    def _exchange(self, above: int, first: bytes, folder: int, second: bytes, flags: int) -> int:
        assert _real_exchange is not None
        real = _real_exchange
        call = Call("exchange", self._locate(first, above), target=self._locate(second, folder))
        try:
            done: int = self._pass(call, lambda: real(above, first, folder, second, flags))
        except OSError as error:
            ctypes.set_errno(error.errno or errno.EIO)
            return -1
        return done


class Count:
    """Counts calls, and lets them pass."""

    def __init__(self, accepts: Callable[[Call], bool]) -> None:
        self.calls: list[Call] = []
        self._accepts = accepts

    def __call__(self, call: Call, real: Real) -> Any:
        """Count one call."""
        if self._accepts(call):
            self.calls.append(call)
        return real()


class At:
    """Does something before or after the `number`-th accepted call (from 0)."""

    def __init__(
        self,
        number: int,
        when: When,
        act: Callable[[], object],
        *,
        accepts: Callable[[Call], bool],
    ) -> None:
        self._left = number
        self._when = when
        self._act = act
        self._accepts = accepts

    def __call__(self, call: Call, real: Real) -> Any:
        """Make one call, and act if it is the one."""
        if not self._accepts(call):
            return real()
        self._left -= 1
        if self._left != -1:
            return real()
        if self._when == "before":
            self._act()
            return real()
        try:
            return real()
        finally:
            self._act()


@dataclass
class Fail:
    """Fails the `number`-th accepted call (from 0), once or from then on, until `mended`."""

    number: int
    code: int
    sticky: bool
    accepts: Callable[[Call], bool]
    mended: bool = False
    #: The call that failed first.
    hit: Call | None = None
    _seen: int = 0

    def __call__(self, call: Call, real: Real) -> Any:
        """Fail or make one call."""
        if self.mended or not self.accepts(call):
            return real()
        self._seen += 1
        if self._seen <= self.number or (self.hit is not None and not self.sticky):
            return real()
        self.hit = self.hit or call
        raise OSError(self.code, os.strerror(self.code), call.path)


class Short:
    """Makes every write from the `number`-th on write half of what it is given."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, call: Call, real: Real) -> Any:
        """Make one call, by half if it is a write of more than a byte."""
        if call.name != "write" or len(call.data) < 2:
            return real()
        self._left -= 1
        if self._left >= 0:
            return real()
        return _real["write"](call.descriptor, call.data[: len(call.data) // 2])


def kill_me() -> NoReturn:
    """Die as in a power cut of the process: nothing is flushed, no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL was survived")


def changes(call: Call) -> bool:
    """Accept calls that change something on disk."""
    return call.changes


def any_call(call: Call) -> bool:
    """Accept every call, reads too."""
    return bool(call.name)


Report = Callable[[Any], None]


class Child(NamedTuple):
    """A forked child, and the pipe on which it reports."""

    pid: int
    pipe: int


def in_child(body: Callable[[Report], None]) -> tuple[list[Any], int]:
    """Run `body` in a forked child; return what it reported, and the signal that killed it (or 0).

    Raises:
        AssertionError: `body` raised.
    """
    return finish(start_child(body))


def start_child(body: Callable[[Report], None]) -> Child:
    """Begin to run `body` in a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(body, reading, writing)
    os.close(writing)
    return Child(child, reading)


def finish(child: Child) -> tuple[list[Any], int]:
    """Wait for a child; return what `in_child` does."""
    with os.fdopen(child.pipe, "rb") as pipe:
        reports: list[Any] = []
        while True:
            try:
                reports.append(pickle.load(pipe))  # reports of our own child
            except EOFError:
                break
    _, status = os.waitpid(child.pid, 0)
    killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    assert killed_by or os.WEXITSTATUS(status) == 0, reports[-1]
    assert killed_by in (0, signal.SIGKILL), f"the child was stopped by signal {killed_by}"
    return reports, killed_by


def _be_child(body: Callable[[Report], None], reading: int, writing: int) -> NoReturn:
    real_write, code = os.write, 1
    signal.alarm(_CHILD_SECONDS_MAX)

    def report(value: Any) -> None:
        data = memoryview(pickle.dumps(value))
        while data:
            data = data[real_write(writing, data) :]

    try:
        os.close(reading)
        body(report)
        code = 0
    except BaseException:  # noqa: BLE001 -- the parent fails with this text
        report(traceback.format_exc())
    finally:
        os._exit(code)


def count_calls(
    root: str, body: Callable[[], object], *, accepts: Callable[[Call], bool] = changes
) -> list[Call]:
    """Return the calls that `body` makes below `root`; it runs in a child."""

    def counted(report: Report) -> None:
        count = Count(accepts)
        Tap(root, count).install()
        body()
        report(count.calls)

    reports, _ = in_child(counted)
    calls: list[Call] = reports[-1]
    return calls

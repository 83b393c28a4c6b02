"""Folders that need no second look, as nothing happened in them since the last one.

A folder is quiet if it was watched (`inotify`) before it was looked at, and there was no event of it
since. What makes no event (an edit by way of a hard link made later, or of a mapping that stays open) is
found when all folders are looked at again, which is at the latest after `FULL_LOOK_SECONDS`.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from gitstore.git.inotify import ENDED, OVERFLOW, Inotify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gitstore.git.checkout import WorkingTree
    from gitstore.git.openfolder import OpenFolder
    from gitstore.types import Runtime

#: How long an edit can stay unseen that makes no event.
FULL_LOOK_SECONDS: Final = 10.0
#: A command lists once: watching pays for whoever lists again.
_LOOKS_MIN: Final = 2
#: What the folder itself is called among those in it.
_TOP: Final = ""

_all: weakref.WeakSet[QuietFolders] = weakref.WeakSet()


class _Since(NamedTuple):
    """When a look began: in which round, and after how many events."""

    round: int
    events: int


class QuietFolders:
    """The folders in one folder, and which of them are quiet. Safe to share between threads.

    Where the system cannot tell of changes, or not of all, none ever is.
    """

    def __init__(self, *, runtime: Runtime) -> None:
        self._monotonic = runtime.monotonic
        self._mutex = threading.Lock()
        self._inotify: Inotify | None = None
        self._is_off = False
        self._looks = 0
        #: One for each look at all folders: what was seen in another one is no longer believed.
        self._round = 0
        #: All names in the folder, its own device and inode, and when that was, of this round.
        self._names: list[str] = []
        self._top = (0, 0)
        self._looked_at = 0.0
        self._names_of: dict[int, str] = {}
        #: By name: after how many events it had its last one, and what it is known to equal.
        self._events = 0
        self._touched: dict[str, int] = {}
        self._quiet: dict[str, str] = {}
        _all.add(self)

    def start_over(self) -> None:
        """Be as new in a forked child: the queue is the parent's, and a thread of it may hold the lock."""
        self._mutex = threading.Lock()
        self._looks = 0
        self._drop()

    def close(self) -> None:
        """Watch nothing any more. Closing twice is fine."""
        with self._mutex:
            self._stop()

    def look(self, key_of: Callable[[str], str]) -> Look:
        """Begin a look; `key_of` says what a folder, by its name, is to be compared with."""
        return Look(self, key_of)

    # --- for `Look` -----------------------------------------------------------

    def begin(self, top: int, key_of: Callable[[str], str]) -> tuple[list[str], _Since | None]:
        """Return what is in the open folder and not quiet, and the time; None if nothing is watched."""
        with self._mutex:
            self._looks += 1
            if self._looks >= _LOOKS_MIN and not self._is_off:
                try:
                    self._catch_up(top)
                except OSError:
                    self._stop()
                else:
                    names = [each for each in self._names if self._quiet.get(each) != key_of(each)]
                    return names, _Since(self._round, self._events)
        return os.listdir(top), None

    def watch(self, folder: OpenFolder) -> bool:
        """Watch a folder that is about to be looked at; return whether events will tell its name."""
        with self._mutex:
            if self._inotify is None:
                return False
            try:
                watch = self._inotify.watch(folder.descriptor)
            except OSError:
                self._stop()
                return False
            # One that is mounted twice has one watch.
            return self._names_of.setdefault(watch, folder.name) == folder.name

    def keep(self, name: str, key: str, since: _Since) -> None:
        """Call a folder quiet that equals its key, unless something happened since the look began."""
        with self._mutex:
            if since.round == self._round and self._touched.get(name, 0) <= since.events:
                self._quiet[name] = key

    # --- under the mutex ------------------------------------------------------

    def _catch_up(self, top: int) -> None:
        """Learn what happened; begin a new round if that may be anything, or the last one is old.

        Raises:
            OSError: the system does not tell.
        """
        if self._inotify is None:
            self._inotify = Inotify()
        knows = self._take(self._inotify.read())
        status, now = os.fstat(top), self._monotonic()
        if not knows or (status.st_dev, status.st_ino) != self._top:
            for watch in self._names_of:
                self._inotify.forget(watch)
        elif now - self._looked_at < FULL_LOOK_SECONDS:
            return
        self._round += 1
        self._quiet.clear()
        self._touched.clear()
        self._names_of.clear()
        self._names_of[self._inotify.watch(top)] = _TOP
        # After that: a folder that is made from now on makes an event.
        self._names = os.listdir(top)
        self._top, self._looked_at = (status.st_dev, status.st_ino), now

    def _take(self, events: Mapping[int, int]) -> bool:
        """Note what happened; return whether all is known of it."""
        for watch, what in events.items():
            name = self._names_of.get(watch, _TOP if watch == OVERFLOW else None)
            if name is None:
                continue  # of a folder that was forgotten
            if name == _TOP or what & ENDED:
                return False
            self._events += 1
            self._touched[name] = self._events
            self._quiet.pop(name, None)
        return True

    def _stop(self) -> None:
        """Watch nothing, and do not try again."""
        self._is_off = True
        self._drop()

    def _drop(self) -> None:
        self._round += 1
        self._names_of.clear()
        self._top = (0, 0)
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None


class Look:
    """One look at the folders in a folder, by one thread."""

    def __init__(self, quiet: QuietFolders, key_of: Callable[[str], str]) -> None:
        self._quiet = quiet
        self._key_of = key_of
        self._since: _Since | None = None
        self._is_watched = False

    def visit(self, tree: WorkingTree, path: str) -> Iterator[OpenFolder]:
        """Return the folders in the folder at `path` that are not quiet, as `WorkingTree.visit`."""
        for opened in tree.visit(path, choose=self._choose):
            self._is_watched = self._since is not None and self._quiet.watch(opened)
            yield opened

    def keep(self, folder: OpenFolder) -> None:
        """Tell that the folder that was visited last equals its key."""
        if self._since is not None and self._is_watched and not folder.has_links:
            self._quiet.keep(folder.name, self._key_of(folder.name), self._since)

    def _choose(self, top: int) -> list[str]:
        names, self._since = self._quiet.begin(top, self._key_of)
        return names


def _start_over_after_fork() -> None:
    for each in list(_all):
        each.start_over()


os.register_at_fork(after_in_child=_start_over_after_fork)

"""The collector is held off while a session is made, and is on again afterwards, whatever happens."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import BlockingSessionStore, SerializationError
from gitstore.engine.collecting import uncollected
from gitstore.session import codec
from gitstore.session.ids import path_of
from gitstore.testing.promises import say, session
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitstore.session.frozen import FrozenDocument

LARGE = 1 << 20


@pytest.fixture(autouse=True)
def collector_is_on() -> Iterator[None]:
    """It is before every test, and after: a test that leaves it off fails."""
    assert gc.isenabled()
    yield
    was_on = gc.isenabled()
    gc.enable()
    assert was_on


def test_is_off_inside_and_on_after() -> None:
    assert uncollected(gc.isenabled, size=LARGE) is False
    assert gc.isenabled()


def test_is_on_after_an_error() -> None:
    def fail() -> None:
        assert not gc.isenabled()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        uncollected(fail, size=LARGE)
    assert gc.isenabled()


@pytest.mark.parametrize("size", [2048, 16 << 20])
def test_is_left_alone_for_what_is_small_and_for_what_takes_long(size: int) -> None:
    assert uncollected(gc.isenabled, size=size) is True


def test_who_has_switched_it_off_keeps_it_off() -> None:
    gc.disable()
    try:
        assert uncollected(gc.isenabled, size=LARGE) is False
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_pause_within_a_pause_does_not_end_it() -> None:
    def inside() -> bool:
        uncollected(int, size=LARGE)
        return gc.isenabled()

    assert uncollected(inside, size=LARGE) is False


def test_calls_that_overlap_do_not_keep_it_off_between_them() -> None:
    """The first one's end is the pause's end: else a busy store would never collect."""
    began, may_end, seen = threading.Event(), threading.Event(), list[bool]()

    def second() -> None:
        seen.append(gc.isenabled())
        began.set()
        assert may_end.wait(10)
        seen.append(gc.isenabled())

    other = threading.Thread(target=uncollected, args=(second,), kwargs={"size": LARGE})

    def first() -> None:
        other.start()
        assert began.wait(10)

    uncollected(first, size=LARGE)
    assert gc.isenabled()
    may_end.set()
    other.join()
    assert seen == [False, True]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_in_a_pause_collects() -> None:
    """The call that paused is not in there, to switch it on."""

    def fork() -> int:
        child = os.fork()
        if child == 0:
            os._exit(0 if gc.isenabled() else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert uncollected(fork, size=LARGE) == 0
    assert gc.isenabled()


def test_a_large_session_is_loaded_in_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[bool] = []
    decode = codec.decode_frozen

    def watched(data: bytes, **named: Any) -> tuple[FrozenDocument, bool]:
        inside.append(gc.isenabled())
        return decode(data, **named)

    monkeypatch.setattr(codec, "decode_frozen", watched)
    with BlockingSessionStore.open(tmp_path / "r", create=True, bare=True) as store:
        asset = session("large", "hello")
        store.save(asset)
        for number in range(60):
            say(asset, f"{number}: " + 1200 * "x", turn=f"t{number}")
        store.save(asset)
        small, large = store.load("large", at="@{1}"), store.load("large")
        assert (len(small.history.turns), len(large.history.turns)) == (1, 61)
        assert inside == [True, False]
        assert gc.isenabled()


def test_collects_after_a_session_that_cannot_be_read(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "r", create=True) as store:
        store.save(session("large", "hello"))
        path = tmp_path / "r" / path_of(store.list()[0].id)
        path.write_text("a: [\n" + "b: 1\n" * 20_000)
        run_git(tmp_path / "r", "commit", "-qam", "broken")
        with pytest.raises(SerializationError):
            store.load("large")
        assert gc.isenabled()

"""Many saves in one store: memory, open files, packs and loose objects stay as they are."""

from __future__ import annotations

import gc
import os
import random
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, ConversationTurn, SessionAsset
from gitstore.git import replaced
from tests.git.test_maintain import git_folder, loose, packs
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

#: In all, also those that were replaced, and that readers may still be at: with more, git's own maintenance
#: would begin (gc.autoPackLimit).
_PACKS_MAX = 50
#: Of those that were not: writers stop at 20 small ones.
_LIVE_MAX = 20 + 10
_LOOSE_MAX = 2000
#: Bytes that the memory may grow by after the first quarter.
_GROWTH_MAX = 48 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return how many bytes of memory this process has."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * _PAGE


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.faults
@pytest.mark.parametrize("saves", [300, pytest.param(20_000, marks=pytest.mark.deep)])
@pytest.mark.timeout(3600)
def test_many_saves_leave_no_trace_but_history(tmp_path: Path, saves: int) -> None:
    path, chance = tmp_path / "store", random.Random(1)
    most = [0, 0, 0, 0]
    with BlockingSessionStore.open(
        path, create=True, bare=saves < 1000, durability="process"
    ) as store:
        assets = [SessionAsset.new(id=f"s{number}") for number in range(20)]
        early = 0
        for number in range(saves):
            asset = chance.choice(assets)
            # The sessions stay of one size: what grows is the history.
            asset.history.turns[:-3] = []
            asset.history.turns.append(ConversationTurn.user(f"turn {number}"))
            store.save(asset)
            if number % 50 == 0:
                store.load(asset.id)
                store.list(limit=5)
            if number % 5 == 0:
                left = replaced.read(str(git_folder(path)))
                found = len(packs(path)), len(loose(path)), open_files(), len(packs(path) - {*left})
                most = [max(pair) for pair in zip(most, found, strict=True)]
            if number == saves // 4:
                early = resident()
        grown = resident() - early
    print(f"{saves} saves: at most {most}; {grown >> 10} KiB grown")
    assert most[0] <= _PACKS_MAX
    assert most[3] <= _LIVE_MAX
    assert most[1] <= _LOOSE_MAX
    # One for each pack that is mapped would be too many; so would one that is left at each save.
    assert most[2] < 60
    assert grown < _GROWTH_MAX
    assert run_git(path, "rev-list", "--count", "main").strip() == str(saves + 1)
    assert_git_is_content(path)

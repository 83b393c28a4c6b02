"""git's commit-graph: it says what the commits say, or nothing."""

from __future__ import annotations

import os
import random
from hashlib import sha1
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore
from gitstore.engine.historycache import FILE, cache_of
from gitstore.engine.pathwalk import walk
from gitstore.git import commitgraph
from gitstore.git.commitgraph import CommitGraph, CommitGraphs
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitstore.git.commitgraph import Covered

PATH = "sessions/ab/a.yaml"
SINGLE = "objects/info/commit-graph"
CHAIN = "objects/info/commit-graphs"


def stream(commits: range, *, merges: bool = True) -> str:
    """Return commits for git fast-import, with merges of two and of five sides among them."""
    lines = ""
    for number in commits:
        lines += f"commit refs/heads/main\nmark :{number + 1}\n"
        lines += f"committer A <a@b> {1_700_000_000 + number} +0000\ndata 1\n{number % 7}\n"
        if number and number == commits[0]:
            lines += "from refs/heads/main^0\n"
        if merges and number - commits[0] > 20 and not number % 9:
            sides = range(number - 16, number - (14 if number % 2 else 11))
            lines += "".join(f"merge :{side}\n" for side in sides)
        lines += (
            f"M 100644 inline sessions/{number % 50 * 5:02x}/x.yaml\ndata 3\n{number % 90:03}\n"
        )
        if number % 11 == 3:
            lines += f"M 100644 inline {PATH}\ndata 3\n{number:03}\n"
    return lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository without a commit-graph, longer than what is looked at before one is opened."""
    run_git(tmp_path, "init", "-q", "--bare", "-b", "main", ".")
    run_git(tmp_path, "fast-import", "--quiet", given=stream(range(300)).encode())
    return tmp_path


def write_single(folder: Path) -> Path:
    run_git(folder, "commit-graph", "write", "--reachable")
    return folder / SINGLE


def write_chain(folder: Path, more: tuple[int, int] = (300, 400)) -> list[Path]:
    """Write three layers; return their files, the lowest first."""
    for start in (0, *more):
        if start:
            made = stream(range(start, start + 100)).encode()
            run_git(folder, "fast-import", "--quiet", given=made)
        run_git(folder, "commit-graph", "write", "--reachable", "--split=no-merge")
    names = (folder / CHAIN / "commit-graph-chain").read_text().split()
    assert len(names) == 3
    return [folder / CHAIN / f"graph-{name}.graph" for name in names]


def opened(folder: Path) -> CommitGraph | None:
    return CommitGraphs(str(folder / "objects")).opened()


def told_by_git(folder: Path) -> dict[bytes, tuple[bytes, tuple[bytes, ...]]]:
    listed = run_git(folder, "-c", "core.commitGraph=false", "log", "--all", "--format=%H %T %P")
    rows = ([bytes.fromhex(word) for word in line.split()] for line in listed.splitlines())
    return {commit: (tree, tuple(parents)) for commit, tree, *parents in rows}


def check(folder: Path, graph: CommitGraph | None, covered: int) -> None:
    """Assert that a graph covers so many commits, and says of each what git reads in it."""
    right = told_by_git(folder)
    found = {commit: None if graph is None else graph.find(commit) for commit in right}
    assert sum(each is not None for each in found.values()) == covered
    assert all(each in (None, right[commit]) for commit, each in found.items())


def walked(store: BlockingSessionStore) -> list[str]:
    """Return the commits that changed the path."""
    return [step.commit.hex() for step in walk(store._repository, PATH)]


def walked_anew(folder: Path) -> list[str]:
    (folder / "gitstore" / FILE).unlink(missing_ok=True)
    with BlockingSessionStore.open(folder) as store:
        return walked(store)


def rewritten(path: Path, data: bytes, *, hashed: bool = False) -> None:
    """Replace a file, as git does; `hashed` makes its checksum right."""
    if hashed:
        data = data[:-20] + sha1(data[:-20]).digest()
    other = path.with_name("other")
    other.write_bytes(data)
    other.replace(path)


def damages(data: bytes, chance: random.Random) -> Iterator[bytes]:
    yield from (b"", data[:7], data[:30], data[:-1], data[: len(data) // 2], data + b"x")
    for _ in range(60):
        place = chance.randrange(len(data))
        yield data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def test_a_single_file_says_what_the_commits_say(folder: Path) -> None:
    assert opened(folder) is None
    write_single(folder)
    check(folder, opened(folder), 300)
    assert max(len(parents) for _, parents in told_by_git(folder).values()) > 4
    graph = opened(folder)
    assert graph is not None
    assert [graph.find(name) for name in (bytes(20), b"\xff" * 20)] == [None, None]


def test_a_chain_says_what_the_commits_say(folder: Path) -> None:
    layers = write_chain(folder)
    check(folder, opened(folder), 500)
    # What stands on a layer that is gone is not covered; what is below it is.
    whole = layers[1].read_bytes()
    for damaged in (whole[:-1], layers[2].read_bytes(), b""):
        rewritten(layers[1], damaged)
        check(folder, opened(folder), 300)
    layers[1].unlink()
    check(folder, opened(folder), 300)
    layers[0].unlink()
    check(folder, opened(folder), 0)


def test_a_chain_names_no_files_elsewhere(folder: Path) -> None:
    layers = write_chain(folder)
    listing = folder / CHAIN / "commit-graph-chain"
    for text in ("../../x\n", "zz\n", "é\n", "", "00" * 20, "a" * 20_000):
        rewritten(listing, text.encode())
        check(folder, opened(folder), 0)
    rewritten(listing, f"{layers[0].stem.removeprefix('graph-')}\n../x\n".encode())
    check(folder, opened(folder), 300)


def test_a_layer_under_another_name_is_not_used(folder: Path) -> None:
    layers = write_chain(folder)
    name = "00" * 20
    layers[0].rename(folder / CHAIN / f"graph-{name}.graph")
    rewritten(folder / CHAIN / "commit-graph-chain", name.encode())
    check(folder, opened(folder), 0)


@pytest.mark.parametrize(
    ("chunk", "at", "value"),
    [
        (b"OIDL", 4, b"\xff" * 8),  # begins behind the end
        (b"OIDL", 0, b"OIDX"),  # not there
        (b"CDAT", 0, b"CDAX"),
        (b"OIDF", 0, b"OIDX"),
        (b"CDAT", 4, (1200).to_bytes(8)),  # begins too early
    ],
)
def test_chunks_that_do_not_fit_are_not_used(
    folder: Path, chunk: bytes, at: int, value: bytes
) -> None:
    path = write_single(folder)
    data = path.read_bytes()
    start = data.index(chunk) + at
    rewritten(path, data[:start] + value + data[start + len(value) :], hashed=True)
    check(folder, opened(folder), 0)


def test_a_fan_out_of_order_is_not_used(folder: Path) -> None:
    path = write_single(folder)
    data = path.read_bytes()
    place = data.index(b"OIDF") + 4
    fan = int.from_bytes(data[place : place + 8])
    rewritten(path, data[:fan] + b"\x7f" + data[fan + 1 :], hashed=True)
    check(folder, opened(folder), 0)


def test_an_id_across_two_others_is_not_there() -> None:
    ids = (b"\1" * 10 + b"\2" * 10, b"\1\2" * 10)
    row = bytes(20) + (0x70000000).to_bytes(4) * 2 + bytes(8)
    graph = CommitGraph([commitgraph._Layer(b"", (0, *[2] * 255), b"".join(ids), row * 2, b"")])
    assert [graph.find(name) for name in ids] == [(bytes(20), ())] * 2
    assert graph.find(ids[0][5:] + ids[1][:5]) is None


def test_history_is_the_same_with_and_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_git(folder, "fast-import", "--quiet", given=stream(range(300, 500)).encode())
    right = run_git(folder, "log", "--format=%H", "--", PATH).split()
    assert len(right) > 20
    assert walked_anew(folder) == right
    write_single(folder)
    found: list[bool] = []
    find = CommitGraph.find

    def noted(graph: CommitGraph, commit: bytes) -> Covered | None:
        covered = find(graph, commit)
        found.append(covered is not None)
        return covered

    monkeypatch.setattr(CommitGraph, "find", noted)
    assert walked_anew(folder) == right
    assert all(found)
    # The graph is older than the newest commits, and by layers.
    (folder / SINGLE).unlink()
    write_chain(folder, more=(500, 600))
    run_git(folder, "fast-import", "--quiet", given=stream(range(700, 900)).encode())
    found.clear()
    assert walked_anew(folder) == run_git(folder, "log", "--format=%H", "--", PATH).split()
    assert {*found} == {True, False}


@pytest.mark.parametrize("hashed", [False, True])
def test_damage_is_no_answer(folder: Path, *, hashed: bool) -> None:
    """Where even the checksum is right somebody forged it: then no more than no crash is promised."""
    path = write_single(folder)
    right, commits, data = walked_anew(folder), told_by_git(folder), path.read_bytes()
    for damaged in damages(data, random.Random(1)):
        rewritten(path, damaged, hashed=hashed and len(damaged) > 20)
        graph = opened(folder)
        if not hashed:
            assert graph is None
        elif graph is not None:
            for commit in commits:
                graph.find(commit)
    for damaged in [*damages(data, random.Random(2))][::12]:
        rewritten(path, damaged)
        assert walked_anew(folder) == right


def test_a_place_out_of_range_is_not_covered(folder: Path) -> None:
    path = write_single(folder)
    data, right = path.read_bytes(), told_by_git(folder)
    table = {data[at : at + 4]: int.from_bytes(data[at + 4 : at + 12]) for at in range(8, 80, 12)}
    rows = table[b"CDAT"]
    for first, second in ((300, None), (0x70000000, 1), (0, 300), (0, 0x80000000 + 10_000)):
        row = first.to_bytes(4) + (b"" if second is None else second.to_bytes(4))
        forged = bytearray(data)
        for place in range(rows + 20, rows + 36 * 300, 36):
            forged[place : place + len(row)] = row
        rewritten(path, bytes(forged), hashed=True)
        graph = opened(folder)
        assert graph is not None
        assert [commit for commit in right if graph.find(commit) is not None] == []
    forged = bytearray(data)
    edges = table[b"EDGE"]
    for place in range(edges, edges + 4):
        forged[place] = 0x7F
    rewritten(path, bytes(forged), hashed=True)
    graph = opened(folder)
    assert graph is not None
    assert sum(graph.find(commit) is None for commit in right) == 1


def test_a_forged_file_leads_in_no_circle(folder: Path) -> None:
    path = write_single(folder)
    data, right = path.read_bytes(), walked_anew(folder)
    rows = data.index(b"CDAT")
    rows = int.from_bytes(data[rows + 4 : rows + 12])
    forged = bytearray(data)
    for number in range(300):
        # Each has itself as its only parent.
        at = rows + 36 * number + 20
        forged[at : at + 8] = number.to_bytes(4) + (0x70000000).to_bytes(4)
    rewritten(path, bytes(forged), hashed=True)
    check(folder, opened(folder), 0)
    assert walked_anew(folder) == right


def test_who_turns_it_off_in_git_turns_it_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_single(folder)
    right = run_git(folder, "log", "--format=%H", "--", PATH).split()
    run_git(folder, "config", "core.commitGraph", "false")
    monkeypatch.delattr(CommitGraph, "find")
    assert walked_anew(folder) == right
    run_git(folder, "config", "core.commitGraph", "true")
    with pytest.raises(AttributeError):
        walked_anew(folder)


def test_files_that_are_gone_or_replaced_are_noticed(folder: Path) -> None:
    path = write_single(folder)
    graphs = CommitGraphs(str(folder / "objects"))
    first = graphs.opened()
    assert first is not None
    assert graphs.opened() is first
    # Cut off in place while open: what was read stays whole.
    path.chmod(0o644)
    os.truncate(path, 100)
    check(folder, first, 300)
    assert graphs.opened() is None
    path.unlink()
    run_git(folder, "fast-import", "--quiet", given=stream(range(300, 350)).encode())
    assert graphs.opened() is None
    write_single(folder)
    check(folder, graphs.opened(), 350)
    graphs.close()
    check(folder, graphs.opened(), 350)
    path.unlink()
    assert graphs.opened() is None


def test_a_walk_goes_on_when_the_file_goes_away(folder: Path) -> None:
    path = write_single(folder)
    right = run_git(folder, "log", "--format=%H", "--", PATH).split()
    with BlockingSessionStore.open(folder) as store:
        steps = walk(store._repository, PATH)
        found = [next(steps).commit.hex() for _ in range(10)]
        path.unlink()
        assert found + [step.commit.hex() for step in steps] == right
        run_git(folder, "gc", "-q")
        cache_of(store._repository)._walks.clear()
        assert walked(store) == right


def test_a_file_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_single(folder)
    monkeypatch.setattr(commitgraph, "_BYTES_MAX", 1000)
    assert opened(folder) is None

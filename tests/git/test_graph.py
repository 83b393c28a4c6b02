"""The commit graph: against brute force always, against git where its own rules hold."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.git import graph as graph_module
from gitstore.git.graph import SKEW_MAX, CommitFacts, Divergence, as_of, compare, is_ancestor
from gitstore.types import CommitId

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EPOCH = 1_700_000_000


class Graph:
    """A commit graph in memory that knows the answers by brute force and counts the look-ups."""

    def __init__(self) -> None:
        self.facts: dict[CommitId, CommitFacts] = {}
        self.reach: dict[CommitId, frozenset[CommitId]] = {}
        self.looked_up: list[CommitId] = []

    def add(self, name: str, parents: Iterable[str] = (), time: int = EPOCH) -> CommitId:
        commit, above = CommitId(name), tuple(map(CommitId, parents))
        self.facts[commit] = CommitFacts(parents=above, time=time)
        self.reach[commit] = frozenset({commit}).union(*(self.reach[p] for p in above))
        return commit

    def lookup(self, commit: CommitId) -> CommitFacts:
        self.looked_up.append(commit)
        return self.facts[commit]

    def truth(self, a: CommitId, b: CommitId) -> tuple[int, int, set[CommitId]]:
        common = self.reach[a] & self.reach[b]
        bases = {c for c in common if not any(c != d and c in self.reach[d] for d in common)}
        return len(self.reach[a] - common), len(self.reach[b] - common), bases

    def check(self, a: CommitId, b: CommitId) -> Divergence:
        """Compare and hold the answer against brute force."""
        self.looked_up = []
        found = compare(a, b, self.lookup)
        assert (found.ahead, found.behind, set(found.bases)) == self.truth(a, b)
        assert len(found.bases) == len(set(found.bases))
        assert len(self.looked_up) == len(set(self.looked_up)), "a commit was looked up twice"
        return found


class Shape(NamedTuple):
    """How the times of a random graph run: seconds between commits, and how far clocks are off."""

    step: int
    skew: int


SHAPES = {
    "sane": Shape(10, 0),
    "equal": Shape(0, 0),
    "seconds": Shape(10, 30),
    "minutes": Shape(10, 200),
    "day": Shape(600, SKEW_MAX // 2),
}


def random_graph(chance: random.Random, size: int, shape: Shape, prefix: str = "") -> Graph:
    graph = Graph()
    for number in range(size):
        reach = chance.choice([3, 8, 30])
        known = [f"{prefix}{n}" for n in range(max(0, number - reach), number)]
        wanted = 0 if chance.random() < 0.02 else chance.choice([1, 1, 1, 2, 2, 3])
        off = chance.randint(-shape.skew, shape.skew)
        parents = chance.sample(known, min(wanted, len(known)))
        graph.add(f"{prefix}{number}", parents, EPOCH + number * shape.step + off)
    return graph


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def import_into_git(folder: Path, graphs: list[Graph]) -> dict[str, str]:
    """Write the graphs into one repository; returns git's id by commit name."""
    marks: dict[CommitId, int] = {}
    lines: list[str] = []
    for graph in graphs:
        for name, facts in graph.facts.items():
            marks[name] = len(marks) + 1
            lines += ["reset refs/heads/x", "commit refs/heads/x", f"mark :{marks[name]}"]
            lines += [f"committer A <a@b> {facts.time} +0000", f"data {len(name)}", name]
            lines += [
                f"{'merge' if nth else 'from'} :{marks[p]}" for nth, p in enumerate(facts.parents)
            ]
    subprocess.run(["git", "init", "-q", "--bare", folder], check=True)
    subprocess.run(
        [
            "git",
            "-C",
            folder,
            "fast-import",
            "--quiet",
            "--force",
            f"--export-marks={folder}/marks",
        ],
        input="\n".join([*lines, ""]),
        text=True,
        check=True,
    )
    by_mark = dict(line.split() for line in (folder / "marks").read_text().splitlines())
    return {name: by_mark[f":{mark}"] for name, mark in marks.items()}


def agree_with_git(folder: Path, pairs: int, seed: int) -> None:
    """Compare with brute force, and with git on random pairs of commits.

    Under skew git's own counts are wrong once in a thousand; brute force decides.
    """
    chance = random.Random(seed)
    shapes = list(SHAPES.values())
    graphs = [
        random_graph(chance, chance.randint(5, 60), shapes[n % len(shapes)], f"{n}-")
        for n in range(max(15, pairs // 10))
    ]
    ids = import_into_git(folder, graphs)
    git_wrong = 0
    for number in range(pairs):
        graph = graphs[number % len(graphs)]
        a, b = chance.choices(list(graph.facts), k=2)
        found = graph.check(a, b)
        counts = git(folder, "rev-list", "--left-right", "--count", f"{ids[a]}...{ids[b]}").split()
        bases = git(folder, "merge-base", "--all", ids[a], ids[b]).split()
        same = [str(found.ahead), str(found.behind)] == counts
        git_wrong += not (same and {ids[c] for c in found.bases} == set(bases))
    assert git_wrong <= pairs // 300


def test_agrees_with_git(tmp_path: Path) -> None:
    agree_with_git(tmp_path, pairs=150, seed=1)


@pytest.mark.deep
def test_agrees_with_git_at_length(tmp_path: Path) -> None:
    agree_with_git(tmp_path, pairs=1_000, seed=2)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_random_graphs(shape: Shape) -> None:
    chance = random.Random(3)
    for _ in range(120):
        graph = random_graph(chance, chance.randint(3, 70), shape)
        a, b = chance.choices(list(graph.facts), k=2)
        graph.check(a, b)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    graph = Graph()
    for number in range(draw(st.integers(1, 14))):
        parents = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        graph.add(str(number), map(str, parents), EPOCH + draw(st.integers(0, SKEW_MAX)))
    return graph


@given(graphs(), st.data())
def test_any_graph(graph: Graph, data: st.DataObject) -> None:
    a, b = (data.draw(st.sampled_from(list(graph.facts))) for _ in "ab")
    one, other = graph.check(a, b), graph.check(b, a)
    assert (one.ahead, one.behind, one.bases) == (other.behind, other.ahead, other.bases)
    assert is_ancestor(a, b, graph.lookup) == (a in graph.reach[b])


@given(graphs(), st.lists(st.integers(100, 2**40), min_size=14, max_size=14), st.data())
def test_any_times_above_one_commit(graph: Graph, times: list[int], data: st.DataObject) -> None:
    """Where what is shared narrows to one commit the answer is exact whatever the clocks did.

    The rule that trusts times is switched off; the trunk is looked into only as far as needed.
    """
    whole = Graph()
    for number in range(20):
        whole.add(f"trunk{number}", [f"trunk{number - 1}"] if number else [], number)
    for (name, facts), time in zip(graph.facts.items(), times, strict=False):
        whole.add(name, facts.parents or ["trunk19"], time)
    a, b = (data.draw(st.sampled_from(list(graph.facts))) for _ in "ab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_module, "SKEW_MAX", 2**50)
        whole.check(a, b)
    assert "trunk15" not in whole.looked_up


def test_sides_without_commits() -> None:
    graph = Graph()
    graph.add("a")
    tip = graph.add("b", "a")
    assert compare(None, None, graph.lookup) == Divergence(ahead=0, behind=0, bases=())
    assert compare(tip, None, graph.lookup) == Divergence(ahead=2, behind=0, bases=())
    assert compare(None, tip, graph.lookup) == Divergence(ahead=0, behind=2, bases=())
    assert graph.check(tip, tip).bases == (tip,)


def test_criss_cross_has_two_bases_newest_first() -> None:
    graph = Graph()
    graph.add("o", "", 1)
    graph.add("a", "o", 2)
    graph.add("b", "o", 3)
    graph.add("x", "ab", 4)
    graph.add("y", "ba", 5)
    found = graph.check(CommitId("x"), CommitId("y"))
    assert found == Divergence(ahead=1, behind=1, bases=(CommitId("b"), CommitId("a")))


def test_unrelated_histories_have_no_base() -> None:
    graph = Graph()
    graph.add("a", "", 1)
    graph.add("x", "", 9)
    assert graph.check(CommitId("a"), CommitId("x")) == Divergence(ahead=1, behind=1, bases=())


def test_a_root_below_two_lines_is_not_counted_twice() -> None:
    graph = Graph()
    graph.add("r", "", EPOCH + 50)
    graph.add("s0", "r", EPOCH)
    graph.add("s1", ["s0"], EPOCH + 100)
    graph.add("t", ["s1", "r"], EPOCH + 200)
    assert graph.check(CommitId("t"), CommitId("s1")).ahead == 1


def test_a_clock_seen_to_be_wrong_ends_the_trust_in_times() -> None:
    """`o` seems a month younger than `p`, which contains it; only the way through `p` tells."""
    day = SKEW_MAX
    graph = Graph()
    graph.add("o", "", 30 * day)
    graph.add("p", "o", 0)
    graph.add("b", "p", 60 * day)
    graph.add("a", "bo", 2 * day)
    assert graph.check(CommitId("a"), CommitId("b")).bases == ("b",)


class History(Graph):
    """A shared line, or ladder of merges, under two tips `l` and `r`; as long as one likes.

    A commit is made when it is looked up.
    """

    def __init__(self, shared: int, *, step: int, merges: bool = False) -> None:
        super().__init__()
        self.shared, self.step, self.merges = shared, step, merges

    def lookup(self, commit: CommitId) -> CommitFacts:
        self.looked_up.append(commit)
        side, n = commit[0], int(commit[1:])
        parents = [f"{side}{n - 1}" if n else f"s{self.shared - 1}"]
        if side == "s":
            parents = parents if n else []
            if self.merges and n % 5 == 4:
                parents.append(f"s{n - 3}")
        at = n if side == "s" else self.shared + n
        return CommitFacts(parents=tuple(map(CommitId, parents)), time=EPOCH + at * self.step)


@pytest.mark.parametrize("merges", [False, True], ids=["line", "merges"])
@pytest.mark.parametrize("step", [0, 1, 10], ids="step{}".format)
@pytest.mark.parametrize(("ahead", "behind"), [(10, 10), (1_000, 1), (1, 1_000)])
def test_the_cost_is_of_the_difference(step: int, ahead: int, behind: int, *, merges: bool) -> None:
    """100,000 shared commits, also all of one second, cost next to nothing."""
    graph = History(100_000, step=step, merges=merges)
    local, remote = CommitId(f"l{ahead - 1}"), CommitId(f"r{behind - 1}")
    found = compare(local, remote, graph.lookup)
    assert (found.ahead, found.behind, len(found.bases)) == (ahead, behind, 1)
    visited = len(graph.looked_up)
    print(f"{ahead}/{behind} over {graph.shared:,} commits, {step=}: {visited} looked up")
    # Sides of equal times advance by turns, so the short one runs on into what is shared.
    extra = 10 if step else 2 * abs(ahead - behind) + 10
    assert visited <= ahead + behind + extra


def test_is_ancestor() -> None:
    graph = History(20, step=1)
    l2, r2, s5 = map(CommitId, ("l2", "r2", "s5"))
    assert is_ancestor(s5, l2, graph.lookup)
    assert is_ancestor(l2, l2, graph.lookup)
    assert not is_ancestor(l2, s5, graph.lookup)
    assert not is_ancestor(l2, r2, graph.lookup)


def test_as_of() -> None:
    graph = Graph()
    graph.add("a", "", 10)
    graph.add("b", "a", 30)
    graph.add("side", "a", 15)
    graph.add("c", ["b", "side"], 20)
    graph.add("d", "c", 40)
    answers = {
        time: as_of(CommitId("d"), time, graph.lookup) for time in (9, 10, 19, 20, 39, 40, 99)
    }
    assert answers == {9: None, 10: "a", 19: "a", 20: "c", 39: "c", 40: "d", 99: "d"}


def test_a_long_line_does_not_recurse() -> None:
    graph = History(20_000, step=1)
    tip = CommitId("s19999")
    assert as_of(tip, EPOCH - 1, graph.lookup) is None
    assert compare(tip, None, graph.lookup).ahead == 20_000

"""Which commits one side lacks, on graphs without a repository."""

from __future__ import annotations

import random

import pytest

from gitstore.git.transfer.reach import commits_beyond

Graph = dict[bytes, tuple[tuple[bytes, ...], int]]


def below(graph: Graph, tips: set[bytes]) -> set[bytes]:
    met, todo = set[bytes](), list(tips)
    while todo:
        commit = todo.pop()
        if commit in graph and commit not in met:
            met.add(commit)
            todo.extend(graph[commit][0])
    return met


def test_what_turns_out_to_be_known_is_known_down_to_where_the_walk_is() -> None:
    graph: Graph = {
        b"t": ((b"x", b"y"), 9),
        b"k": ((b"k1",), 8),
        b"k1": ((b"x",), 7),
        b"x": ((b"y",), 6),
        b"y": ((b"z",), 5),
        b"z": ((), 4),
    }
    assert commits_beyond(b"t", {b"k"}, graph.get, missing=KeyError) == [b"t"]


@pytest.mark.parametrize("seed", range(80))
def test_all_that_is_lacking_is_found_parents_first(seed: int) -> None:
    """Whatever the clocks say. What the remote has by other ways may be among it."""
    chance = random.Random(seed)
    graph: Graph = {}
    for number in range(chance.randrange(2, 40)):
        before = list(graph)[-6:]
        parents = tuple(chance.sample(before, min(len(before), chance.choice((0, 1, 1, 1, 2)))))
        graph[b"%d" % number] = parents, number + chance.choice((0, 0, -50, 50))
    tip = chance.choice(list(graph))
    known = {b"not here", *chance.sample(list(graph), min(len(graph), chance.randrange(3)))}
    found = commits_beyond(tip, known, graph.get, missing=KeyError)
    assert below(graph, {tip}) - below(graph, known) <= set(found) <= below(graph, {tip}) - known
    for place, commit in enumerate(found):
        assert not set(graph[commit][0]) & set(found[place:])


def test_a_missing_commit_is_an_error() -> None:
    with pytest.raises(KeyError):
        commits_beyond(b"t", set(), {b"t": ((b"gone",), 1)}.get, missing=KeyError)

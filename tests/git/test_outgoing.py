"""What is pushed: all that the remote lacks, and little more; git on the other side is content."""

from __future__ import annotations

import random
import resource
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from dulwich.client import SubprocessGitClient
from dulwich.objects import ObjectID
from dulwich.refs import Ref

from gitstore.errors import CorruptRepositoryError
from gitstore.types import CommitId
from tests.git.hostile import opened
from tests.gitcommand import assert_git_is_content, environment, run_git

if TYPE_CHECKING:
    from pathlib import Path

    from gitstore.git.repository import Repository

_START = 1_600_000_000


class Remote:
    """A bare repository that checks what it gets, as strictly as git can."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        run_git(folder, "init", "-q", "--bare", "-b", "main", ".")
        for name in ("receive.fsckObjects", "receive.denyNonFastForwards"):
            run_git(folder, "config", name, "true")

    def refs(self) -> dict[str, str]:
        lines = run_git(self.folder, "for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.split() for line in lines.splitlines())

    def push(self, repository: Repository, ref: str, new: str) -> int:
        """Push with dulwich's client, and git at the other end; return how many objects it took."""
        counts: list[int] = []

        def objects(have: Any, want: Any, **_: Any) -> tuple[int, Any]:
            assert ObjectID(new.encode()) in want - have
            sent = repository.outgoing(CommitId(new), set(self.refs().values()))
            counts.append(sent.count)
            return sent.count, sent.records

        client = SubprocessGitClient()
        wanted = {Ref(ref.encode()): ObjectID(new.encode())}
        result = client.send_pack(str(self.folder).encode(), lambda _: wanted, objects)
        assert not any((result.ref_status or {}).values()), result.ref_status
        assert self.refs()[ref] == new
        return counts[0]


@pytest.fixture(autouse=True)
def git_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of the machine from the git that the client starts."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


def imported(folder: Path, stream: str) -> Repository:
    folder.mkdir(exist_ok=True)
    run_git(folder, "init", "-q", "--bare", "-b", "main", ".")
    run_git(folder, "fast-import", "--quiet", given=stream.encode())
    return opened(folder)


def random_history(seed: int, size: int) -> str:
    """Return a history with merges that cross, removed files, and old contents that come back."""
    chance = random.Random(seed)
    texts: list[str] = []
    stream = ""
    for number in range(1, size + 1):
        time_skewed = _START + number + chance.choice((0, 0, 0, -90_000, 90_000))
        parents = chance.sample(range(max(1, number - 5), number), min(number - 1, 1))
        if number > 3 and chance.random() < 0.3:
            parents = chance.sample(range(max(1, number - 6), number), 2)
        if number > 9 and chance.random() < 0.05:
            parents = []
        stream += f"commit refs/heads/c{number}\nmark :{number}\n"
        stream += f"committer A <a@b> {time_skewed} +0000\ndata 1\nx\n"
        stream += f"from :{parents[0]}\n" if parents else ""
        stream += "".join(f"merge :{each}\n" for each in parents[1:])
        stream += "" if parents or number == 1 else "deleteall\n"
        for _ in range(chance.randrange(3)):
            path = f"sessions/{chance.randrange(4):02x}/{chance.randrange(6)}.yaml"
            if chance.random() < 0.2:
                stream += f"D {path}\n"
                continue
            if not texts or chance.random() < 0.6:
                texts.append(f"text {number} {chance.random()}\n")
            text = chance.choice(texts)
            stream += f"M 100644 inline {path}\ndata {len(text)}\n{text}\n"
    return stream


def listed(folder: Path, *command: str) -> list[str]:
    return run_git(folder, *command).splitlines()


def push_in_turns(tmp_path: Path, seed: int, size: int) -> None:
    """Push branches in any order, each only what the remote lacks: then it has all, and is sound."""
    chance = random.Random(seed)
    repository = imported(tmp_path / f"local{seed}", random_history(seed, size))
    remote = Remote(tmp_path / f"remote{seed}")
    local = tmp_path / f"local{seed}"
    needed = sent = 0
    for number in chance.sample(range(1, size + 1), min(size, 9)):
        new = run_git(local, "rev-parse", f"c{number}").strip()
        wanted = {each.split()[0] for each in listed(local, "rev-list", "--objects", new)}
        has = listed(
            remote.folder, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)"
        )
        lacking = wanted - set(has)
        count = remote.push(repository, f"refs/heads/c{number}", new)
        assert count >= len(lacking)
        needed += len(lacking)
        sent += count
    # What comes back from further ago is sent again, or what the remote has by other ways.
    assert sent <= 2 * needed, (sent, needed)
    assert_git_is_content(remote.folder)


@pytest.mark.parametrize("seed", range(2))
def test_git_takes_what_is_pushed(tmp_path: Path, seed: int) -> None:
    push_in_turns(tmp_path, seed, 40)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(100, 140))
def test_git_takes_whatever_is_pushed(tmp_path: Path, seed: int) -> None:
    push_in_turns(tmp_path, seed, 60)


def line(count: int, *, first: int = 0) -> str:
    """Return a history of one line, with each save in one of 16 folders."""
    return "".join(
        f"commit refs/heads/main\ncommitter A <a@b> {_START + n} +0000\ndata 1\nx\n"
        f"M 100644 inline sessions/{n % 16:02x}/{n % 64}.yaml\ndata 6\n{n:06}\n"
        for n in range(first, first + count)
    )


def test_one_commit_costs_what_is_new_and_not_what_was(tmp_path: Path) -> None:
    """Counted in objects that are looked at; on 3,000 commits, packed."""
    repository = imported(tmp_path / "local", line(3000))
    tips = run_git(tmp_path / "local", "rev-list", "-n", "2", "main").split()
    looked: list[str] = []
    objects = repository._objects
    plain = objects.glance

    def glance(name: bytes, kind: str) -> bytes:
        looked.append(kind)
        return plain(name, kind)

    objects.glance = glance  # type: ignore[method-assign]
    sent = repository.outgoing(CommitId(tips[0]), [tips[1], "1" * 40])
    assert sent.count == len(list(sent.records)) == 5
    assert len(looked) < 15
    began = time.process_time()
    repository.outgoing(CommitId(tips[0]), [tips[1]])
    assert time.process_time() - began < 0.05


def test_nothing_is_sent_of_what_is_known(tmp_path: Path) -> None:
    repository = imported(tmp_path / "local", line(20))
    tips = run_git(tmp_path / "local", "rev-list", "main").split()
    assert repository.outgoing(CommitId(tips[0]), [tips[0]]).count == 0
    assert repository.outgoing(CommitId(tips[5]), [tips[0]]).count == 0
    # A remote that is ahead of us, in commits that we do not have, has what we do know of it.
    assert repository.outgoing(CommitId(tips[0]), ["f" * 40, tips[2]]).count == 10


def test_what_is_sent_is_in_the_compression_of_the_settings(tmp_path: Path) -> None:
    repository = imported(tmp_path / "local", line(3))
    tip = CommitId(run_git(tmp_path / "local", "rev-parse", "main").strip())
    small = sum(
        len(b"".join(each.comp_chunks or [])) for each in repository.outgoing(tip, []).records
    )
    run_git(tmp_path / "local", "config", "pack.compression", "0")
    large = sum(
        len(b"".join(each.comp_chunks or [])) for each in repository.outgoing(tip, []).records
    )
    assert large > small
    assert Remote(tmp_path / "remote").push(repository, "refs/heads/main", tip) == 15


def test_a_commit_that_is_missing_is_named(tmp_path: Path) -> None:
    repository = imported(tmp_path / "local", line(3))
    with pytest.raises(CorruptRepositoryError, match="1" * 40):
        repository.outgoing(CommitId("1" * 40), [])


def first_push(tmp_path: Path, count: int) -> tuple[float, float]:
    """Enumerate a history; return the bytes of memory that it took, for each object, and CPU."""
    repository = imported(tmp_path / "local", line(count))
    tip = run_git(tmp_path / "local", "rev-parse", "main").strip()
    began = time.process_time()
    sent = repository.outgoing(CommitId(tip), [])
    spent = time.process_time() - began
    tracemalloc.start()
    sent = repository.outgoing(CommitId(tip), [])
    for _ in zip(range(1000), sent.records, strict=False):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sent.count == int(listed(tmp_path / "local", "rev-list", "--count", "--objects", tip)[0])
    return peak / sent.count, spent


def test_a_first_push_sends_all_in_little_memory(tmp_path: Path) -> None:
    each, _ = first_push(tmp_path, 300)
    # The packs that are open count too.
    assert each < 2000
    remote = Remote(tmp_path / "remote")
    tip = listed(tmp_path / "local", "rev-parse", "main")[0]
    assert remote.push(opened(tmp_path / "local"), "refs/heads/main", tip) > 1200
    assert_git_is_content(remote.folder)


@pytest.mark.deep
def test_a_long_first_push_sends_all_in_little_memory(tmp_path: Path) -> None:
    each, spent = first_push(tmp_path, 20_000)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{each:.0f} bytes for each object, {spent:.2f} s to find them; {peak} MB in all")
    assert each < 1000

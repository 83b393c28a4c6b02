"""Signed commits: git's own verification is the referee, and git's signatures are checked."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitstore.blocking import system_runtime
from gitstore.engine.requests import Save
from gitstore.engine.transactions import Writer
from gitstore.errors import SigningError
from gitstore.git.draft import with_signature
from gitstore.git.programs import Programs
from gitstore.git.repository import Repository
from gitstore.git.signing import Checker, Signer, SigningSettings, split_signature
from gitstore.session import codec
from gitstore.session.ids import parse_session_id
from gitstore.session.model import SessionAsset
from gitstore.types import Author, Expect, SignatureState
from tests.gitcommand import assert_git_is_content, environment, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator

WHO = Author(name="Ann", email="ann@example.org")


def needs(program: str) -> pytest.MarkDecorator:
    absent = shutil.which(program) is None
    if absent and os.environ.get("CI") == "true":
        raise RuntimeError(f"{program} must be installed where CI runs")
    return pytest.mark.skipif(absent, reason=f"{program} is not installed")


needs_ssh = needs("ssh-keygen")
needs_gpg = needs("gpg")


def keygen(path: Path, passphrase: str = "") -> str:
    """Make an SSH key; return its public half."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, timeout=30)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


class Place:
    """A repository, and the keys of Ann and Eve."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "store"
        self.allowed = folder / "allowed"
        self.ann = folder / "ann"
        self.ann_public = keygen(self.ann)
        self.allowed.write_text(f"ann@example.org {self.ann_public}\n")
        Repository.create(str(self.path), bare=False, branch="main", runtime=system_runtime())
        self.configure("gpg.format", "ssh")
        self.configure("user.signingkey", str(self.ann))
        self.configure("gpg.ssh.allowedSignersFile", str(self.allowed))

    def configure(self, name: str, value: str) -> None:
        run_git(self.path, "config", name, value)

    def open(self) -> Repository:
        return Repository.open(
            str(self.path),
            branch=None,
            durability="process",
            lock_timeout_seconds=5,
            trust_owner=False,
            runtime=system_runtime(),
        )

    def settings(self) -> SigningSettings:
        setting = self.open().setting
        return SigningSettings.configured(setting, folder=str(self.path), home=str(self.folder))

    def save(self, name: str = "s1", programs: Programs | None = None) -> str:
        """Save a session, signed as the repository is configured; return the commit."""
        signer = Signer(self.settings(), path=str(self.path), programs=programs)
        writer = Writer(self.open(), author=WHO, runtime=system_runtime(), sign=signer.sign)
        document = SessionAsset.new(id=name).to_document()
        request = Save(
            session_id=parse_session_id(name),
            operation="save",
            expected=Expect.ANY,
            document=document,
            data=codec.encode(document),
            loaded=None,
        )
        writer.run([request])
        commit = request.result().commit
        assert commit is not None
        return commit

    def raw(self, commit: str = "HEAD") -> bytes:
        text = run_git(self.path, "cat-file", "commit", commit)
        return text.encode(errors="surrogateescape")

    def commit_by_git(self, date: str = "", home: str = "") -> bytes:
        """Let git itself make a signed commit; return its bytes."""
        arguments = ("commit", "-q", "--allow-empty", "-S", "-m", "by git")
        run_git(self.path, *arguments, GIT_COMMITTER_DATE=date, GNUPGHOME=home)
        return self.raw()

    def check(self, commit: bytes, programs: Programs | None = None) -> SignatureState:
        return Checker(self.settings(), programs=programs).check(commit).state

    def tip(self) -> str:
        return run_git(self.path, "rev-parse", "--verify", "-q", "main", check=False)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@needs_ssh
def test_git_accepts_a_commit_that_we_signed_with_ssh(place: Place) -> None:
    place.save()
    commit = place.save("s2")
    run_git(place.path, "verify-commit", commit)
    assert (
        run_git(place.path, "log", "--format=%G? %GS").split("\n")[:2] == ["G ann@example.org"] * 2
    )
    found = Checker(place.settings()).check(place.raw(commit))
    assert (found.state, found.signer) == (SignatureState.GOOD, "ann@example.org")
    assert found.key == run_git(place.path, "log", "-1", "--format=%GK").strip()
    assert_git_is_content(place.path)


@needs_ssh
def test_we_accept_what_git_signed_and_write_the_header_as_git_does(place: Place) -> None:
    commit = place.commit_by_git()
    assert place.check(commit) is SignatureState.GOOD
    payload, signature = split_signature(commit)
    assert signature is not None
    assert with_signature(payload, signature) == commit
    # Ed25519 signatures are a function of the key and the bytes: ours is git's.
    assert Signer(place.settings(), path="x").sign(payload) == signature


@needs_ssh
def test_a_literal_key_signs_through_the_agent(place: Place) -> None:
    with tempfile.TemporaryDirectory(prefix="a") as short:
        socket = f"{short}/s"
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
        try:
            while not Path(socket).exists():
                assert agent.poll() is None
            know = {**os.environ, "SSH_AUTH_SOCK": socket}
            subprocess.run(["ssh-add", "-q", str(place.ann)], check=True, env=know, timeout=30)
            place.ann.unlink()
            place.configure("user.signingkey", f"key::{place.ann_public}")
            with pytest.raises(SigningError):
                place.save()
            commit = place.save(programs=Programs(environment=know))
            run_git(place.path, "verify-commit", commit)
        finally:
            agent.kill()
            agent.wait()


@needs_ssh
def test_an_unsigned_commit_a_changed_one_and_a_broken_signature_are_told_apart(
    place: Place,
) -> None:
    run_git(place.path, "commit", "-q", "--allow-empty", "-m", "plain")
    assert place.check(place.raw()) is SignatureState.UNSIGNED
    commit = place.raw(place.save())
    assert place.check(commit.replace(b"Create", b"Update")) is SignatureState.BAD
    assert place.check(commit.replace(b"U1NIU0lH", b"U1NIU0lI")) is SignatureState.BAD
    assert place.check(commit.replace(b"BEGIN SSH", b"BEGIN CMS")) is SignatureState.UNCHECKED


@needs_ssh
def test_keys_that_are_unknown_expired_revoked_or_for_something_else(place: Place) -> None:
    commit = place.commit_by_git(date="1700000000 +0000")
    name, key = "ann@example.org", place.ann_public
    cases = [
        (f"{name} {key}", SignatureState.GOOD),
        (f'{name} valid-after="20231101",valid-before="20231201" {key}', SignatureState.GOOD),
        (f'{name} valid-before="20231101" {key}', SignatureState.EXPIRED),
        (f'{name} valid-after="20231201" {key}', SignatureState.EXPIRED),
        (f'{name} namespaces="file" {key}', SignatureState.UNKNOWN_KEY),
        (f'{name} namespaces="git" {key}', SignatureState.GOOD),
        (f"{name} {keygen(place.folder / 'eve')}", SignatureState.UNKNOWN_KEY),
        ("", SignatureState.UNKNOWN_KEY),
    ]
    for line, state in cases:
        place.allowed.write_text(line + "\n")
        assert place.check(commit) is state, line
        said = run_git(place.path, "verify-commit", "HEAD", check=False)
        log = run_git(place.path, "log", "-1", "--format=%G?").strip()
        assert (log == "G") is (state is SignatureState.GOOD), (line, said)
    place.allowed.unlink()
    assert place.check(commit) is SignatureState.UNKNOWN_KEY
    place.allowed.write_text(f"{name} {key}\n")
    revoked = place.folder / "revoked"
    revoked.write_text(key + "\n")
    place.configure("gpg.ssh.revocationFile", str(revoked))
    found = Checker(place.settings()).check(commit)
    assert (found.state, found.signer) == (SignatureState.BAD, name)
    assert "revoked" in str(found.problem)


@needs_ssh
def test_a_save_that_cannot_be_signed_commits_nothing(place: Place) -> None:
    place.save()
    before = place.tip()
    locked = place.folder / "locked"
    keygen(locked, "secret")
    place.configure("user.signingkey", str(locked))
    with pytest.raises(SigningError, match="passphrase") as raised:
        place.save("s2")
    assert raised.value.key == str(locked)
    place.configure("user.signingkey", str(place.folder / "absent"))
    with pytest.raises(SigningError, match="No such file"):
        place.save("s2")
    with pytest.raises(SigningError, match="no program"):
        place.save("s2", Programs(ssh_keygen="no-such-keygen"))
    liar = script(place.folder / "liar", "exit 0")
    with pytest.raises(SigningError, match="it said nothing"):
        place.save("s2", Programs(ssh_keygen=liar))
    run_git(place.path, "config", "--unset", "user.signingkey")
    with pytest.raises(SigningError, match="signingkey"):
        place.save("s2")
    assert place.tip() == before
    assert_git_is_content(place.path)
    place.configure("user.signingkey", "~/ann")
    run_git(place.path, "verify-commit", place.save("s2"))


@needs_ssh
def test_a_program_that_hangs_is_ended_with_all_it_started(place: Place) -> None:
    pid = place.folder / "pid"
    hanging = script(place.folder / "hang", f"sleep 600 & echo $! > {pid}; wait")
    began = time.monotonic()
    with pytest.raises(SigningError, match=r"within 2 s"):
        place.save("s2", Programs(ssh_keygen=hanging, timeout_seconds=2))
    assert time.monotonic() - began < 20
    stat = Path(f"/proc/{pid.read_text().strip()}/stat")
    # The kernel ends it when it comes to it.
    while stat.exists() and stat.read_text().split(")")[1].split()[0] != "Z":
        assert time.monotonic() - began < 20
        time.sleep(0.01)
    assert place.tip() == ""
    place.save()
    state = place.check(place.raw(), Programs(ssh_keygen=hanging, timeout_seconds=0.3))
    assert state is SignatureState.UNCHECKED


@needs_ssh
def test_no_program_that_the_repository_names_is_run(place: Place) -> None:
    trace = place.folder / "trace"
    spy = script(place.folder / "spy", f"touch {trace}; exit 1")
    for name in ("gpg.program", "gpg.ssh.program", "gpg.ssh.defaultKeyCommand"):
        place.configure(name, spy)
    # Nor one that lies in the working tree, when the PATH has a relative entry.
    script(place.path / "ssh-keygen", f"touch {trace}; exit 1")
    commit = place.raw(place.save())
    assert place.check(commit) is SignatureState.GOOD
    here = os.getcwd()
    os.chdir(place.path)
    try:
        with pytest.raises(SigningError, match="no program"):
            place.save("s2", Programs(environment={"PATH": "."}))
    finally:
        os.chdir(here)
    assert not trace.exists()


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@needs_ssh
def test_a_failing_signer_fails_every_save_of_a_group_and_leaves_the_store_as_it_was(
    place: Place,
) -> None:
    place.save()
    before = place.tip()
    made: list[bytes] = []

    def sign(commit: bytes) -> bytes:
        made.append(commit)
        if len(made) > 1:
            raise SigningError(path="p", key="k", problem="the second fails")
        return Signer(place.settings(), path="p").sign(commit)

    writer = Writer(place.open(), author=WHO, runtime=system_runtime(), sign=sign)
    documents = [SessionAsset.new(id=name).to_document() for name in ("g1", "g2")]
    requests = [
        Save(
            session_id=parse_session_id(document["id"]),
            operation="save",
            expected=Expect.ANY,
            document=document,
            data=codec.encode(document),
            loaded=None,
        )
        for document in documents
    ]
    writer.run(requests)
    assert [type(each.error) for each in requests] == [SigningError] * 2
    assert place.tip() == before
    assert run_git(place.path, "status", "--porcelain") == ""


class Keyring:
    """A GnuPG home of a short path, as its sockets need."""

    def __init__(self, home: str) -> None:
        self.home = home
        os.chmod(home, 0o700)
        self.programs = Programs(environment={"GNUPGHOME": home, "PATH": os.environ["PATH"]})

    def __call__(self, *arguments: str, given: str = "") -> str:
        command = ["gpg", "--homedir", self.home, "--batch", "--no-tty", "--quiet", *arguments]
        done = subprocess.run(
            command, input=given.encode(), capture_output=True, check=True, timeout=60
        )
        return done.stdout.decode()

    def make(self, name: str, *, passphrase: str = "", expires: str = "never") -> str:
        self(
            "--passphrase", passphrase, "--pinentry-mode", "loopback",
            "--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", expires,
        )  # fmt: skip
        lines = self("--list-keys", "--with-colons", name).split("\n")
        return next(line.split(":")[9] for line in lines if line.startswith("fpr"))


@pytest.fixture
def keyring() -> Iterator[Keyring]:
    with tempfile.TemporaryDirectory(prefix="g", ignore_cleanup_errors=True) as home:
        ring = Keyring(home)
        yield ring
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, timeout=30)


@needs_ssh
@needs_gpg
def test_openpgp_both_ways_and_every_state(place: Place, keyring: Keyring) -> None:
    run_git(place.path, "config", "--unset", "gpg.format")
    ann = keyring.make("ann")
    place.configure("user.signingkey", ann)
    commit = place.save(programs=keyring.programs)
    run_git(place.path, "verify-commit", commit, GNUPGHOME=keyring.home)
    checker = Checker(place.settings(), programs=keyring.programs)
    found = checker.check(place.raw(commit))
    assert found.state is SignatureState.GOOD
    assert found.signer == "ann <ann@example.org>"
    by_git = place.commit_by_git(home=keyring.home)
    assert checker.check(by_git).state is SignatureState.GOOD
    payload, signature = split_signature(by_git)
    assert signature is not None
    assert with_signature(payload, signature) == by_git
    assert checker.check(by_git.replace(b"by git", b"by eve")).state is SignatureState.BAD
    place.configure("user.signingkey", "nobody@example.org")
    with pytest.raises(SigningError, match="gpg failed"):
        place.save("s2", keyring.programs)

    brief = keyring.make("brief", expires="seconds=1000")
    place.configure("user.signingkey", brief)
    expiring = place.raw(place.save("s3", keyring.programs))
    assert checker.check(expiring).state is SignatureState.GOOD
    late = script(
        place.folder / "late", f'exec gpg --faked-system-time {int(time.time()) + 9999} "$@"'
    )
    later = Programs(gpg=late, environment=keyring.programs.environment)
    assert Checker(place.settings(), programs=later).check(expiring).state is SignatureState.EXPIRED

    with tempfile.TemporaryDirectory(prefix="g") as empty:
        os.chmod(empty, 0o700)
        stranger = Programs(environment={"GNUPGHOME": empty, "PATH": os.environ["PATH"]})
        unknown = Checker(place.settings(), programs=stranger).check(by_git)
    assert unknown.state is SignatureState.UNKNOWN_KEY
    absent = Checker(place.settings(), programs=Programs(gpg="no-such-gpg"))
    assert absent.check(by_git).state is SignatureState.UNCHECKED


@pytest.mark.faults
@needs_ssh
@needs_gpg
def test_a_locked_openpgp_key_asks_nobody(place: Place, keyring: Keyring) -> None:
    trace = place.folder / "trace"
    spy = script(place.folder / "pinentry", f"touch {trace}; exit 1")
    place.configure("gpg.format", "openpgp")
    place.configure("user.signingkey", keyring.make("locked", passphrase="secret"))
    Path(keyring.home, "gpg-agent.conf").write_text(f"pinentry-program {spy}\n")
    subprocess.run(["gpgconf", "--homedir", keyring.home, "--kill", "all"], check=True, timeout=30)
    with pytest.raises(SigningError, match="gpg failed"):
        place.save(programs=keyring.programs)
    assert place.tip() == ""
    assert not trace.exists()


def test_formats_that_cannot_be_made_are_refused_when_the_store_is_opened(tmp_path: Path) -> None:
    with pytest.raises(SigningError, match="x509"):
        Signer(SigningSettings(format="x509", key="k"), path=str(tmp_path))
    assert environment()  # the referee's environment holds no keys of the user's

"""Signed commits: made and checked by the real ``ssh-keygen`` and ``gpg``, as git does it.

The format, the key and the file of allowed signers may come from the repository's configuration, and
only when the caller asks for signing. The programs never do: they are found on the PATH or named by
the caller, since a repository must not be able to run one (``gpg.program``, ``gpg.ssh.program`` and
``gpg.ssh.defaultKeyCommand`` are not read). They get no terminal, nobody is asked for a passphrase,
and of the environment they see only what `Programs.environment` lets through.

Times in a file of allowed signers that name no zone are read as UTC, so that a check says the same
everywhere; git reads them in the zone of whoever asks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import struct
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from gitstore.errors import SigningError
from gitstore.git.programs import Done, ProgramError, Programs, run, said
from gitstore.types import SignatureState

if TYPE_CHECKING:
    from collections.abc import Callable

_SSH: Final = "ssh"
_OPENPGP: Final = "openpgp"
_SSH_ARMOUR: Final = b"-----BEGIN SSH SIGNATURE-----"
_PGP_ARMOURS: Final = (b"-----BEGIN PGP SIGNATURE-----", b"-----BEGIN PGP MESSAGE-----")
_NAMESPACE: Final = "git"
_LITERAL: Final = "key::"
#: The header of the repository's own hash, and the one of the other: signed is neither.
_HEADER: Final = b"gpgsig "
_HEADERS: Final = (_HEADER, b"gpgsig-sha256 ")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(rb"^committer .*> (\d{1,11}) ", re.MULTILINE)

# What gpg says of one signature, of which it must say exactly one (gnupg's doc/DETAILS).
_PGP_STATES: Final[dict[str, tuple[SignatureState, str | None]]] = {
    "GOODSIG": (SignatureState.GOOD, None),
    "BADSIG": (SignatureState.BAD, "the commit is not what was signed"),
    "EXPSIG": (SignatureState.EXPIRED, "the signature has expired"),
    "EXPKEYSIG": (SignatureState.EXPIRED, "the key has expired"),
    "REVKEYSIG": (SignatureState.BAD, "the key was revoked"),
    "ERRSIG": (SignatureState.UNCHECKED, "gpg could not check the signature"),
}
_NO_PUBLIC_KEY: Final = "9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What is known of the signature of one commit.

    `key` is a fingerprint (``SHA256:...``) or an OpenPGP key id, `signer` the principal or user id
    that the key belongs to, and `problem` says why the state is not GOOD.
    """

    state: SignatureState
    key: str | None = None
    signer: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSettings:
    """What git calls gpg.format, user.signingkey, and gpg.ssh's allowed and revoked keys.

    `key` is an OpenPGP key id or user id, the path of an SSH key, or ``key::`` and a public SSH key
    whose private half is in the agent. Paths are absolute.
    """

    format: str = _OPENPGP
    key: str | None = None
    allowed_signers: str | None = None
    revoked: str | None = None

    @classmethod
    def configured(
        cls, setting: Callable[[str, str], str | None], *, folder: str, home: str
    ) -> SigningSettings:
        """Return the settings of a repository.

        `setting` looks a value up, as `Repository.setting`; ``~`` in paths is `home`, and relative
        paths begin at `folder`.
        """

        def path(value: str | None) -> str | None:
            if not value:
                return None
            inner = value[2:] if value.startswith("~/") else value
            return os.path.join(folder if inner is value else home, inner)

        style = (setting("gpg", "format") or _OPENPGP).lower()
        key = setting("user", "signingkey")
        return cls(
            format=style,
            key=path(key) if style == _SSH and key and not _is_literal(key) else key or None,
            allowed_signers=path(setting("gpg.ssh", "allowedsignersfile")),
            revoked=path(setting("gpg.ssh", "revocationfile")),
        )


class Signer:
    """Signs commits with one key.

    Raises:
        SigningError: no key is named, or the format is not ssh or openpgp.
    """

    def __init__(
        self, settings: SigningSettings, *, path: str, programs: Programs | None = None
    ) -> None:
        self._path = path
        self._programs = programs or Programs()
        self._format = settings.format
        self._key = settings.key or ""
        if settings.format not in (_SSH, _OPENPGP):
            raise self._error(
                f"gpg.format {settings.format!a} is not supported; use ssh or openpgp"
            )
        if not self._key:
            raise self._error("no key is named; set user.signingkey")

    def sign(self, commit: bytes) -> bytes:
        """Return the signature, in armour, of the bytes of a commit that has none.

        Raises:
            SigningError: the program or the key is missing, locked or refused, or took too long.
        """
        try:
            made = self._sign_ssh(commit) if self._format == _SSH else self._sign_openpgp(commit)
        except ProgramError as error:
            raise self._error(str(error)) from error
        return made.replace(b"\r", b"")

    def _sign_ssh(self, commit: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            key = self._key
            if _is_literal(key):
                key = _written(folder, "key.pub", key.removeprefix(_LITERAL).encode() + b"\n")
            done = run(
                self._programs,
                self._programs.ssh_keygen,
                ["-Y", "sign", "-n", _NAMESPACE, "-f", key],
                commit,
            )
        if done.code or not done.out.startswith(_SSH_ARMOUR):
            raise self._error(said(done, "ssh-keygen"))
        return done.out

    def _sign_openpgp(self, commit: bytes) -> bytes:
        arguments = [
            "--batch", "--no-tty", "--pinentry-mode=error", "--status-fd=2",
            "--armor", "--detach-sign", f"--local-user={self._key}",
        ]  # fmt: skip
        done = run(self._programs, self._programs.gpg, arguments, commit)
        if done.code or b"[GNUPG:] SIG_CREATED " not in done.err:
            raise self._error(said(done, "gpg"))
        return done.out

    def _error(self, problem: str) -> SigningError:
        return SigningError(path=self._path, key=self._key or None, problem=problem)


class Checker:
    """Checks the signatures of commits, whoever made them. Never raises: what failed is a state."""

    def __init__(self, settings: SigningSettings, *, programs: Programs | None = None) -> None:
        self._settings = settings
        self._programs = programs or Programs()

    def check(self, commit: bytes) -> Signature:
        """Return what is known of the signature in the bytes of a commit.

        An SSH key must be allowed by the file of allowed signers at the commit's time. Cost: one to
        three processes.
        """
        payload, signature = split_signature(commit)
        if signature is None:
            return Signature(state=SignatureState.UNSIGNED)
        try:
            if signature.startswith(_SSH_ARMOUR):
                return self._check_ssh(payload, signature)
            if signature.startswith(_PGP_ARMOURS):
                return self._check_openpgp(payload, signature)
        except (ProgramError, OSError) as error:
            return Signature(state=SignatureState.UNCHECKED, problem=str(error))
        problem = "the signature is neither SSH's nor OpenPGP's"
        return Signature(state=SignatureState.UNCHECKED, problem=problem)

    def _check_ssh(self, payload: bytes, signature: bytes) -> Signature:
        blob = _ssh_key(signature)
        if blob is None:
            problem = "the signature cannot be read"
            return Signature(state=SignatureState.BAD, problem=problem)
        key = "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
        with tempfile.TemporaryDirectory() as folder:
            at = f"-Overify-time={_time_of(payload)}"
            common = ["-s", _written(folder, "sig", signature), at]
            for principal in self._principals(common):
                if not self._verifies(payload, common, principal):
                    continue
                revoked = self._settings.revoked
                if revoked is None or self._verifies(payload, [*common, "-r", revoked], principal):
                    return Signature(state=SignatureState.GOOD, key=key, signer=principal)
                problem = f"the key was revoked, or {revoked} cannot be read"
                bad = SignatureState.BAD
                return Signature(state=bad, key=key, signer=principal, problem=problem)
            arguments = ["-Y", "check-novalidate", "-n", _NAMESPACE]
            done = self._keygen([*arguments, *common], payload)
        if done.code:
            problem = "the commit is not what was signed"
            return Signature(state=SignatureState.BAD, key=key, problem=problem)
        state, problem = self._why_not_allowed(base64.b64encode(blob))
        return Signature(state=state, key=key, problem=problem)

    def _verifies(self, payload: bytes, common: list[str], principal: str) -> bool:
        arguments = ["-Y", "verify", "-n", _NAMESPACE, "-f", self._settings.allowed_signers or ""]
        done = self._keygen([*arguments, "-I", principal, *common], payload)
        return done.code == 0 and done.out.startswith(b"Good")

    def _principals(self, common: list[str]) -> list[str]:
        """Return who the file of allowed signers says may have made the signature, at its time."""
        allowed = self._settings.allowed_signers
        if allowed is None or not os.path.exists(allowed):
            return []
        done = self._keygen(["-Y", "find-principals", "-f", allowed, *common], b"")
        names = done.out.decode(errors="replace").replace("\r", "").split("\n")
        return [] if done.code else [name for name in names if name]

    def _why_not_allowed(self, key: bytes) -> tuple[SignatureState, str]:
        """Say what the file of allowed signers has against a key whose signature is right."""
        allowed = self._settings.allowed_signers
        if allowed is None:
            return SignatureState.UNKNOWN_KEY, "gpg.ssh.allowedSignersFile is not set"
        try:
            with open(allowed, "rb") as file:
                lines = [line for line in file if key in line.split()]
        except OSError as error:
            return SignatureState.UNKNOWN_KEY, f"{allowed}: {error.strerror}"
        if any(b"valid-" in line.lower() for line in lines):
            return SignatureState.EXPIRED, f"{allowed} does not allow the key at the commit's time"
        if lines:
            return SignatureState.UNKNOWN_KEY, f"{allowed} does not allow the key to sign commits"
        return SignatureState.UNKNOWN_KEY, f"the key is not in {allowed}"

    def _keygen(self, arguments: list[str], given: bytes) -> Done:
        return run(self._programs, self._programs.ssh_keygen, arguments, given)

    def _check_openpgp(self, payload: bytes, signature: bytes) -> Signature:
        with tempfile.TemporaryDirectory() as folder:
            arguments = [
                "--batch", "--no-tty", "--status-fd=1", "--no-auto-key-retrieve",
                "--verify", _written(folder, "sig", signature), "-",
            ]  # fmt: skip
            done = run(self._programs, self._programs.gpg, arguments, payload)
        return _pgp_signature(done)


def split_signature(commit: bytes) -> tuple[bytes, bytes | None]:
    """Return the bytes of a commit that were signed, and the signature in armour; None if unsigned.

    The signature of the repository's other hash (``gpgsig-sha256``) is no part of either.
    """
    head, end, message = commit.partition(b"\n\n")
    kept: list[bytes] = []
    signature: list[bytes] = []
    target: list[bytes] | None = kept
    for line in head.split(b"\n"):
        if line.startswith(b" "):
            found = line if target is kept else line[1:]
        elif line.startswith(_HEADERS):
            target = signature if line.startswith(_HEADER) else None
            found = line[len(_HEADER) :]
        else:
            target, found = kept, line
        if target is not None:
            target.append(found)
    whole = b"\n".join(signature) + b"\n" if signature else None
    return b"\n".join(kept) + end + message, whole


def _written(folder: str, name: str, data: bytes) -> str:
    path = os.path.join(folder, name)
    with open(path, "xb") as file:
        file.write(data)
    return path


def _is_literal(key: str) -> bool:
    """Whether this is a public key itself and not the path of one (git's own rule)."""
    return key.startswith((_LITERAL, "ssh-"))


def _time_of(commit: bytes) -> str:
    """Return the commit's time as ssh-keygen reads it, in UTC."""
    found = _TIME.search(commit.partition(b"\n\n")[0])
    try:
        when = _EPOCH + timedelta(seconds=int(found[1]) if found else 0)
    except OverflowError:
        when = datetime.max.replace(tzinfo=UTC)
    return when.strftime("%Y%m%d%H%M%S").zfill(14)


def _ssh_key(signature: bytes) -> bytes | None:
    """Return the public key in an SSH signature (OpenSSH's PROTOCOL.sshsig), or None."""
    lines = signature.strip().split(b"\n")[1:-1]
    try:
        data = base64.b64decode(b"".join(lines), validate=True)
        magic, _, length = struct.unpack_from(">6sII", data)
    except (binascii.Error, struct.error):
        return None
    key = data[14 : 14 + length]
    return key if magic == b"SSHSIG" and len(key) == length else None


def _pgp_signature(done: Done) -> Signature:
    """Read what gpg said on its status descriptor."""
    lines = done.out.decode(errors="replace").split("\n")
    told = [line.split(" ")[1:] for line in lines if line.startswith("[GNUPG:] ")]
    verdicts = [words for words in told if words and words[0] in _PGP_STATES]
    if len(verdicts) != 1:
        if any(words[0] == "NODATA" for words in told if words):
            return Signature(state=SignatureState.BAD, problem="the signature cannot be read")
        if verdicts:
            return Signature(state=SignatureState.BAD, problem="it has several signatures")
        return Signature(state=SignatureState.UNCHECKED, problem=said(done, "gpg"))
    words = verdicts[0]
    state, problem = _PGP_STATES[words[0]]
    key = words[1] if len(words) > 1 else None
    if words[0] == "ERRSIG":
        if words[6:7] == [_NO_PUBLIC_KEY]:
            state, problem = SignatureState.UNKNOWN_KEY, "gpg does not have the key"
        return Signature(state=state, key=key, problem=problem)
    if any(each[:1] == ["TRUST_NEVER"] for each in told):
        state, problem = SignatureState.UNKNOWN_KEY, "gpg was told never to trust the key"
    elif state is SignatureState.GOOD and done.code:
        state, problem = SignatureState.UNCHECKED, said(done, "gpg")
    return Signature(state=state, key=key, signer=" ".join(words[2:]) or None, problem=problem)

"""Programs of the caller's that sign and check: run without a terminal, and never for ever."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Long enough for a smart card, short enough to tell that a program waits for somebody.
TIMEOUT_SECONDS: Final = 30.0

_LET_THROUGH: Final = frozenset(
    {"GNUPGHOME", "HOME", "LD_LIBRARY_PATH", "PATH", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"}
)
_SAID_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs that sign and check; names are looked up on the PATH.

    `environment` is what they may know of the caller's: HOME, PATH, GNUPGHOME, SSH_AUTH_SOCK,
    XDG_RUNTIME_DIR and LD_LIBRARY_PATH are taken from it, and nothing else.
    """

    ssh_keygen: str = "ssh-keygen"
    gpg: str = "gpg"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout_seconds: float = TIMEOUT_SECONDS


class ProgramError(Exception):
    """A program could not be run to its end."""


class Done(NamedTuple):
    """How a program ended, and what it printed."""

    code: int
    out: bytes
    err: bytes


def run(programs: Programs, name: str, arguments: Sequence[str], given: bytes) -> Done:
    """Run a program that can ask nobody anything; `given` is all of its input."""
    search = programs.environment.get("PATH")
    found = name if os.path.isabs(name) else shutil.which(name, path=search)
    # Found by a relative entry of the PATH it could be a file of the repository's.
    if found is None or not os.path.isabs(found):
        raise ProgramError(f"there is no program {name}; install it, or name the one to use")
    environment = {
        "HOME": os.path.expanduser("~"),
        "PATH": os.defpath,
        **{key: programs.environment[key] for key in _LET_THROUGH & programs.environment.keys()},
        "LC_ALL": "C",
        "TZ": "UTC0",
        "SSH_ASKPASS_REQUIRE": "never",
    }
    try:
        with subprocess.Popen(  # noqa: S603 -- no shell, and no program that a repository names
            [found, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environment,
            start_new_session=True,  # without a terminal of its own to ask at
        ) as process:
            try:
                out, err = process.communicate(given, timeout=programs.timeout_seconds)
            except BaseException:
                _kill(process)
                raise
            return Done(process.returncode, out, err)
    except subprocess.TimeoutExpired as error:
        message = f"{name} did not end within {programs.timeout_seconds:g} s; is a key locked?"
        raise ProgramError(message) from error
    except OSError as error:
        raise ProgramError(f"{name} cannot be run ({error.strerror})") from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program and whatever it started, which could keep our pipes open."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def said(done: Done, name: str) -> str:
    """Return the last thing a program said to people, on one printable line."""
    printed = [line for line in done.err.decode(errors="replace").splitlines() if line.strip()]
    last = [line for line in printed if not line.startswith(("[GNUPG:]", "Signing data on "))]
    text = "".join(c if c.isprintable() else " " for c in last[-1]) if last else "it said nothing"
    return f"{name} failed ({text[:_SAID_MAX].strip()})"

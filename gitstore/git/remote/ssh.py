"""The command that reaches an ssh host, and what ssh means when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gitstore.git.remote.network import Network
    from gitstore.git.remote.url import RemoteUrl

#: A connection that is dead is noticed after this many questions without an answer.
_ALIVE_COUNT: Final = 3


def ssh_command(ssh: str, url: RemoteUrl, command: str, network: Network) -> list[str]:
    """Return the command that runs ``git upload-pack`` or ``git receive-pack`` on the host.

    Nobody can be asked anything: unknown hosts and keys with a passphrase fail.
    """
    assert url.host is not None
    seconds = max(1, round(network.timeout_seconds))
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(seconds),
        "ControlMaster": "no",  # one that stays would keep our pipes open
        "SendEnv": "GIT_PROTOCOL",
        "ServerAliveInterval": str(max(1, seconds // _ALIVE_COUNT)),
        "ServerAliveCountMax": str(_ALIVE_COUNT),
    }
    if network.ssh_known_hosts is not None:
        options |= {
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": network.ssh_known_hosts,
        }
    arguments = [ssh, "-x", "-T"]
    if network.ssh_config is not None:
        arguments += ["-F", network.ssh_config]
    if network.ssh_identity is not None:
        arguments += ["-i", network.ssh_identity]
        options["IdentitiesOnly"] = "yes"
    if url.port is not None:
        arguments += ["-p", str(url.port)]
    for name, value in options.items():
        arguments += ["-o", f"{name}={value}"]
    host = url.host.strip("[]")
    where = host if url.username is None else f"{url.username}@{host}"
    return [*arguments, "--", where, f"{command} {_quoted(url.path)}"]


def _quoted(path: str) -> str:
    """Quote a path for any shell there; git-shell takes no other way of quoting."""
    return "'" + path.replace("'", "'\\''").replace("!", "'\\!'") + "'"

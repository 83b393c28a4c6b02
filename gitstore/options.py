"""What opening and cloning a store have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from gitstore.git.remote.network import Network

if TYPE_CHECKING:
    from gitstore.git.programs import Programs
    from gitstore.git.signing import SigningSettings
    from gitstore.session.redact import Redaction
    from gitstore.types import AskCredentials, Author, Durability, Runtime


class OpenOptions(TypedDict, total=False):
    """What `open` and `clone` both take."""

    author: Author | None
    durability: Durability
    lock_timeout_seconds: float
    redact: Redaction | None
    signing: SigningSettings | None
    sign: bool
    programs: Programs | None
    credentials: AskCredentials | None
    network: Network | None
    runtime: Runtime | None


def network_of(network: Network | None, credentials: AskCredentials | None) -> Network | None:
    """Return a network in which `credentials`, if given, are asked first."""
    if credentials is None:
        return network
    return replace(network or Network(), ask=credentials)

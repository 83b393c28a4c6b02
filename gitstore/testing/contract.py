"""The contract of `SessionStore` as checks that any implementation can be put through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitstore.testing.concurrent import CHECKS as CONCURRENT
from gitstore.testing.listing import CHECKS as LISTING
from gitstore.testing.reading import CHECKS as READING
from gitstore.testing.writing import CHECKS as WRITING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from gitstore.contract import SessionStore
    from gitstore.testing.promises import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractCheck:
    """One promise of the contract; awaited with an empty store, it fails if that is broken.

    Raises:
        AssertionError: the promise is not kept; or whatever else the store raised.
    """

    name: str
    promise: str
    run: Check

    async def __call__(self, store: SessionStore) -> None:  # noqa: D102 -- the class says it
        await self.run(store)

    def __str__(self) -> str:
        return self.name


def session_store_contract() -> tuple[ContractCheck, ...]:
    """Return every check, each for an empty store of its own."""
    return tuple(
        ContractCheck(name=check.__name__, promise=(check.__doc__ or "").strip(), run=check)
        for check in (*READING, *WRITING, *LISTING, *CONCURRENT)
    )


async def check_session_store(
    make: Callable[[], AbstractAsyncContextManager[SessionStore]],
) -> None:
    """Put a store through the whole contract; `make` is called for each check.

    Raises:
        ExceptionGroup: some checks failed: its message names them, each error's notes its own.
    """
    failed: dict[str, Exception] = {}
    for check in session_store_contract():
        try:
            async with make() as store:
                await check(store)
        except Exception as error:  # noqa: BLE001 -- whatever the store raises is the finding
            error.add_note(f"{check.name}: {check.promise}")
            failed[check.name] = error
    if failed:
        message = f"the contract is broken: {', '.join(failed)}"
        raise ExceptionGroup(message, list(failed.values()))

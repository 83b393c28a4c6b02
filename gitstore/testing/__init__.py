"""For tests of your own: a store in memory, and the contract that every `SessionStore` keeps.

With pytest, a store of your own is held to the contract by::

    @pytest.mark.anyio
    @pytest.mark.parametrize("check", session_store_contract(), ids=str)
    async def test_contract(check: ContractCheck) -> None:
        await check(MyStore())
"""

from gitstore.testing.contract import (
    ContractCheck,
    check_session_store,
    session_store_contract,
)
from gitstore.testing.memory import MemorySessionStore

__all__ = [
    "ContractCheck",
    "MemorySessionStore",
    "check_session_store",
    "session_store_contract",
]

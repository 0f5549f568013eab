"""What an answer had taken over all servers is given back, though the database was away when it ended."""

from types import SimpleNamespace
from typing import Any

import pytest

from codeact.errors import StoreUnavailable
from codeact.runs.shared_slots import SharedSlots, Taken
from codeact.store import OwnerLimits

pytestmark = pytest.mark.anyio


async def test_slots_of_answers_that_ended_without_a_database_are_given_back_with_the_next_answer() -> None:
    in_database, is_away = set[str](), False

    class Slots:
        async def take(self, account: str, slot_id: str, *, most: int) -> bool:
            if len(in_database) >= most:
                return False
            in_database.add(slot_id)
            return True

        async def give_back(self, account: str, slot_id: str) -> None:
            if is_away:
                raise StoreUnavailable("The database is away.")
            in_database.discard(slot_id)

        async def drop_dead(self, account: str, alive: list[str]) -> bool:
            return False

    store: Any = SimpleNamespace(slots=Slots())

    async def get_store() -> Any:
        return store

    async def alive(store: Any) -> list[str]:
        return []

    slots, account = SharedSlots(get_store, alive), ("ann", OwnerLimits(concurrent_responses=1))
    ended, refused, later = Taken(), Taken(), Taken()
    assert await slots.take(account, ended)
    assert not await slots.take(account, refused)
    is_away = True
    await slots.give_back(ended)
    assert in_database == {ended.id}
    is_away = False
    assert await slots.take(account, later)
    await slots.give_back(later)
    assert in_database == set()

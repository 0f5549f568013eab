"""Which servers hold which containers, as the database tells it to all of them."""

from datetime import UTC, datetime, timedelta

import pytest

from codeact.store import Store
from codeact.store.leases import LEASE_S
from codeact.store.process import new_name

pytestmark = pytest.mark.anyio


async def test_a_container_is_elsewhere_while_another_server_says_that_it_holds_it(store: Store, uri: str) -> None:
    mine = await store.files.touch("cntr_1", owner="ann", conversation_id="conv_1")
    assert not mine.elsewhere
    async with Store.connect(uri) as other:
        assert (await other.files.get("cntr_1", owner="ann")).elsewhere
        await store.files.hold([])
        assert not (await other.files.get("cntr_1", owner="ann")).elsewhere
        await store.files.hold(["cntr_1"])
        [listed] = await other.files.containers(owner="ann", after=None, limit=10, order="desc")
        assert listed.elsewhere


@pytest.mark.parametrize("how", ["silent for too long", "ended on this host"])
async def test_a_container_of_a_dead_server_is_nowhere(store: Store, how: str) -> None:
    await store.files.touch("cntr_1", owner="ann", conversation_id="conv_1")
    if how == "ended on this host":
        host, space, pid, start, token = new_name().split("/")
        change = {"process": f"{host}/{space}/{pid}/{int(start) - 1}/{token}"}
    else:
        change = {"process": "elsewhere/boot.1/7/1/aa", "held_at": datetime.now(UTC) - timedelta(seconds=LEASE_S + 5)}
    await store._documents.containers.get_pymongo_collection().update_one({"_id": "cntr_1"}, {"$set": change})
    assert not (await store.files.get("cntr_1", owner="ann")).elsewhere

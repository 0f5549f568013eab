"""Which servers hold which containers, as all of them read it in the database."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import anyio
import pytest
from pymongo import AsyncMongoClient

from codeact.store import Store
from codeact.store.database.process import new_name
from codeact.store.repositories.response_leases import LEASE_S
from tests.loop_steps import measured_steps

pytestmark = pytest.mark.anyio


async def test_a_container_is_elsewhere_while_another_server_says_that_it_holds_it(store: Store, uri: str) -> None:
    mine = await store.files.touch("cntr_1", owner="ann", conversation_id="conv_1")
    assert (mine.held_by, mine.is_held_here) == (None, True)
    async with Store.connect(uri) as other:
        assert (await other.files.get("cntr_1", owner="ann")).held_by == store.leases.holder
        assert [each.id for each in await other.files.held("conv_1", owner="ann")] == ["cntr_1"]
        await store.files.hold([])
        assert (await other.files.get("cntr_1", owner="ann")).held_by is None
        assert await other.files.held("conv_1", owner="ann") == []
        await store.files.hold(["cntr_1"])
        [listed] = await other.files.containers(owner="ann", after=None, limit=10, order="desc")
        assert listed.held_by == store.leases.holder


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_containers_are_listed_by_their_beginning_not_by_the_age_of_their_sandboxes(
    store: Store, order: Literal["asc", "desc"]
) -> None:
    made = ["cntr_5", "cntr_1", "cntr_4", "cntr_2", "cntr_3"]
    for name in made:
        await store.files.touch(name, owner="ann", conversation_id=f"of_{name}")
        await anyio.sleep(0.002)  # The database keeps milliseconds.
    read: list[str] = []
    while page := await store.files.containers(owner="ann", after=read[-1] if read else None, limit=2, order=order):
        read += [each.id for each in page]
    assert read == (made if order == "asc" else made[::-1])


async def test_a_container_that_begins_while_a_server_tells_which_it_holds_is_not_given_up(store: Store) -> None:
    await store.files.touch("cntr_1", owner="ann", conversation_id="conv_1")
    await anyio.sleep(0.002)  # The database keeps milliseconds.
    as_of = datetime.now(UTC)
    await store.files.touch("cntr_2", owner="ann", conversation_id="conv_1")
    await store.files.hold([], as_of=as_of)
    assert [each.id for each in await store.files.held("conv_1", owner="ann")] == ["cntr_2"]


@pytest.mark.parametrize("how", ["silent for too long", "ended on this host"])
async def test_a_container_of_a_dead_server_is_nowhere(store: Store, how: str) -> None:
    await store.files.touch("cntr_1", owner="ann", conversation_id="conv_1")
    if how == "ended on this host":
        host, space, pid, start, token = new_name().split("/")
        change = {"process": f"{host}/{space}/{pid}/{int(start) - 1}/{token}"}
    else:
        change = {"process": "elsewhere/boot.1/7/1/aa", "held_at": datetime.now(UTC) - timedelta(seconds=LEASE_S + 5)}
    await store._documents.containers.get_pymongo_collection().update_one({"_id": "cntr_1"}, {"$set": change})
    assert (await store.files.get("cntr_1", owner="ann")).held_by is None


async def test_of_versions_that_are_noted_at_once_one_is_there(store: Store) -> None:
    container = await store.files.touch("cntr_1", owner="ann", conversation_id="conv_1")

    async def add(size_bytes: int) -> None:
        await store.files.add(
            container, "a.txt", size_bytes=size_bytes, modified_at=1.0, source="user", sha256=f"{size_bytes:064}"
        )

    await add(0)
    async with anyio.create_task_group() as tasks:
        for size_bytes in range(1, 9):
            tasks.start_soon(add, size_bytes)
    assert len(await store.files.files("cntr_1", owner="ann")) == 1


async def test_files_and_comments_without_number_are_read_in_short_steps(store: Store, uri: str) -> None:
    container = await store.files.touch("cntr_1", owner="ann", conversation_id="conv_1")
    added = await store.files.add(container, "a", size_bytes=1, modified_at=0.0, source="user", sha256=None)
    comment = {"owner": "ann", "conversation_id": "conv_1", "rating": "up", "created_at": datetime.now(UTC)}
    comment |= {"schema_version": 1, "comment": "x" * 1_000}
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        database = client.get_default_database()
        document = await database["files"].find_one({"_id": added.id})
        assert document is not None
        more = [document | {"_id": f"{added.id}{number}", "path": f"{number}"} for number in range(2_999)]
        await database["files"].insert_many(more)
        await database["feedback"].insert_many([comment | {"_id": f"resp_{number}"} for number in range(3_000)])
    await store.files.files("cntr_2", owner="ann")
    with measured_steps() as steps:
        assert len(await store.files.files("cntr_1", owner="ann")) == 3_000
        assert len(await store.files.uploaded("cntr_1", owner="ann")) == 3_000
        assert len(await store.sharing.feedback_of("conv_1", owner="ann")) == 3_000
    assert 0 < steps.longest_s < 0.05

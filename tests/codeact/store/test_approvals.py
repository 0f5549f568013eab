"""What waits for approval, in a real database and in memory: one decision wins, and what is lost can be made again."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio
import pytest

from codeact.errors import ApprovalDecided, NotFound
from codeact.store import Store
from codeact.store.decisions import Decision
from codeact.store.memory import MemoryStore
from codeact.store.records import ApprovalRecord
from codeact.store.run_store import ApprovalStore

pytestmark = pytest.mark.anyio


def waiting(approval_id: str, *, expires_in_s: float = 60.0) -> ApprovalRecord:
    now = time.time()
    return ApprovalRecord(
        approval_id, "ann", "conv_1", "resp_1", "code", "python", "print(1)", ("code",), now, now + expires_in_s
    )


def by(who: str, response_id: str) -> Decision:
    return Decision(True, who, response_id)


@pytest.fixture(params=["database", "memory"])
def approvals(request: pytest.FixtureRequest) -> ApprovalStore:
    store: Store | MemoryStore = request.getfixturevalue("store") if request.param == "database" else MemoryStore()
    return store.approvals


async def test_of_decisions_at_once_one_wins(approvals: ApprovalStore) -> None:
    await approvals.add(waiting("apr_1"))
    won: list[str] = []
    lost: list[str] = []

    async def decide(who: str) -> None:
        try:
            await approvals.decide("apr_1", by(who, f"resp_{who}"), owner="ann")
            won.append(who)
        except ApprovalDecided as error:
            lost.append(error.message)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(decide, str(number))
    assert len(won) == 1
    assert len(lost) == 7
    assert all(f"already approved, by {won[0]}" in message for message in lost)
    assert (await approvals.get("apr_1", owner="ann")).decision_id == f"resp_{won[0]}"


async def test_a_decision_whose_response_was_not_stored_is_undone(approvals: ApprovalStore) -> None:
    await approvals.add(waiting("apr_1"))
    await approvals.decide("apr_1", by("one", "resp_2"), owner="ann")
    await approvals.take_back("resp_2", owner="ann")
    assert (await approvals.get("apr_1", owner="ann")).status == "waiting"
    assert (await approvals.decide("apr_1", by("two", "resp_3"), owner="ann")).decided_by == "two"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda store: store.withdraw(["apr_1"], owner="ann"), "no longer waits"),
        (
            lambda store: store.decide("apr_1", Decision(False, "bob", "resp_9"), owner="ann"),
            "already rejected, by bob",
        ),
    ],
)
async def test_what_no_longer_waits_is_not_decided(
    approvals: ApprovalStore, change: Callable[[ApprovalStore], object], said: str
) -> None:
    await approvals.add(waiting("apr_1"))
    await change(approvals)  # type: ignore[misc]
    with pytest.raises(ApprovalDecided, match=said):
        await approvals.decide("apr_1", by("two", "resp_3"), owner="ann")


async def test_what_has_expired_is_not_decided_and_others_find_nothing(approvals: ApprovalStore) -> None:
    await approvals.add(waiting("apr_1", expires_in_s=-1))
    with pytest.raises(ApprovalDecided, match="expired at"):
        await approvals.decide("apr_1", by("one", "resp_2"), owner="ann")
    await approvals.add(waiting("apr_2"))
    with pytest.raises(NotFound):
        await approvals.decide("apr_2", by("one", "resp_2"), owner="eve")
    await approvals.withdraw(["apr_2"], owner="eve")
    assert (await approvals.get("apr_2", owner="ann")).status == "waiting"


async def test_a_decision_that_its_dead_server_did_not_store_can_be_made_again(store: Store) -> None:
    await store.approvals.add(waiting("apr_1"))
    await store.approvals.decide("apr_1", by("one", "resp_never_stored"), owner="ann")
    with pytest.raises(ApprovalDecided):
        await store.approvals.decide("apr_1", by("two", "resp_3"), owner="ann")
    documents = store._documents.approvals.get_pymongo_collection()
    earlier = datetime.now(UTC) - timedelta(minutes=2)
    await documents.update_one({"_id": "apr_1"}, {"$set": {"decided_at": earlier}})
    assert (await store.approvals.decide("apr_1", by("two", "resp_3"), owner="ann")).decided_by == "two"


async def test_a_function_s_call_is_answered_or_withdrawn_in_its_conversation_alone(approvals: ApprovalStore) -> None:
    def call(item_id: str, call_id: str, conversation_id: str = "conv_1") -> ApprovalRecord:
        place = {"call_id": call_id, "conversation_id": conversation_id}
        return replace(waiting(item_id), kind="function", name="get_weather", reasons=(), **place)

    # Code chooses the ids of its calls, so those of two conversations can be the same.
    await approvals.add(call("fc_1", "call_1"), call("fc_2", "call_2"), call("fc_3", "call_1", "conv_2"))
    await approvals.add(replace(waiting("mcpr_1"), call_id="call_1"))
    end = partial(approvals.answer, ["call_1", "call_2"], ["call_1", "call_9"], response_id="resp_2")
    await end(owner="eve", conversation_id="conv_1")
    await end(owner="ann", conversation_id="conv_3")
    found = [await approvals.get(each, owner="ann") for each in ("fc_1", "fc_2", "fc_3", "mcpr_1")]
    assert {each.status for each in found} == {"waiting"}
    await end(owner="ann", conversation_id="conv_1")
    found = [await approvals.get(each.id, owner="ann") for each in found]
    assert [each.status for each in found] == ["answered", "withdrawn", "waiting", "waiting"]
    assert [each.decision_id for each in found] == ["resp_2", None, None, None]
    assert (found[0].call_id, found[0].decided_by) == ("call_1", None)


async def test_what_waits_is_listed_newest_first_page_by_page(store: Store) -> None:
    now = time.time()
    for age, approval_id in enumerate(("apr_2", "mcpr_1", "apr_0")):
        await store.approvals.add(replace(waiting(approval_id), created_at=now - age))
    await store.approvals.add(replace(waiting("apr_1"), created_at=now - 1))
    await store.approvals.add(replace(waiting("apr_8"), owner="bob"))
    await store.approvals.add(waiting("apr_9", expires_in_s=-1))
    page = partial(store.approvals.page, owner="ann", limit=2)
    first, following = await page(status="waiting", after=None)
    assert ([each.id for each in first], following) == (["apr_2", "mcpr_1"], "mcpr_1")
    rest, following = await page(status="waiting", after=following)
    assert ([each.id for each in rest], following) == (["apr_1", "apr_0"], None)
    with pytest.raises(NotFound):
        await page(status="waiting", after="apr_none")
    expired, _ = await page(status="expired", after=None)
    assert [each.id for each in expired] == ["apr_9"]

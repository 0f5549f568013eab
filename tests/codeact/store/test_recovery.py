"""Another server ends the responses of a dead server: with everything that it had stored, exactly once."""

import time
from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest

from codeact import events as e
from codeact.agent.response_builder import ResponseBuilder
from codeact.dialect.segments import CodeText
from codeact.errors import ConversationLocked, ResponseTakenOver
from codeact.model import Usage
from codeact.runs.event_log import RESTART_GAP, EventWriter
from codeact.runs.recorder import Recorder
from codeact.runs.recovery import recover
from codeact.store import Store
from codeact.store.repositories.response_leases import Lease
from sandbox_pool.outputs import Stream
from tests.codeact.runs.test_event_log import getter
from tests.codeact.store.test_store import answered, message, response

pytestmark = pytest.mark.anyio


class Dead:
    """A server's run until it died: everything that it emitted is in the log, and nothing more follows."""

    def __init__(self, store: Store, writer: EventWriter, answer: e.Response) -> None:
        self.store = store
        self.recorder = Recorder(answer, owner="ann", store=store, writer=writer, store_timeout_s=1)
        self.builder = ResponseBuilder(answer, self.recorder.emit, started=time.monotonic())

    async def begin(self) -> None:
        await self.store.begin_response(self.recorder.response, [], owner="ann")
        await self.builder.begin()

    async def lease(self) -> Lease:
        """The lease that it leaves behind."""
        await self.recorder.log.flush()
        return (await self.store.leases.mine())[self.recorder.response.id]


@pytest.fixture
async def other(uri: str) -> AsyncIterator[Store]:
    async with Store.connect(uri) as store:
        yield store


@pytest.fixture
async def dead(other: Store) -> AsyncIterator[Dead]:
    conversation = await other.create_conversation(owner="ann")
    async with EventWriter.open(getter(other), ttl_s=3600) as writer:
        left = Dead(other, writer, response(conversation=e.ConversationRef(conversation.id)))
        await left.begin()
        yield left


async def recovered(store: Store, lease: Lease) -> e.Response:
    async with EventWriter.open(getter(store), ttl_s=3600) as writer:
        await recover(lease, store=store, writer=writer)
    return (await store.get_response(lease.response_id, owner="ann")).response


async def events(store: Store, response_id: str) -> list[e.Event]:
    found: list[e.Event] = []
    async for event_batch in store.events.read(response_id, 0):
        found += [e.decode_event(frame) for frame in event_batch.frames]
    return found


async def test_it_ends_as_failed_with_the_text_that_had_come(store: Store, dead: Dead) -> None:
    await dead.builder.text("Half an ")
    await dead.builder.text("answer")
    lease = await dead.lease()
    answer = await recovered(store, lease)
    assert (answer.status, answer.output_text) == ("failed", "Half an answer")
    assert answer.error is not None
    assert answer.error.code == "server_restarted"
    assert answer.output[0].status == "incomplete"
    assert answer.usage is None
    assert answer.conversation is not None
    assert (await store.get_conversation(answer.conversation.id, owner="ann")).last_response_id == answer.id
    assert await store.leases.all() == []


async def test_its_events_go_on_under_numbers_that_nobody_has_seen(store: Store, dead: Dead) -> None:
    await dead.builder.text("Half")
    lease = await dead.lease()
    await recovered(store, lease)
    numbers = [event.sequence_number for event in await events(store, lease.response_id)]
    seen = dead.recorder.log.next
    assert numbers == [*range(seen), *range(seen + RESTART_GAP, seen + RESTART_GAP + len(numbers) - seen)]
    types = [msgspec.to_builtins(event)["type"] for event in await events(store, lease.response_id)]
    assert types[seen:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.failed",
    ]


async def test_code_that_was_running_keeps_its_output(store: Store, dead: Dead) -> None:
    await dead.builder.code_start("cntr_1", tagged=True)
    await dead.builder.segment(CodeText("print(1)"))
    await dead.builder.code.interpreting("cntr_1")
    await dead.builder.code.output(Stream("stdout", "1\n"))
    answer = await recovered(store, await dead.lease())
    call = answer.output[0]
    assert isinstance(call, e.CodeInterpreterCall)
    assert (call.status, call.code, call.outputs) == ("incomplete", "print(1)", [e.LogsOutput("1\n")])


async def test_an_item_that_was_stored_stays_as_it_was_although_its_end_is_not_in_the_log(
    store: Store, dead: Dead
) -> None:
    await dead.builder.text("Whole")
    lease = await dead.lease()
    whole = message("Whole.")
    whole.id = dead.recorder.response.output[0].id
    await dead.store.add_item(lease.response_id, 0, whole)
    extra = message("Its events came too late.")
    await dead.store.add_item(lease.response_id, 1, extra)
    answer = await recovered(store, lease)
    assert answer.output == [whole, extra]
    done = [event.item for event in await events(store, lease.response_id) if isinstance(event, e.OutputItemDone)]
    assert done == [whole, extra]


@pytest.mark.parametrize("told", [False, True])
async def test_one_that_had_ended_keeps_its_end_whether_or_not_it_was_told(
    store: Store, dead: Dead, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server dies before the last event is in the log, or before its lease is released."""
    await dead.builder.text("All of it.")
    await dead.builder.close_item(phase="final_answer")
    if told:
        await dead.builder.end("completed", Usage(output_tokens=3))
    else:
        monkeypatch.setattr(dead.recorder.log, "commit", _die)
        with pytest.raises(RuntimeError):
            await dead.builder.end("completed", Usage(output_tokens=3))
    lease = await dead.lease()
    answer = await recovered(store, lease)
    assert (answer.status, answer.output_text) == ("completed", "All of it.")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 3
    ends = [event for event in await events(store, lease.response_id) if isinstance(event, e.TerminalEvent)]
    assert [end.response.output_text for end in ends] == ["All of it."]
    assert await store.leases.all() == []


async def _die(*_: object) -> None:
    raise RuntimeError("dead")


async def test_of_two_servers_that_find_it_one_ends_it(store: Store, dead: Dead, uri: str) -> None:
    await dead.builder.text("Half")
    lease = await dead.lease()
    async with Store.connect(uri) as third, anyio.create_task_group() as tasks:
        tasks.start_soon(recovered, store, lease)
        tasks.start_soon(recovered, third, lease)
    assert sum(isinstance(event, e.TerminalEvent) for event in await events(store, lease.response_id)) == 1


async def test_a_server_that_was_taken_for_dead_cannot_end_it_any_more(store: Store, dead: Dead) -> None:
    await dead.builder.text("Half")
    failed = await recovered(store, await dead.lease())
    with pytest.raises(ResponseTakenOver):
        await dead.builder.end("completed", Usage())
    assert (await store.get_response(failed.id, owner="ann")).response.status == "failed"


async def test_a_conversation_that_has_gone_on_is_not_taken_back(store: Store, dead: Dead) -> None:
    place = dead.recorder.response.conversation
    assert place is not None
    with pytest.raises(ConversationLocked):
        await answered(store, "newer", conversation=place)
    # It was stored as ended, and its server died before it said so in the log.
    collection = store._responses.get_pymongo_collection()
    await collection.update_one({"_id": dead.recorder.response.id}, {"$set": {"response.status": "completed"}})
    newer = await answered(store, "newer", conversation=place)
    await recovered(store, await dead.lease())
    assert (await store.get_conversation(place.id, owner="ann")).last_response_id == newer.id


async def test_leases_are_found_by_an_index_that_ended_responses_are_not_in(store: Store, dead: Dead) -> None:
    collection = store.leases._responses.get_pymongo_collection()
    for place in ({"process": {"$gt": ""}}, {"process": store.leases.holder}):
        plan = (await collection.find(place).explain())["queryPlanner"]["winningPlan"]
        assert plan["inputStage"]["indexName"] == "unfinished"
    ended = await answered(store, "one")
    assert ended.id not in await store.leases.mine()


async def test_code_that_waited_is_stored_before_it_goes_on(store: Store, dead: Dead) -> None:
    await dead.builder.code_continues("ci_that_waited", "cntr_1")
    lease = (await dead.store.leases.mine())[dead.recorder.response.id]  # It dies at once: nothing more is stored.
    (call,) = (await recovered(store, lease)).output
    assert isinstance(call, e.CodeInterpreterCall)
    assert (call.continues, call.status) == ("ci_that_waited", "incomplete")

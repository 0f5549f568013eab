"""A server that is suspended, and resumes after another one has taken its response over, changes and claims nothing.

The take-over happens before each operation of a whole run in turn, so that each of its writes is late once.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from codeact import events as e
from codeact.agent.response_builder import ResponseBuilder
from codeact.errors import ResponseTakenOver
from codeact.model import Usage
from codeact.runs.event_log import RESTART_GAP, EventWriter
from codeact.runs.recorder import Recorder
from codeact.runs.recovery import recover
from codeact.store import Store
from tests.codeact.runs.test_event_log import getter
from tests.codeact.store.test_recovery import events
from tests.codeact.store.test_store import answered, response

pytestmark = pytest.mark.anyio

LONG = "words " * 20_000
"""Long enough to be stored as a blob first."""


@pytest.fixture
async def other(uri: str) -> AsyncIterator[Store]:
    async with Store.connect(uri) as store:
        yield store


class Run:
    """One whole answer at a server, and what a client of that server received."""

    def __init__(self, store: Store, writer: EventWriter, conversation_id: str) -> None:
        self.response = response(conversation=e.ConversationRef(conversation_id))
        self.got: list[e.Event] = []
        self.error: ResponseTakenOver | None = None
        self.operations = 0
        self._store = store
        self._recorder = Recorder(self.response, owner="ann", store=store, writer=writer, store_timeout_s=5)

    async def answer(self) -> None:
        """Answers. Ends for its client with a terminal event or with `error`."""
        builder = ResponseBuilder(self.response, self._recorder.emit, started=time.monotonic())
        try:
            await builder.begin()
            await builder.text(LONG)
            await builder.close_item()
            await builder.text("An answer.")
            await builder.close_item()
            await builder.end("completed", Usage(output_tokens=3))
            self._recorder.log.end()
        except ResponseTakenOver as error:
            self._recorder.fail(error)
        await self._recorder.settle()

    async def read(self) -> None:
        try:
            async with aclosing(self._recorder.log.read()) as chunks:
                async for frames in chunks:
                    self.got += map(e.decode_event, frames)
        except ResponseTakenOver as error:
            self.error = error

    async def begin(self) -> None:
        await self._store.begin_response(self.response, [], owner="ann")

    async def see_through(self, before: Callable[[int], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
        """Awaits `before` before each operation of this server, with the operation's number."""
        operations = self._store._operations
        original = operations.run

        async def run(call: Callable[[], Awaitable[Any]], **more: Any) -> Any:
            self.operations += 1
            await before(self.operations)
            return await original(call, **more)

        await self.begin()
        with monkeypatch.context() as patch:
            patch.setattr(operations, "run", run)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.read)
                await self.answer()


async def test_a_take_over_before_any_write_leaves_one_truth(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(number: int) -> None:
        pass

    async with (
        EventWriter.open(getter(store), ttl_s=3600) as writer,
        EventWriter.open(getter(other), ttl_s=3600) as others,
    ):
        whole = Run(store, writer, (await store.create_conversation(owner="ann")).id)
        await whole.see_through(nothing, monkeypatch)
        assert whole.operations >= 10
        assert whole.error is None
        outcomes = []
        for number in range(1, whole.operations + 1):
            conversation = (await store.create_conversation(owner="ann")).id
            run = Run(store, writer, conversation)
            newer: list[e.Response] = []

            async def take_over(at: int, number: int = number, run: Run = run, newer: list[e.Response] = newer) -> None:
                lease = next((one for one in await other.leases.all() if one.response_id == run.response.id), None)
                if at == number and lease is not None:
                    await recover(lease, store=other, writer=others)
                    newer.append(await answered(other, "next", conversation=run.response.conversation))

            await run.see_through(take_over, monkeypatch)
            outcomes.append(await _check(run, other))
            if newer:  # What comes late does not take the conversation back.
                assert (await other.get_conversation(conversation, owner="ann")).last_response_id == newer[0].id
            assert await other.leases.all() == []
        assert {"failed", "completed"} <= set(outcomes)


async def _check(run: Run, other: Store) -> str:
    """Checks that clients of both servers received consistent events; returns how the response ended."""
    found = (await other.get_response(run.response.id, owner="ann")).response
    told = await events(other, found.id)
    ends = [event for event in told if isinstance(event, e.TerminalEvent)]
    assert [end.response.status for end in ends] == [found.status]
    assert ends[0].response.output == found.output
    got_ends = [event for event in run.got if isinstance(event, e.TerminalEvent)]
    if run.error is None:
        assert [end.response.status for end in got_ends] == [found.status]
    else:
        assert got_ends == []
    done = {event.item.id: event.item for event in told if isinstance(event, e.OutputItemDone)}
    for event in run.got:  # What was acknowledged is there, as it was.
        if isinstance(event, e.OutputItemDone):
            assert done[event.item.id] == event.item
            assert event.item in found.output
    numbers = [event.sequence_number for event in told]
    cut = next((number for number in numbers if number >= RESTART_GAP), None)
    before = [number for number in numbers if number < RESTART_GAP]
    assert before == list(range(len(before)))
    if cut is not None:
        assert numbers[len(before) :] == list(range(cut, cut + len(numbers) - len(before)))
    return found.status


async def test_what_an_older_epoch_writes_late_is_seen_by_nobody(store: Store, other: Store) -> None:
    conversation = (await store.create_conversation(owner="ann")).id
    async with EventWriter.open(getter(store), ttl_s=3600) as writer:
        run = Run(store, writer, conversation)
        await run.begin()
        recorder = run._recorder
        builder = ResponseBuilder(run.response, recorder.emit, started=time.monotonic())
        await builder.begin()
        await builder.text("Half")
        await recorder.log.flush()
        lease = (await other.leases.all())[0]
        async with EventWriter.open(getter(other), ttl_s=3600) as others:
            await recover(lease, store=other, writer=others)
        before = (
            (await other.get_response(lease.response_id, owner="ann")).response,
            await events(other, lease.response_id),
        )
        await builder.text(" more")
        with pytest.raises(ResponseTakenOver):
            await builder.close_item()
    late = await store.events._collection.count_documents({"epoch": 0})
    assert late > 0
    assert (await other.get_response(lease.response_id, owner="ann")).response == before[0]
    assert await events(other, lease.response_id) == before[1]

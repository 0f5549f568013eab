"""Events of a log as objects: what a reader in this process gets, in order, whether they are committed or withdrawn."""

from contextlib import aclosing
from typing import Any

import anyio
import pytest

from codeact import events as e
from codeact.runs.event_log import EventLog
from codeact.runs.recorder import Recorder
from codeact.runs.streams import read_events
from codeact.runs.unread_events import UnreadEvents
from codeact.store.memory import MemoryStore

pytestmark = pytest.mark.anyio


def delta(text: str) -> e.OutputTextDelta:
    return e.OutputTextDelta(item_id="msg_1", output_index=0, delta=text)


async def read(log: EventLog, start: int = 0) -> list[e.Event]:
    async with aclosing(read_events(log, start)) as batches:
        return [event async for events in batches for event in events]


async def test_the_reader_gets_the_very_objects_with_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(frame: str) -> Any:
        raise AssertionError(frame)

    monkeypatch.setattr(e, "decode_event", decoded)
    log = EventLog("resp_1", None)
    log.unread = UnreadEvents()
    given = [delta(text) for text in "abc"]
    log.append(given[0])
    await log.commit(given[1])
    log.append(given[2])
    log.end()
    got = await read(log)
    assert [id(event) for event in got] == [id(event) for event in given]
    assert [event.sequence_number for event in got] == [0, 1, 2]
    assert log.unread is None


async def test_events_that_were_not_kept_are_decoded() -> None:
    log = EventLog("resp_1", None)
    log.append(delta("early"))
    log.unread = UnreadEvents()
    log.append(delta("kept"))
    log.end()
    assert [event.delta for event in await read(log) if isinstance(event, e.OutputTextDelta)] == ["early", "kept"]
    assert [event.sequence_number for event in await read(log, 1)] == [1]


async def test_a_run_waits_for_a_reader_that_is_behind_and_no_event_is_lost() -> None:
    response = e.Response(id="resp_1", created_at=0, model="m", conversation=e.ConversationRef("conv_1"))
    store = MemoryStore()
    recorder = Recorder(response, owner="ann", store=store, writer=None, store_timeout_s=1)  # type: ignore[arg-type]
    log = recorder.log
    log.unread = UnreadEvents(most=10)
    emitted = 0

    async def emit() -> None:
        nonlocal emitted
        for number in range(35):
            await recorder.emit(delta(str(number)))
            emitted += 1
        log.end()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(emit)
        await anyio.wait_all_tasks_blocked()
        assert emitted == 9
        got = await read(log)
    assert [event.delta for event in got if isinstance(event, e.OutputTextDelta)] == [str(n) for n in range(35)]
    assert not log._frames


def test_what_is_withdrawn_loses_its_number() -> None:
    unread, event = UnreadEvents(), delta("a")
    unread.put(7, event)
    unread.withdraw(7)
    assert (event.sequence_number, unread.take(7)) == (0, None)


def test_events_of_a_reader_that_is_too_far_behind_are_forgotten_unless_the_run_waits() -> None:
    for most, kept in ((float("inf"), False), (10, True)):
        unread = UnreadEvents(most=most)
        unread.put(0, delta("a"))
        unread.forget(range(1))
        assert (unread.take(0) is not None) is kept

"""Readers of logs that another server writes: one task queries the database for all of them."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio
import msgspec
import pytest
from pymongo import monitoring

from codeact import events as e
from codeact.ids import new_id
from codeact.runs.event_log import EventLog, EventWriter
from codeact.runs.manager import RunManager
from codeact.runs.streams import open_stream
from codeact.store import Store, embedded_mongod

pytestmark = pytest.mark.anyio

FOLLOWERS, ROUNDS, QUIET_S = 100, 5, 1.0


@dataclass
class Commands(monitoring.CommandListener):
    """Records the commands of database clients that are created while it is registered."""

    names: list[str] = field(default_factory=list)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@pytest.fixture(scope="module")
async def uri(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with embedded_mongod(tmp_path_factory.mktemp("mongod")) as uri:
        yield uri


@pytest.fixture
async def at_work(uri: str) -> AsyncIterator[Store]:
    async with Store.connect(uri) as store:
        yield store


@pytest.fixture
async def commands(at_work: Store) -> AsyncIterator[Commands]:
    listener = Commands()
    monitoring.register(listener)
    yield listener
    monitoring._LISTENERS.command_listeners.remove(listener)


@pytest.fixture
async def other(commands: Commands, uri: str) -> AsyncIterator[Store]:
    async with Store.connect(uri) as store:
        yield store


class Follower:
    """Reads one log to its end at another server, and counts how often it waits."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.types: list[str] = []
        self.waits = 0
        self._progress = anyio.Event()

    async def read(self, runs: RunManager, store: Store, response_id: str) -> None:
        stream = await open_stream(runs, store, response_id, owner="ann", start=0, idle_s=QUIET_S)
        async with aclosing(stream):
            async for frames in stream:
                events = [msgspec.json.decode(frame) for frame in frames]
                self.numbers += [event["sequence_number"] for event in events]
                self.types += [event["type"] for event in events]
                self.waits += not frames
                self._progress.set()
                self._progress = anyio.Event()

    async def until(self, *, numbers: int = 0, waits: int = 0) -> None:
        while len(self.numbers) < numbers or self.waits < waits:
            await self._progress.wait()


def delta(text: str) -> e.OutputTextDelta:
    return e.OutputTextDelta(item_id="msg_1", output_index=0, delta=text)


async def begun(store: Store) -> e.Response:
    response = e.Response(id=new_id("resp"), created_at=time.time(), model="demo")
    await store.begin_response(response, [], owner="ann")
    return response


async def test_a_hundred_followers_cost_one_look_for_all(at_work: Store, other: Store, commands: Commands) -> None:
    responses = [await begun(at_work) for _ in range(FOLLOWERS)]
    followers = [Follower() for _ in responses]

    async def get_store() -> Store:
        return at_work

    async def get_other() -> Store:
        return other

    async with (
        EventWriter.open(get_store, ttl_s=3600) as writer,
        RunManager.open(get_other, events_ttl_s=3600, max_concurrent=1) as runs,
    ):
        logs = [EventLog(response.id, writer) for response in responses]
        with anyio.fail_after(60):
            async with anyio.create_task_group() as readers:
                for response, follower in zip(responses, followers, strict=True):
                    readers.start_soon(follower.read, runs, other, response.id)
                for each in followers:  # They have begun to follow, since there is nothing to read.
                    await each.until(waits=1)

                commands.names.clear()
                began_at = time.monotonic()
                for each, before in [(each, each.waits) for each in followers]:
                    await each.until(waits=before + 2)
                took_s = time.monotonic() - began_at
                assert took_s >= QUIET_S
                assert len(commands.names) <= 12 * took_s + 2, commands.names

                commands.names.clear()
                began_at = time.monotonic()
                for number in range(ROUNDS):
                    for log in logs:
                        log.append(delta(str(number)))
                    for each in followers:
                        await each.until(numbers=number + 1)
                took_s = time.monotonic() - began_at
                assert len(commands.names) <= 3 * 10 * took_s + 6, commands.names

                for response, log in zip(responses, logs, strict=True):
                    response.status = "completed"
                    await log.commit(e.ResponseCompleted(response))
                    log.end()
    for each in followers:
        assert each.numbers == list(range(ROUNDS + 1))
        assert each.types[-1] == "response.completed"

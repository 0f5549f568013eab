"""Runs the responses of this server: queues them, starts them, and supervises each one to its end.

It also counts requests that are being prepared, and locks conversations.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from codeact import events as e
from codeact import telemetry
from codeact.errors import CodeActError, ConversationLocked, Overloaded, Stopping
from codeact.owners import account_of
from codeact.runs.event_log import EventWriter
from codeact.runs.run import RESTARTED, Run
from codeact.store.run_store import RunStore
from sandbox_pool.logs import Logger, bound
from sandbox_pool.supervision import Supervisor

__all__ = ["RunManager"]

log = Logger(__name__)

CLOSE_DEADLINE_S = 8.0
LAST_READ_TIMEOUT_S = 1.0
INTERNAL = CodeActError("An internal error ended this response; the server's log has it.")


class RunManager:
    """All current runs of this process."""

    def __init__(
        self,
        tasks: TaskGroup,
        *,
        writer: EventWriter,
        max_concurrent: int,
        max_queued: int = 0,
        on_end: Callable[[e.Response], None] = lambda response: None,
    ) -> None:
        self.writer = writer
        self._on_end = on_end
        self._tasks = tasks
        self._max_concurrent = max_concurrent
        self._max_queued = max_queued
        self._slots = anyio.CapacityLimiter(max_concurrent)
        self._live: dict[str, Run] = {}
        self._settling: dict[str, Run] = {}
        self._locked: set[str] = set()
        self._preparing: list[str] = []
        self._stopping = False
        self._one_ended = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        get_store: Callable[[], Awaitable[RunStore]],
        *,
        events_ttl_s: float,
        max_concurrent: int,
        max_queued: int = 0,
        supervisor: Supervisor | None = None,
        on_end: Callable[[e.Response], None] = lambda response: None,
    ) -> AsyncIterator["RunManager"]:
        """Yields a manager that owns every run's task. At the end of the `with` block it stops the runs.

        Stopped runs fail with `server_restarted`, within a deadline. At most `max_concurrent` runs answer at the same
        time; up to `max_queued` more wait, first in, first out. `on_end` is called with each response that has ended.
        """
        async with (supervisor or Supervisor()).tasks() as start, anyio.create_task_group() as tasks:
            writer = EventWriter(get_store, ttl_s=events_ttl_s)
            start("event writer", writer.run)
            runs = cls(tasks, writer=writer, max_concurrent=max_concurrent, max_queued=max_queued, on_end=on_end)
            try:
                yield runs
            finally:
                with anyio.CancelScope(shield=True):
                    await runs.stop(drain_s=0)
                tasks.cancel_scope.cancel()

    @contextmanager
    def reserve(self, *, owner: str) -> Iterator[None]:
        """Reserves capacity inside the `with` block, while a request is being prepared and until `start`.

        Raises `Stopping`, and `Overloaded` if the maximum number of runs answers and waits.
        """
        if self._stopping:
            raise Stopping("The server is stopping; ask again in a moment.")
        if len(self._live) + len(self._preparing) >= self._max_concurrent + self._max_queued:
            waiting = f", and {self._max_queued} wait for one" if self._max_queued else ""
            raise Overloaded(
                f"All {self._max_concurrent} places for running responses are taken{waiting}; try again soon."
            )
        self._preparing.append(owner)
        try:
            yield
        finally:
            self._preparing.remove(owner)
            self._one_ended.set()

    @contextmanager
    def lock(self, conversation_id: str) -> Iterator[None]:
        """Locks the conversation inside the `with` block, while a request is being prepared and until `start`.

        Raises `ConversationLocked` if it is in use: a conversation has one run at a time, since it has one kernel.
        """
        if conversation_id in self._locked or any(
            run.conversation_id == conversation_id for run in self._live.values()
        ):
            raise ConversationLocked(
                f"The conversation {conversation_id} is answering another request; wait for its end or cancel it.",
                param="conversation",
            )
        self._locked.add(conversation_id)
        try:
            yield
        finally:
            self._locked.discard(conversation_id)

    def start(
        self,
        run: Run,
        produce: Callable[[], Awaitable[None]],
        *,
        then: Callable[[Run], Awaitable[Run | None]],
    ) -> None:
        """Starts a task for the run, which calls `produce`; from now on `find` returns the run.

        `then` is called after the run's end and returns the run that follows it, or None. If the server has begun to
        stop, the run ends at once.
        """
        if self._stopping:
            run.cancel(RESTARTED)
        self._live[run.id] = run
        try:
            self._slots.acquire_on_behalf_of_nowait(run)
        except anyio.WouldBlock:
            run.wait_for(partial(self._slots.acquire_on_behalf_of, run))
        self._tasks.start_soon(self._supervise, run, produce, then)

    def find(self, response_id: str, *, owner: str) -> Run | None:
        """Returns this owner's run until all of it is in the database; None if this process has no such run."""
        run = self._live.get(response_id)
        if run is None and (settling := self._settling.get(response_id)) is not None and settling.response.store:
            run = settling
        return run if run is not None and run.owner == owner and not run.is_lost else None

    @property
    def has_place(self) -> bool:
        """Whether a run that starts now would answer without waiting."""
        return self._slots.available_tokens > 0

    @property
    def live(self) -> int:
        return len(self._live)

    @property
    def at_work(self) -> Mapping[str, Run]:
        """By response id, the current runs and those that have ended but are not completely stored."""
        return {**self._live, **self._settling}

    @property
    def subscribers(self) -> int:
        """The number of readers of current runs' events."""
        return sum(run.log.readers for run in self._live.values())

    def live_of(self, owner: str) -> int:
        """Returns how many runs of this owner, or of this account's users, are running or being prepared."""
        owners = [*self._preparing, *(run.owner for run in self._live.values())]
        return sum(owner in (each, account_of(each)) for each in owners)

    async def _supervise(
        self, run: Run, produce: Callable[[], Awaitable[None]], then: Callable[[Run], Awaitable[Run | None]]
    ) -> None:
        """Runs one run from start to end. An error ends only this run: its capacity is freed and its log ended."""
        successor: Run | None = None
        with bound(response=run.id, owner=run.owner):
            try:
                log.info("response started", conversation=run.conversation_id, model=run.response.model)
                try:
                    with telemetry.span("invoke_agent codeact", _attributes(run)) as span:
                        await produce()
                        span.set(_outcome(run.response))
                except Exception:
                    log.exception("response ended because of an internal error")
                    run.fail(INTERNAL)
                finally:
                    with suppress(RuntimeError):  # It was cancelled before it acquired a slot.
                        self._slots.release_on_behalf_of(run)
                    del self._live[run.id]
                self._settling[run.id] = run
                self._on_end(run.response)
                log.info("response ended", status=run.response.status, total_s=run.response.ledger.total_s)
                try:
                    await run.stored()
                finally:
                    del self._settling[run.id]
                    self._one_ended.set()
                successor = await then(run)
            except Exception:
                log.exception("what follows a response failed because of an internal error")
            finally:
                self._settling.pop(run.id, None)
                self._one_ended.set()
                run.settle(successor)

    async def stop(self, *, drain_s: float) -> None:
        """Refuses new runs, lets current ones finish for `drain_s` seconds, and ends the rest as `server_restarted`.

        Returns once all have ended and are stored, if the database answers in time, and clients that keep up have read
        the last event. Idempotent: to stop sooner, cancel the first call and call it again.
        """
        self._stopping = True
        with anyio.move_on_after(drain_s):
            await self._all_ended()
        logs = [run.log for run in self._live.values()]
        for run in list(self._live.values()):
            run.cancel(RESTARTED)
        with anyio.move_on_after(CLOSE_DEADLINE_S):
            await self._all_ended()
        for run in self.at_work.values():
            run.abandon()
        with anyio.move_on_after(CLOSE_DEADLINE_S):
            await self._all_ended()
        with anyio.move_on_after(LAST_READ_TIMEOUT_S):
            for each in logs:
                await each.closed(to_readers=True)

    async def _all_ended(self) -> None:
        while self.at_work or self._preparing:
            self._one_ended = anyio.Event()
            await self._one_ended.wait()


def _attributes(run: Run) -> dict[str, Any]:
    """Returns the attributes of the run's span, by OpenTelemetry's conventions for generative AI."""
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "codeact",
        "gen_ai.conversation.id": run.conversation_id,
        "gen_ai.request.model": run.response.model,
        "gen_ai.response.id": run.id,
    }


def _outcome(response: e.Response) -> dict[str, Any]:
    usage = response.usage or e.ResponseUsage()
    return {
        "codeact.response.status": response.status,
        "error.type": response.error.code if response.error is not None else None,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }

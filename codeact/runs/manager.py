"""Runs the responses of this server: queues them, starts them, and sees each one through to its end.

Places for requests that are being prepared and locks of conversations are kept here too.
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
LAST_EVENTS_S = 1.0
INTERNAL = CodeActError("An internal error ended this response; the server's log has it.")


class RunManager:
    """All runs of this process that are under way."""

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
        self._one_gone = anyio.Event()

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
        """Owns every run's task. Leaving stops the runs (failed, `server_restarted`), within a deadline.

        `max_concurrent` answer at once; so many more wait for that, first in, first out. `on_end` is called with each
        response that has ended.
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
        """Holds a place while a request is being prepared; `start` takes it over.

        Raises `Stopping`, and `Overloaded` where as many answer and wait as may.
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
            self._one_gone.set()

    @contextmanager
    def lock(self, conversation_id: str) -> Iterator[None]:
        """Holds the conversation while a request in it is being prepared; `start` takes it over.

        Raises `ConversationLocked`: one run at a time in a conversation, since it has one kernel.
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
        """Starts producing, by `Run.produce`; the run is found under its id from now on.

        `then` gives what follows its end. What was still being prepared when the server began to stop ends at once.
        """
        if self._stopping:
            run.cancel(RESTARTED)
        self._live[run.id] = run
        try:
            self._slots.acquire_on_behalf_of_nowait(run)
        except anyio.WouldBlock:
            run.wait_for(partial(self._slots.acquire_on_behalf_of, run))
        self._tasks.start_soon(self._see_through, run, produce, then)

    def find(self, response_id: str, *, owner: str) -> Run | None:
        """The run of this process, until all of it is in the database; never another owner's."""
        run = self._live.get(response_id)
        if run is None and (settling := self._settling.get(response_id)) is not None and settling.response.store:
            run = settling
        return run if run is not None and run.owner == owner and not run.is_lost else None

    @property
    def has_place(self) -> bool:
        """Whether a run that starts now would answer at once."""
        return self._slots.available_tokens > 0

    @property
    def live(self) -> int:
        return len(self._live)

    @property
    def at_work(self) -> Mapping[str, Run]:
        """By response id: those under way, and those that have ended and are not wholly stored yet."""
        return {**self._live, **self._settling}

    @property
    def subscribers(self) -> int:
        """How many read the events of runs that are under way."""
        return sum(run.log.readers for run in self._live.values())

    def live_of(self, owner: str) -> int:
        """How many of the owner's are under way or being prepared, and of an account's users'."""
        owners = [*self._preparing, *(run.owner for run in self._live.values())]
        return sum(owner in (each, account_of(each)) for each in owners)

    async def _see_through(
        self, run: Run, produce: Callable[[], Awaitable[None]], then: Callable[[Run], Awaitable[Run | None]]
    ) -> None:
        """All of one run. Whatever raises in it ends this run alone: it frees its place, and its readers get an end."""
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
                    with suppress(RuntimeError):  # It was cancelled before it had a place.
                        self._slots.release_on_behalf_of(run)
                    del self._live[run.id]
                self._settling[run.id] = run
                self._on_end(run.response)
                log.info("response ended", status=run.response.status, total_s=run.response.ledger.total_s)
                try:
                    await run.stored()
                finally:
                    del self._settling[run.id]
                    self._one_gone.set()
                successor = await then(run)
            except Exception:
                log.exception("what follows a response failed because of an internal error")
            finally:
                self._settling.pop(run.id, None)
                self._one_gone.set()
                run.settle(successor)

    async def stop(self, *, drain_s: float) -> None:
        """Takes no new ones, lets those under way finish for `drain_s`, and ends the rest as `server_restarted`.

        Returns when all have ended, are stored as far as the database answers, and clients that keep up have
        read their last event. Idempotent; cancelling the first call's waiting and calling again hurries.
        """
        self._stopping = True
        with anyio.move_on_after(drain_s):
            await self._gone()
        logs = [run.log for run in self._live.values()]
        for run in list(self._live.values()):
            run.cancel(RESTARTED)
        with anyio.move_on_after(CLOSE_DEADLINE_S):
            await self._gone()
        for run in self.at_work.values():
            run.abandon()
        with anyio.move_on_after(CLOSE_DEADLINE_S):
            await self._gone()
        with anyio.move_on_after(LAST_EVENTS_S):
            for each in logs:
                await each.closed(to_readers=True)

    async def _gone(self) -> None:
        while self.at_work or self._preparing:
            self._one_gone = anyio.Event()
            await self._one_gone.wait()


def _attributes(run: Run) -> dict[str, Any]:
    """Names the run in a trace, after the conventions for generative AI."""
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

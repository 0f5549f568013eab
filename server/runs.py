"""Runs: a checked request enters, the events of its answer go to a log that any number of clients can read.

A run belongs to the server, not to a socket: a slow or lost client changes nothing for the run or for others.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import anyio
import structlog
from anyio.abc import TaskGroup

from codeact import events as e
from codeact.agent import AgentOptions, Stop, answer
from codeact.errors import ConversationLocked, InvalidRequest, Overloaded, StoreError
from codeact.ids import new_id
from codeact.models import Model
from codeact.owners import account_of
from codeact.recorder import Recorder
from codeact.recovery import RESTARTED
from codeact.store import Store
from codeact.store.log import EventLog, EventWriter
from codeact.workspace import Workspace
from server.metrics import Metrics

__all__ = ["Run", "Runs"]

log = structlog.get_logger(__name__)

CLOSE_DEADLINE_S = 15.0
LAST_EVENTS_S = 1.0
MAX_STEERING = 16


class Run:
    """One response being produced. `log` has its events."""

    def __init__(
        self,
        response: e.Response,
        *,
        owner: str,
        conversation_id: str,
        store: Store,
        writer: EventWriter,
        patience_s: float,
    ) -> None:
        self.response = response
        self.owner = owner
        self.conversation_id = conversation_id
        self.started = time.monotonic()
        self.steering: list[e.InputMessage] = []
        self.successor_id = new_id("resp")
        self._steers: set[str] = set()
        self._successor: Run | None = None
        self._settled = anyio.Event()
        self._recorder = Recorder(response, owner=owner, store=store, writer=writer, patience_s=patience_s)
        self._stop = Stop()

    @property
    def id(self) -> str:
        return self.response.id

    @property
    def log(self) -> EventLog:
        return self._recorder.log

    async def produce(
        self,
        context: list[e.Input | e.Item],
        *,
        model: Model,
        workspace: Workspace,
        options: AgentOptions,
    ) -> None:
        """Answers and fills the log. Ends with exactly one terminal event, also when the store gives up."""
        try:
            await answer(
                self.response,
                context,
                model=model,
                workspace=workspace,
                options=options,
                emit=self._recorder.emit,
                stop=self._stop,
                started=self.started,
            )
        except StoreError as error:
            log.error("response not stored", response=self.id, reason=error.message)
            self._recorder.fail(error)
        finally:
            self.log.end()

    async def stored(self) -> None:
        """Returns once the database knows all that clients were told; needed at every run's end."""
        await self._recorder.settle()

    def cancel(self, error: e.ResponseError | None = None) -> None:
        """Stops tokens and kernel; what was produced is kept. Idempotent, returns at once (see `end`)."""
        self._stop.cancel(error)

    def steer(self, messages: list[e.InputMessage], *, steer_id: str) -> None:
        """Takes in what the user says meanwhile: the answer ends before its next turn, and a successor follows.

        May be repeated. Raises `InvalidRequest` when the run has ended, or when too much waits already.
        """
        if steer_id in self._steers:
            return
        if self.log.ended or self.response.status != "in_progress":
            raise InvalidRequest(f"The response '{self.id}' has ended.", code="response_already_completed")
        if len(self.steering) + len(messages) > MAX_STEERING:
            raise InvalidRequest(f"{len(self.steering)} messages wait already.", code="too_many_pending_steers")
        self.steering += messages
        self._steers.add(steer_id)
        self._stop.steer()
        self.log.append(e.SteerAccepted(steer=e.SteerRef(steer_id, self.id, self.successor_id)))

    def settle(self, successor: "Run | None") -> None:
        """Says what follows this run, once it has ended."""
        self._successor = successor
        self._settled.set()

    async def successor(self) -> "Run | None":
        """Returns once the run is over for the server too: what goes on with its steering, None without."""
        await self._settled.wait()
        return self._successor

    def abandon(self) -> None:
        """Ends all waiting for the database. What it lacks, another process adds when the lease has run out."""
        self._recorder.abandon()

    async def end(self) -> None:
        """Returns once the run has ended."""
        await self.log.closed()


class Runs:
    """All runs of this process that are under way."""

    def __init__(self, tasks: TaskGroup, *, writer: EventWriter, max_concurrent: int) -> None:
        self.writer = writer
        self.metrics = Metrics()
        self._tasks = tasks
        self._max_concurrent = max_concurrent
        self._live: dict[str, Run] = {}
        self._settling: dict[str, Run] = {}
        self._locked: set[str] = set()
        self._preparing: list[str] = []
        self._stopping = False
        self._one_gone = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, get_store: Callable[[], Awaitable[Store]], *, events_ttl_s: float, max_concurrent: int
    ) -> AsyncIterator["Runs"]:
        """Owns every run's task. Leaving stops the runs (failed, `server_restarted`), within a deadline."""
        async with anyio.create_task_group() as tasks:
            writer = EventWriter(get_store, kept_s=events_ttl_s)
            tasks.start_soon(writer.run)
            runs = cls(tasks, writer=writer, max_concurrent=max_concurrent)
            try:
                yield runs
            finally:
                with anyio.CancelScope(shield=True):
                    await runs.stop(drain_s=0)
                tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def reserve(self, conversation_id: str | None, *, owner: str) -> AsyncIterator[None]:
        """Holds a place, and the conversation, while a request is being prepared; `start` takes both over.

        Raises `Overloaded` or `ConversationLocked`: one run at a time in a conversation, since it has one kernel.
        """
        if self._stopping:
            raise Overloaded("The server is stopping; ask again in a moment.")
        if len(self._live) + len(self._preparing) >= self._max_concurrent:
            raise Overloaded(f"All {self._max_concurrent} places for running responses are taken; try again soon.")
        if conversation_id is not None and (
            conversation_id in self._locked
            or any(run.conversation_id == conversation_id for run in self._live.values())
        ):
            raise ConversationLocked(
                f"The conversation {conversation_id} is answering another request; wait for its end or cancel it.",
                param="conversation",
            )
        if conversation_id is not None:
            self._locked.add(conversation_id)
        self._preparing.append(owner)
        try:
            yield
        finally:
            self._preparing.remove(owner)
            self._locked.discard(conversation_id or "")

    def start(
        self,
        run: Run,
        produce: Callable[[], Awaitable[None]],
        *,
        then: Callable[[Run], Awaitable[Run | None]],
    ) -> None:
        """Starts producing, by `Run.produce`; the run is found under its id from now on.

        `then` gives what follows its end.
        """
        self._live[run.id] = run
        self._tasks.start_soon(self._see_through, run, produce, then)

    def find(self, response_id: str, *, owner: str) -> Run | None:
        """The run of this process, until all of it is in the database; never another owner's."""
        run = self._live.get(response_id)
        if run is None and (settling := self._settling.get(response_id)) is not None and settling.response.store:
            run = settling
        return run if run is not None and run.owner == owner else None

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
        with structlog.contextvars.bound_contextvars(response=run.id, owner=run.owner):
            log.info("response started", conversation=run.conversation_id, model=run.response.model)
            try:
                await produce()
            finally:
                del self._live[run.id]
                self.metrics.ended(run.response)
                log.info("response ended", status=run.response.status, total_s=run.response.ledger.total_s)
            self._settling[run.id] = run
            try:
                await run.stored()
            finally:
                del self._settling[run.id]
                self._one_gone.set()
            successor: Run | None = None
            try:
                successor = await then(run)
            except Exception:
                log.exception("what follows a response failed by an error of ours")
            finally:
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
        while self.at_work:
            self._one_gone = anyio.Event()
            await self._one_gone.wait()

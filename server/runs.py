"""Runs: a checked request enters, a numbered log of encoded events leaves, read by any number of subscribers.

A run belongs to the server, not to a socket: a subscriber holds an index into the log and reads at its own
pace, so that a slow or lost client changes nothing for the run or for others.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import structlog
from anyio.abc import TaskGroup

from codeact import events as e
from codeact.agent import AgentOptions, Stop, answer
from codeact.errors import ConversationLocked, InvalidRequest, NotFound, Overloaded, StoreError
from codeact.ids import new_id
from codeact.models import Model
from codeact.store import Store, offload
from codeact.workspace import Workspace

__all__ = ["Run", "Runs"]

log = structlog.get_logger(__name__)

KEEP_ENDED_BYTES = 64_000_000
CLOSE_DEADLINE_S = 15.0
MAX_STEERING = 16


class Run:
    """One response being produced. `frames` holds its events as JSON texts, in order; it only grows."""

    def __init__(self, response: e.Response, *, owner: str, conversation_id: str, store: Store) -> None:
        self.response = response
        self.owner = owner
        self.conversation_id = conversation_id
        self.started = time.monotonic()
        self.frames: list[str] = []
        self.size_bytes = 0
        self.ended = False
        self.steering: list[e.InputMessage] = []
        self._successor: Run | None = None
        self._settled = anyio.Event()
        self._store = store
        self._stop = Stop()
        self._grown: anyio.Event | None = None

    @property
    def id(self) -> str:
        return self.response.id

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
                emit=self._emit,
                stop=self._stop,
                started=self.started,
            )
        except StoreError as error:
            log.error("response not stored", response=self.id, reason=error.message)
            self.response.status = "failed"
            self.response.error = e.ResponseError(error.code, error.message)
            self._append(e.ResponseFailed(response=self.response))
        finally:
            self.ended = True
            self._wake()

    def cancel(self, error: e.ResponseError | None = None) -> None:
        """Stops tokens and kernel; what was produced is kept. Idempotent, returns at once (see `end`)."""
        self._stop.cancel(error)

    def steer(self, messages: list[e.InputMessage]) -> None:
        """Takes in what the user says meanwhile: the answer ends before its next turn, and a successor follows.

        Raises `InvalidRequest` when the run has ended, or when too much waits already.
        """
        if self.ended or self.response.status != "in_progress":
            raise InvalidRequest(f"The response '{self.id}' has ended.", code="response_already_completed")
        if len(self.steering) + len(messages) > MAX_STEERING:
            raise InvalidRequest(f"{len(self.steering)} messages wait already.", code="too_many_pending_steers")
        self.steering += messages
        self._stop.steer()
        self._append(e.SteerAccepted(steer=e.SteerRef(new_id("steer"), self.id)))

    def settle(self, successor: "Run | None") -> None:
        """Says what follows this run, once it has ended."""
        self._successor = successor
        self._settled.set()

    async def successor(self) -> "Run | None":
        """Returns once the run is over for the server too: what goes on with its steering, None without."""
        await self._settled.wait()
        return self._successor

    async def end(self) -> None:
        """Returns once the run has ended."""
        while not self.ended:
            await self._growth()

    async def subscribe(self, start: int = 0) -> AsyncGenerator[str, None]:
        """The log's frames from index `start`, then each new one, until the run has ended.

        Frame `i` has sequence_number `i`. Cancelling loses nothing: subscribe again at the next index.
        """
        index = start
        while True:
            while index < len(self.frames):
                yield self.frames[index]
                index += 1
            if self.ended:
                return
            await self._growth()

    async def _emit(self, event: e.Event) -> None:
        """Stores what the event acknowledges, then numbers and logs it."""
        if isinstance(event, e.OutputItemDone) and self.response.store:
            await offload(event.item, self._put_blob)
            await self._store.add_item(self.id, event.output_index, event.item)
        elif isinstance(event, e.TerminalEvent):
            if self.response.usage is not None:
                await self._store.access.add_tokens(self.owner, self.response.usage.total_tokens, datetime.now(UTC))
            if self.response.store:
                await self._store.end_response(self.response)
        self._append(event)

    async def _put_blob(self, data: bytes, media_type: str) -> str:
        return await self._store.put_blob(data, media_type, owner=self.owner)

    def _append(self, event: e.Event) -> None:
        event.sequence_number = len(self.frames)
        frame = e.encode(event).decode()
        self.frames.append(frame)
        self.size_bytes += len(frame)
        self._wake()

    async def _growth(self) -> None:
        if self._grown is None:
            self._grown = anyio.Event()
        await self._grown.wait()

    def _wake(self) -> None:
        if self._grown is not None:
            self._grown.set()
            self._grown = None


class Runs:
    """All runs of this process: those under way, and ended ones while their logs fit into 64 MB."""

    def __init__(self, tasks: TaskGroup, *, max_concurrent: int) -> None:
        self._tasks = tasks
        self._draining = False
        self._max_concurrent = max_concurrent
        self._live: dict[str, Run] = {}
        self._ended: OrderedDict[str, Run] = OrderedDict()
        self._locked: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, *, max_concurrent: int) -> AsyncIterator["Runs"]:
        """Owns every run's task. Leaving stops the runs (failed, `server_restarted`), within a deadline."""
        async with anyio.create_task_group() as tasks:
            runs = cls(tasks, max_concurrent=max_concurrent)
            try:
                yield runs
            finally:
                with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True):
                    await runs.stop()
                tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def reserve(self, conversation_id: str | None) -> AsyncIterator[None]:
        """Holds a place, and the conversation, while a request is being prepared; `start` takes both over.

        Raises `Overloaded` or `ConversationLocked`: one run at a time in a conversation, since it has one kernel.
        """
        if self._draining:
            raise Overloaded("The server is stopping; ask again in a moment.")
        if len(self._live) >= self._max_concurrent:
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
        try:
            yield
        finally:
            self._locked.discard(conversation_id or "")

    def start(
        self,
        run: Run,
        context: list[e.Input | e.Item],
        *,
        model: Model,
        workspace: Workspace,
        options: AgentOptions,
        then: Callable[[Run], Awaitable[Run | None]],
    ) -> None:
        """Starts producing; the run is found under its id from now on. `then` gives what follows its end."""
        self._live[run.id] = run
        self._tasks.start_soon(self._produce, run, context, model, workspace, options, then)

    def get(self, response_id: str, *, owner: str) -> Run:
        """A run of this process. Raises `NotFound`, also for another owner's."""
        run = self._live.get(response_id) or self._ended.get(response_id)
        if run is None or run.owner != owner:
            raise NotFound(f"There is no response '{response_id}'.", param="response_id")
        return run

    def forget(self, response_id: str) -> None:
        """Lets an ended run go. Idempotent."""
        self._ended.pop(response_id, None)

    @property
    def live(self) -> int:
        return len(self._live)

    def live_of(self, owner: str) -> int:
        return sum(run.owner == owner for run in self._live.values())

    async def _produce(
        self,
        run: Run,
        context: list[e.Input | e.Item],
        model: Model,
        workspace: Workspace,
        options: AgentOptions,
        then: Callable[[Run], Awaitable[Run | None]],
    ) -> None:
        with structlog.contextvars.bound_contextvars(response=run.id, owner=run.owner):
            log.info("response started", conversation=run.conversation_id, model=model.name)
            try:
                await run.produce(context, model=model, workspace=workspace, options=options)
            finally:
                del self._live[run.id]
                if run.response.store:
                    self._keep(run)
                log.info("response ended", status=run.response.status, total_s=run.response.ledger.total_s)
            successor: Run | None = None
            try:
                successor = await then(run)
            except Exception:
                log.exception("what follows a response failed by an error of ours")
            finally:
                run.settle(successor)

    def _keep(self, run: Run) -> None:
        self._ended[run.id] = run
        size_bytes = sum(ended.size_bytes for ended in self._ended.values())
        while size_bytes > KEEP_ENDED_BYTES and len(self._ended) > 1:
            size_bytes -= self._ended.popitem(last=False)[1].size_bytes

    def drain(self) -> None:
        """Takes no more runs; those under way go on."""
        self._draining = True

    async def stop(self) -> None:
        """Ends every run under way as failed (`server_restarted`) and waits for the ends. Idempotent."""
        error = e.ResponseError("server_restarted", "The server stopped while it was answering; ask again.")
        for run in list(self._live.values()):
            run.cancel(error)
        for run in list(self._live.values()):
            await run.end()

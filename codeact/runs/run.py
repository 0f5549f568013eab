"""One run: answers a checked request, and logs the events of the answer for any number of clients.

A run belongs to the server, not to a connection: a slow or lost client affects neither the run nor other clients.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
import msgspec

from codeact import events as e
from codeact.agent.loop import AgentOptions, Load, Stop, answer
from codeact.errors import CodeActError, InvalidRequest, ResponseTakenOver, StoreError, first_of
from codeact.ids import new_id
from codeact.model import Model
from codeact.runs.event_log import EventLog, EventWriter
from codeact.runs.recorder import Recorder
from codeact.store.allowance import Allowance
from codeact.store.run_store import RunStore
from codeact.workspaces.workspace import Workspace
from sandbox_pool.logs import Logger

__all__ = ["RESTARTED", "Run"]

log = Logger(__name__)

MAX_STEERING = 16
RESTARTED = e.ResponseError("server_restarted", "The server stopped while it was answering; ask again.")


class Run:
    """One response while this server produces it. `log` has its events."""

    def __init__(
        self,
        response: e.Response,
        *,
        owner: str,
        conversation_id: str,
        store: RunStore,
        writer: EventWriter,
        store_timeout_s: float,
        allowance: Allowance | None = None,
    ) -> None:
        self.response = response
        self.owner = owner
        self.conversation_id = conversation_id
        self.started = time.monotonic()
        self.steering: list[e.InputMessage] = []
        self.successor_id = new_id("resp", after=response.id)
        self._steers: set[str] = set()
        self._successor: Run | None = None
        self._settled = anyio.Event()
        self.allowance = allowance or Allowance()
        self._recorder = Recorder(
            response, owner=owner, store=store, writer=writer, store_timeout_s=store_timeout_s, allowance=self.allowance
        )
        self.conversation: Sequence[e.Input | e.Item] = ()
        """What a compaction alone was made of; images of the user's are blobs."""
        self._stop = Stop()
        self._turn: Callable[[], Awaitable[None]] | None = None

    @property
    def id(self) -> str:
        return self.response.id

    @property
    def log(self) -> EventLog:
        return self._recorder.log

    async def produce(
        self,
        load: Load,
        *,
        model: Model,
        workspace: Workspace,
    ) -> None:
        """Answers, and writes the events to the log, with exactly one terminal event even if the store fails."""
        try:
            await answer(
                self.response,
                (),
                model=model,
                workspace=workspace,
                options=AgentOptions(),
                load=load,
                emit=self._recorder.emit,
                stop=self._stop,
                started=self.started,
                turn=self._turn,
            )
        except Exception as failure:
            error = first_of(failure)
            if not isinstance(error, StoreError):
                raise
            log.error("response not stored", response=self.id, reason=error.message)
            self._recorder.fail(error)
        finally:
            self.log.end()

    def fail(self, error: CodeActError) -> None:
        """Ends the response as failed, after an unexpected error."""
        self._recorder.fail(error)
        self.log.end()

    def wait_for(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Delays the answer until `turn` returns; until then the response is `queued`. Call it before `produce`."""
        self.response.status = "queued"
        self._turn = turn

    @property
    def is_queued(self) -> bool:
        """Whether the run waits, or has waited, for capacity before it answers."""
        return self._turn is not None

    def before_end(self, work: Callable[[], Awaitable[None]]) -> None:
        """Has `work` done before readers hear of the end, if the response is stored. It may raise `StoreError`."""
        self._recorder.before_end = work

    async def store_created(self) -> None:
        """See `Recorder.store_created`."""
        await self._recorder.store_created()

    def count_input(self, messages: list[e.Input], client_metadata: Mapping[str, str]) -> None:
        """Counts the bytes of what the client sent towards the owner's storage."""
        self._recorder.input_bytes = len(msgspec.json.encode(messages)) + len(msgspec.json.encode(client_metadata))

    async def stored(self) -> None:
        """Stores what is missing at the run's end; returns once everything that clients received is stored."""
        await self._recorder.settle()

    def cancel(self, error: e.ResponseError | None = None) -> None:
        """Stops the model and the kernel, and keeps what was produced. Idempotent; returns at once (see `end`)."""
        self._stop.cancel(error)

    def steer(self, messages: list[e.InputMessage], *, steer_id: str) -> None:
        """Accepts messages during the answer: it ends before its next turn, and a successor continues with them.

        A repeated call with the same `steer_id` does nothing. Raises the same errors as `check_steer`.
        """
        if steer_id in self._steers:
            return
        self.check_steer(len(messages))
        self.steering += messages
        self._steers.add(steer_id)
        self._stop.steer()
        self.log.append(e.SteerAccepted(steer=e.SteerRef(steer_id, self.id, self.successor_id)))

    def check_steer(self, messages: int) -> None:
        """Raises `InvalidRequest` if the run has ended, or if too many messages would wait for its end."""
        if self.log.ended or self.response.status not in ("queued", "in_progress"):
            raise InvalidRequest(f"The response '{self.id}' has ended.", code="response_already_completed")
        if len(self.steering) + messages > MAX_STEERING:
            raise InvalidRequest(f"{len(self.steering)} messages wait already.", code="too_many_pending_steers")

    def settle(self, successor: "Run | None") -> None:
        """Sets the run that follows this one, or None, after the end."""
        self._successor = successor
        self._settled.set()

    async def successor(self) -> "Run | None":
        """Waits until everything about the run is finished; returns the run that continues it, or None."""
        await self._settled.wait()
        return self._successor

    @property
    def is_lost(self) -> bool:
        """Whether another server has taken the response over, so that this one can store nothing more."""
        return isinstance(self.log.failure, ResponseTakenOver)

    def lose(self) -> None:
        """Stops the run because another server has taken the response over; readers get `ResponseTakenOver`."""
        self.log.failed(ResponseTakenOver())
        self._stop.cancel(RESTARTED)

    def abandon(self) -> None:
        """Stops waiting for the database. Another process stores the end once the lease has expired."""
        self._recorder.abandon()

    async def end(self) -> None:
        """Returns once the run has ended. Raises `ResponseTakenOver` if another server has taken it over."""
        await self.log.closed()
        if self.is_lost:
            raise ResponseTakenOver()

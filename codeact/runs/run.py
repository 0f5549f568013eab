"""One run: answers a checked request, and logs the events of the answer for any number of clients.

A run belongs to the server, not to a socket: a slow or lost client changes nothing for the run or for others.
"""

import time
from collections.abc import Awaitable, Callable, Sequence

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
    """One response that is being produced. `log` holds its events."""

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
        """Answers and fills the log. Ends with exactly one terminal event, also when the store gives up."""
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
        """Ends the response for its readers, after an unexpected error."""
        self._recorder.fail(error)
        self.log.end()

    def wait_for(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Has the answer begin once `turn` returns; until then the response is `queued`. Before `produce`."""
        self.response.status = "queued"
        self._turn = turn

    @property
    def is_queued(self) -> bool:
        """Whether it has to wait, or had to, before it answers."""
        return self._turn is not None

    async def store_created(self) -> None:
        """See `Recorder.store_created`."""
        await self._recorder.store_created()

    def count_input(self, messages: list[e.Input]) -> None:
        """Says what the client sent, which counts for what its owner keeps."""
        self._recorder.input_bytes = len(msgspec.json.encode(messages))

    async def stored(self) -> None:
        """Returns once the database knows all that clients were told; needed at every run's end."""
        await self._recorder.settle()

    def cancel(self, error: e.ResponseError | None = None) -> None:
        """Stops tokens and kernel; what was produced is kept. Idempotent, returns at once (see `end`)."""
        self._stop.cancel(error)

    def steer(self, messages: list[e.InputMessage], *, steer_id: str) -> None:
        """Takes in what the user says meanwhile: the answer ends before its next turn, and a successor follows.

        May be repeated. Raises as `check_steer`.
        """
        if steer_id in self._steers:
            return
        self.check_steer(len(messages))
        self.steering += messages
        self._steers.add(steer_id)
        self._stop.steer()
        self.log.append(e.SteerAccepted(steer=e.SteerRef(steer_id, self.id, self.successor_id)))

    def check_steer(self, messages: int) -> None:
        """Raises `InvalidRequest` when the run has ended, or when too much waits already for so many more."""
        if self.log.ended or self.response.status not in ("queued", "in_progress"):
            raise InvalidRequest(f"The response '{self.id}' has ended.", code="response_already_completed")
        if len(self.steering) + messages > MAX_STEERING:
            raise InvalidRequest(f"{len(self.steering)} messages wait already.", code="too_many_pending_steers")

    def settle(self, successor: "Run | None") -> None:
        """Says what follows this run, once it has ended."""
        self._successor = successor
        self._settled.set()

    async def successor(self) -> "Run | None":
        """Returns once the run is over for the server too: what goes on with its steering, None without."""
        await self._settled.wait()
        return self._successor

    @property
    def is_lost(self) -> bool:
        """Whether another server has taken the response over: nothing that comes from here counts any more."""
        return isinstance(self.log.failure, ResponseTakenOver)

    def lose(self) -> None:
        """Stops the run because another server has taken the response over, and tells clients so."""
        self.log.failed(ResponseTakenOver())
        self._stop.cancel(RESTARTED)

    def abandon(self) -> None:
        """Ends all waiting for the database. What it lacks, another process adds when the lease has run out."""
        self._recorder.abandon()

    async def end(self) -> None:
        """Returns once the run has ended. Raises `ResponseTakenOver` where another server ends it."""
        await self.log.closed()
        if self.is_lost:
            raise ResponseTakenOver()

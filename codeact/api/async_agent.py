"""`AsyncAgent`: a conversation in this process, answered by the same service as on a server."""

import asyncio
import copy
import inspect
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, suppress
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import anyio

from codeact import events as e
from codeact.api.arguments import OF_POOLS, check_settings, limit_settings, merged, reasoning_config
from codeact.api.components import chosen_model, opened_service, opened_store, stored_items
from codeact.api.images import image_parts
from codeact.api.local_files import Paths, file_parts
from codeact.api.model_argument import model_of
from codeact.api.output import parsed, text_config
from codeact.api.pool import Pool
from codeact.api.question import Question
from codeact.api.result import AnswerFailed, Result, messages_of, result_of
from codeact.api.states import Checkpoint, copied, saved_state
from codeact.api.written_files import OutputFile, written_files
from codeact.errors import NotFound, ResponseTakenOver
from codeact.ids import new_id
from codeact.model import Model, Sampling
from codeact.runs.new_run import NewRun
from codeact.runs.run import Run
from codeact.runs.service import RunService
from codeact.runs.streams import read_events
from codeact.runs.unread_events import UnreadEvents
from codeact.settings import Settings
from codeact.store.records import StoredResponse
from codeact.store.run_store import RunStore
from codeact.tools.approval import Judge
from codeact.tools.host_functions import Tool, host_functions
from codeact.workspaces.checkpoints import Checkpoints
from codeact.workspaces.workspace import Workspace
from sandbox_pool.spec import Limits

__all__ = ["AsyncAgent"]

EVENTS_AHEAD = 100
OWNER = "local"
OWN_POOL = {"pool_min": 1, "pool_max": 2}
"""The settings of an agent's own pool."""


class AsyncAgent:
    """A conversation with a model that acts by writing Python. It answers one question at a time.

    Use it as `async with AsyncAgent() as agent:`, and not from concurrent tasks. Entering raises `CodeActError` or
    `SandboxError` if there is no sandbox or no model; leaving ends the sandbox.

    Args:
        model: A litellm name, `demo`, any `Model`, or a function that takes messages and returns text; None means
            CODEACT_MODEL, or a model server on loopback.
        instructions: Added to the model's system prompt.
        tools: Your functions, which the model's code can call. They run in this process; the model sees their
            signatures and docstrings.
        files: Paths of local files. Code finds the files in its working directory.
        pool: Sandboxes that are shared with other agents; None: the agent has its own pool.
        limits: Limits for the sandbox; not together with `pool`, which has its own.
        sampling: All sampling parameters as one value, instead of the four that follow.
        temperature: Passed to the model, like `top_p` and `reasoning_effort`; None: its server decides.
        top_p: See `temperature`.
        max_output_tokens: The limit for one answer.
        reasoning_effort: See `temperature`.
        store: Where conversations are stored: None (in memory), `embedded`, the URI of a MongoDB, or an open store.
        conversation: The id of a stored conversation to continue.
        approve: A function that decides about code and calls before they happen: it takes an `ApprovalQuestion`, and
            returns True, False, a reason to reject, or a `Ruling`. It may be async. The setting `approval` says what it
            is asked about; by default everything.
        **settings: Any setting (`sandbox="docker"`, `dialect="tool_call"`, `max_turns=5`, …).

    Raises:
        TypeError: An argument does not exist.
        ConfigurationError: A setting has a wrong value.
    """

    def __init__(
        self,
        model: str | Model | Callable[..., Any] | None = None,
        *,
        instructions: str | None = None,
        tools: Iterable[Callable[..., Any] | Tool] = (),
        files: Paths = (),
        pool: Pool | None = None,
        limits: Limits | None = None,
        sampling: Sampling | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_output_tokens: int | None = None,
        reasoning_effort: str | None = None,
        store: RunStore | str | None = None,
        conversation: str | None = None,
        approve: Judge | None = None,
        **settings: Any,
    ) -> None:
        check_settings(settings, arguments=inspect.signature(AsyncAgent).parameters)
        if limits is not None:
            settings = limit_settings(limits) | settings
        of_sandboxes = settings.keys() & (OF_POOLS | OWN_POOL.keys()) - {"data_dir"}
        if pool is not None and of_sandboxes:
            raise TypeError(f"The sandboxes are the pool's: give it {', '.join(sorted(of_sandboxes))}.")
        name = model if isinstance(model, str) else None
        if approve is not None:
            settings.setdefault("approval", "always")
        self._approve = approve
        self._settings = Settings.load(model=name, **OWN_POOL | settings)
        self._own_pool = {name: settings[name] for name in settings.keys() & OF_POOLS}
        self._pool = pool
        self._given_model = None if isinstance(model, str | None) else model_of(model)
        self._instructions = instructions
        self._functions = host_functions(tools)
        single = Sampling(temperature, top_p, max_output_tokens, reasoning_effort)
        self._sampling = merged(single, sampling)
        self._dialect = self._settings.preferred_dialect if "dialect" in settings else None
        self._new_files = list(files)
        self._named_store = store
        self._to_load: bytes | None = None
        self._conversation_id = conversation
        self._stack: AsyncExitStack | None = None
        self._service: RunService | None = None
        self._checkpoints: Checkpoints | None = None
        self._back_at: str | None = None
        self._entered_pool: Pool | None = None
        self._store: RunStore | None = None
        self._said: list[e.Input | e.Item] = []
        self._asked_at = 0.0

    @classmethod
    def load(
        cls, path: str | PathLike[str], model: str | Model | Callable[..., Any] | None = None, **more: Any
    ) -> Self:
        """Creates an agent that continues a conversation from a file of `save`; takes the arguments of `AsyncAgent`.

        The variables of its kernel are gone, and the model is informed. Raises `OSError` if the file cannot be read.
        Entering the agent raises `InvalidRequest` if the file has no conversation.
        """
        agent = cls(model, **more)
        agent._to_load = Path(path).read_bytes()
        return agent

    async def __aenter__(self) -> Self:
        settings = self._settings
        async with AsyncExitStack() as stack:
            pool = self._pool
            if pool is None:
                own = Pool(min_size=settings.pool_min, max_size=settings.pool_max, **self._own_pool)
                pool = await stack.enter_async_context(own)
            store = await opened_store(self._named_store, settings, stack)
            if self._to_load is not None:
                from codeact.api.saved import load_into

                self._conversation_id = await load_into(store, self._to_load, owner=OWNER)
            model = await chosen_model(self._given_model, settings, stack)
            opened = await opened_service(settings, pool, store, model, stack, self._approve)
            self._service, self._checkpoints = opened
            self._entered_pool, self._store = pool, store
            self._said = await stored_items(store, self._conversation_id, owner=OWNER)
            stack.push_async_callback(self._release)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack, self._service = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    @property
    def conversation(self) -> str | None:
        """The conversation's id in the store; None before the first question."""
        return self._conversation_id

    async def run(self, task: str, **question: Unpack[Question]) -> Result:
        """Asks the model and returns its finished answer; `question` is described at `Question`.

        Cancelling stops the model and the kernel.

        Raises:
            AnswerFailed: The answer failed; `code` says why (`timeout` after `timeout` seconds).
            InvalidRequest: A file or an image cannot be read.
        """
        response: e.Response | None = None
        async with aclosing(self.stream(task, **question)) as events:
            async for event in events:
                if isinstance(event, e.TerminalEvent):
                    response = event.response
        assert response is not None
        if response.error is not None:
            raise AnswerFailed(response)
        result = await result_of(response, self._said, self._written_files, self._entered(), owner=OWNER)
        result.parsed = parsed(question.get("output"), response)
        return result

    async def stream(self, task: str, **question: Unpack[Question]) -> AsyncGenerator[e.Event, None]:
        """Works like `run`, but yields every event of the answer as it happens, with the terminal event last.

        Leaving the iteration early stops the model and the kernel. If the caller stops reading, the run waits after
        100 events, so that memory does not grow. Raises `InvalidRequest` for a file or an image that cannot be read.
        """
        message, run = await self._begin(task, question)
        self._said.append(message)
        timeout = question.get("timeout")
        seconds = f"{timeout:g} s" if timeout is not None else ""
        error = e.ResponseError("timeout", f"The answer was not complete after {seconds}.")
        timer = timeout and asyncio.get_running_loop().call_later(timeout, run.cancel, error)
        try:
            async with aclosing(read_events(run.log)) as batches:
                async for events in batches:
                    for event in events:
                        yield event
        finally:
            if timer:
                timer.cancel()
            run.cancel()
            with anyio.CancelScope(shield=True), suppress(ResponseTakenOver):
                await run.end()
            self._said += run.response.output

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation so far, as `{"role": …, "content": …}`."""
        return messages_of(self._said)

    async def save(self, path: str | PathLike[str]) -> None:
        """Writes the conversation as JSON, which `load` reads and servers can import. Raises `OSError`."""
        from codeact.api.saved import saved

        store = self._entered()
        await anyio.Path(path).write_bytes(await saved(await self._thread(), store, owner=OWNER))

    async def to_notebook(self, path: str | PathLike[str], *, title: str = "Conversation") -> None:
        """Writes the conversation as a Jupyter notebook, with the outputs of its code. Raises `OSError`."""
        from codeact.api.saved import written_notebook

        store = self._entered()
        written = await written_notebook(await self._thread(), store, title=title, owner=OWNER)
        await anyio.Path(path).write_bytes(written)

    async def checkpoint(self) -> Checkpoint:
        """Returns the saved state of the kernel after the last answer that ran code: its variables and files.

        It is saved after each answer anyway; this waits until it is. Raises `InvalidRequest` without a database
        (`store`), and if there is no state. Cancelling leaves the checkpoint under way.
        """
        store = self._entered()
        return await saved_state(store, self._checkpoints, self._workspace, self._conversation_id, owner=OWNER)

    async def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back, with the conversation, to the answer of a checkpoint: the next question continues there.

        Its code finds the variables and files of that point. What was said since stays in the database, as another
        branch. Raises `NotFound` if this conversation has no such answer.
        """
        store = self._entered()
        at = await store.threads.of_response(checkpoint.response_id, owner=OWNER)
        if at.conversation_id != self._conversation_id or at.previous is None:
            raise NotFound(f"'{checkpoint.response_id}' is not in this conversation.")
        self._said = [*await store.threads.history(at.previous)]
        self._back_at = checkpoint.response_id

    async def fork(self) -> Self:
        """Returns another agent, to be entered with `async with`, that goes on with a copy of this conversation.

        The copy has a kernel of its own, with the variables and files of this point. It uses the pool and the store of
        this agent, so leave it first. Raises `InvalidRequest` without a database, and if no question was asked.
        """
        store = self._entered()
        conversation_id = await copied(store, self._checkpoints, self._conversation_id, owner=OWNER)
        other = copy.copy(self)
        other._conversation_id, other._named_store, other._pool = conversation_id, store, self._entered_pool
        other._stack = other._service = other._checkpoints = other._to_load = other._back_at = None
        other._new_files, other._said = [], []
        return other

    # ---- private -------------------------------------------------------------------------------------

    async def _begin(self, task: str, question: Question) -> tuple[e.InputMessage, Run]:
        store = self._entered()
        assert self._service is not None
        self._asked_at = time.time()
        paths = [*self._new_files, *question.get("files", ())]
        files = await file_parts(paths, limit_mb=self._settings.file_mb, store=store, owner=OWNER)
        images = await image_parts(question.get("images", ()))
        content = [{"type": "input_text", "text": task}, *files, *images]
        message = e.InputMessage(id=new_id("msg"), role="user", content=content)
        sampling = self._sampling
        run = await self._service.create(
            NewRun(
                owner=OWNER,
                messages=[message],
                conversation_id=None if self._back_at is not None else self._conversation_id,
                previous_response_id=self._back_at,
                instructions=self._instructions,
                max_output_tokens=sampling.max_output_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=sampling.seed,
                reasoning=reasoning_config(sampling.reasoning_effort),
                functions=self._functions,
                text=text_config(question.get("output")),
                truncation="auto",
                dialect=self._dialect,
                collects_files=not store.in_memory,
            )
        )
        run.log.unread = UnreadEvents(most=EVENTS_AHEAD)
        self._conversation_id, self._back_at = run.conversation_id, None
        self._new_files = []
        return message, run

    async def _thread(self) -> list[StoredResponse]:
        from codeact.api.saved import thread_of

        store = self._entered()
        return [] if self._conversation_id is None else await thread_of(store, self._conversation_id, owner=OWNER)

    async def _written_files(self) -> list[OutputFile]:
        """Returns the files that code has written since the last question."""
        sandbox = self._workspace.living
        if sandbox is None:
            return []
        parts = [part for item in self._said if isinstance(item, e.InputMessage) for part in item.content]
        given = {part["filename"]: part["file_id"] for part in parts if part["type"] == "input_file"}
        with self._workspace.in_use():
            return await written_files(sandbox, since=self._asked_at, given=given)

    async def _release(self) -> None:
        """Releases the sandbox, since a shared pool outlives the agent."""
        if self._conversation_id is not None and self._entered_pool is not None:
            await self._entered_pool.workspaces.release(self._conversation_id, "its agent was closed")

    @property
    def _workspace(self) -> Workspace:
        assert self._entered_pool is not None
        return self._entered_pool.workspaces.get(self._conversation_id or "", owner=OWNER)

    def _entered(self) -> RunStore:
        if self._service is None or self._store is None:
            raise RuntimeError("An agent must be entered first: `async with AsyncAgent() as agent:`.")
        return self._store

"""The Python API: a task enters, an answer or its events leave, without a server or a database.

`Agent` for plain scripts, `AsyncAgent` for asyncio; each is one conversation with one sandbox, whose
variables last until it is closed.
"""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing
from types import TracebackType
from typing import Any, Literal, Self

import anyio
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal, start_blocking_portal

from codeact import events as e
from codeact import prompt
from codeact.agent import AgentOptions, Stop, answer, lost_kernel
from codeact.errors import CodeActError
from codeact.host_functions import host_functions
from codeact.ids import new_id
from codeact.logs import configure_quietly
from codeact.mcp_servers import McpServers, read_config
from codeact.models import Model
from codeact.settings import Settings
from codeact.tools import Toolbox
from codeact.workspace import Workspace
from sandbox_pool import SandboxPool

__all__ = ["Agent", "AsyncAgent"]

EVENTS_AHEAD = 100


class AsyncAgent:
    """A conversation with a model that acts by writing Python. Not for concurrent tasks: one question at a time.

    `model` is a litellm name, `demo`, or any `Model`; None takes CODEACT_MODEL, or what answers on loopback.
    `tools` are functions of yours that the model's code can call: they run here, in this process, and their
    signatures and docstrings are what the model sees. Other arguments are settings (`sandbox="docker"`,
    `max_turns=5`, …). Entering it raises `CodeActError` or `SandboxError` when no sandbox or no model can be had.
    """

    def __init__(
        self,
        model: str | Model | None = None,
        *,
        instructions: str | None = None,
        tools: Iterable[Callable[..., Any]] = (),
        **settings: Any,
    ) -> None:
        name = model if isinstance(model, str) else None
        self._settings = Settings.load(model=name, **{"pool_min": 1, "pool_max": 2} | settings)
        self._model = model if not isinstance(model, str | None) else None
        self._instructions = instructions
        self._functions = host_functions(tools)
        self._mcp: McpServers | None = None
        self._context: list[e.Input | e.Item] = []
        self._stack: AsyncExitStack | None = None
        self._workspace: Workspace | None = None
        self._tasks: TaskGroup | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """An agent with exactly these settings; its pool keeps one sandbox warm, not a server's number."""
        agent = cls()
        agent._settings = settings.model_copy(update={"pool_min": 1, "pool_max": 2})
        return agent

    async def __aenter__(self) -> Self:
        from sandbox_pool.backends.auto import open_backend

        configure_quietly()
        settings, spec = self._settings, self._settings.sandbox_spec
        async with AsyncExitStack() as stack:
            found = await open_backend(
                settings.sandbox, spec, state_dir=settings.data_dir / "run", progress=lambda line: None
            )
            pool = SandboxPool(spec, backend=found.backend, min_size=settings.pool_min, max_size=settings.pool_max)
            await stack.enter_async_context(pool)
            if self._model is None:
                from codeact.models.discovery import find_models

                chosen = await find_models(settings)
                stack.push_async_callback(chosen.close)
                self._model = chosen.served.default

            async def get_pool() -> SandboxPool:
                return pool

            servers = read_config(settings.mcp_config) if settings.mcp_config is not None else {}
            mcp = McpServers.open(servers, call_timeout_s=settings.call_timeout_s)
            self._mcp = await stack.enter_async_context(mcp)
            self._workspace = Workspace(get_pool, owner="local")
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack, self._workspace = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    async def run(self, task: str) -> e.Response:
        """The finished response: `output_text`, `output`, `usage`. Raises `CodeActError` when it failed.

        Cancelling stops the model and the kernel.
        """
        response: e.Response | None = None
        async with aclosing(self.stream(task)) as events:
            async for event in events:
                if isinstance(event, e.TerminalEvent):
                    response = event.response
        assert response is not None
        if response.error is not None:
            raise CodeActError(response.error.message, code=response.error.code)
        return response

    async def stream(self, task: str) -> AsyncGenerator[e.Event, None]:
        """Every event of the answer, the terminal one last. Leaving the iteration early stops model and kernel.

        A consumer that stops reading holds the run back after 100 events, so that nothing grows.
        """
        if self._workspace is None or self._model is None or self._tasks is None:
            raise RuntimeError("An agent must be entered first: `async with AsyncAgent() as agent:`.")
        response = e.Response(
            id=new_id("resp"), created_at=time.time(), model=self._model.name, instructions=self._instructions
        )
        if reason := lost_kernel(self._context, self._workspace):
            response.notices.append(e.Notice("kernel_replaced", f"A new kernel was started: {reason}."))
            self._say("developer", prompt.kernel_lost(reason))
        self._say("user", task)
        send, receive = anyio.create_memory_object_stream[e.Event](EVENTS_AHEAD)
        stop, ended = Stop(), anyio.Event()

        async def emit(event: e.Event) -> None:
            with contextlib.suppress(anyio.BrokenResourceError):
                await send.send(event)

        async def produce(model: Model, workspace: Workspace) -> None:
            try:
                with send:
                    await answer(
                        response,
                        self._context,
                        model=model,
                        workspace=workspace,
                        options=self._options(),
                        emit=emit,
                        stop=stop,
                    )
            finally:
                ended.set()

        self._tasks.start_soon(produce, self._model, self._workspace)
        try:
            with receive:
                async for event in receive:
                    yield event
        finally:
            stop.cancel()
            with anyio.CancelScope(shield=True):
                await ended.wait()
            self._context.extend(response.output)

    def _say(self, role: Literal["user", "developer"], text: str) -> None:
        part = {"type": "input_text", "text": text}
        self._context.append(e.InputMessage(id=new_id("msg"), role=role, content=[part]))

    def _options(self) -> AgentOptions:
        settings = self._settings
        return AgentOptions(
            max_turns=settings.max_turns,
            observation_chars=settings.observation_chars,
            instructions=self._instructions,
            limits=settings.sandbox_spec.limits,
            toolbox=Toolbox([*self._functions, *(self._mcp.functions if self._mcp is not None else ())]),
            call_timeout_s=settings.call_timeout_s,
        )


class Agent:
    """`AsyncAgent` for code without asyncio: `with Agent() as agent: print(agent.run("…").output_text)`.

    Its event loop runs in a thread of its own. Not for concurrent threads: one question at a time.
    """

    def __init__(
        self,
        model: str | Model | None = None,
        *,
        instructions: str | None = None,
        tools: Iterable[Callable[..., Any]] = (),
        **settings: Any,
    ) -> None:
        self._agent = AsyncAgent(model, instructions=instructions, tools=tools, **settings)
        self._stack: ExitStack | None = None
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(self._portal.wrap_async_context_manager(self._agent))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack, self._portal = self._stack, None, None
        if stack is not None:
            stack.close()

    def run(self, task: str) -> e.Response:
        """As `AsyncAgent.run`."""
        return self._entered().call(self._agent.run, task)

    def stream(self, task: str) -> Iterator[e.Event]:
        """As `AsyncAgent.stream`."""
        portal = self._entered()
        events = self._agent.stream(task)
        try:
            while True:
                try:
                    yield portal.call(events.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            portal.call(events.aclose)

    def _entered(self) -> BlockingPortal:
        if self._portal is None:
            raise RuntimeError("An agent must be entered first: `with Agent() as agent:`.")
        return self._portal

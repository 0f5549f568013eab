"""`Agent`: `AsyncAgent` for programs without asyncio."""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Any, Self, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal

from codeact import events as e
from codeact.api.async_agent import AsyncAgent
from codeact.api.blocking import call
from codeact.api.question import Question
from codeact.api.result import Result
from codeact.api.states import Checkpoint
from codeact.model import Model

__all__ = ["Agent"]


class Agent:
    """`AsyncAgent` for code without asyncio: `with Agent() as agent: print(agent.run("…").answer)`.

    It takes the same arguments. Its event loop runs in its own thread, or in that of its `pool`. It answers one
    question at a time: do not call it from several threads at once. Ctrl-C stops the model and the kernel; then `run`,
    or the iteration of `stream`, raises `KeyboardInterrupt`.
    """

    def __init__(self, model: str | Model | Callable[..., Any] | None = None, **arguments: Any) -> None:
        self._agent = AsyncAgent(model, **arguments)
        self._pool = arguments.get("pool")
        self._stack: ExitStack | None = None
        self._portal: BlockingPortal | None = None
        self._shared_portal: BlockingPortal | None = None

    @classmethod
    def load(
        cls, path: str | PathLike[str], model: str | Model | Callable[..., Any] | None = None, **more: Any
    ) -> Self:
        """Like `AsyncAgent.load`."""
        agent = cls(model, **more)
        agent._agent = AsyncAgent.load(path, model, **more)
        return agent

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._shared_portal is not None:
                self._portal = self._shared_portal
            elif self._pool is None:
                self._portal = stack.enter_context(start_blocking_portal())
            elif self._pool.portal is None:
                raise RuntimeError("The pool must be entered first: `with Pool() as pool:`.")
            else:
                self._portal = self._pool.portal
            stack.enter_context(self._portal.wrap_async_context_manager(self._agent))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack, self._portal = self._stack, None, None
        if stack is not None:
            stack.close()

    @property
    def conversation(self) -> str | None:
        """Like `AsyncAgent.conversation`."""
        return self._agent.conversation

    def run(self, task: str, **question: Unpack[Question]) -> Result:
        """Like `AsyncAgent.run`."""
        result = call(self._entered(), partial(self._agent.run, task, **question))
        result.portal = self._portal
        return result

    def stream(self, task: str, **question: Unpack[Question]) -> Iterator[e.Event]:
        """Like `AsyncAgent.stream`."""
        portal = self._entered()
        events = self._agent.stream(task, **question)
        try:
            while True:
                try:
                    yield call(portal, events.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            portal.call(events.aclose)

    @property
    def messages(self) -> list[dict[str, str]]:
        """Like `AsyncAgent.messages`."""
        return self._agent.messages

    def save(self, path: str | PathLike[str]) -> None:
        """Like `AsyncAgent.save`."""
        call(self._entered(), partial(self._agent.save, path))

    def to_notebook(self, path: str | PathLike[str], *, title: str = "Conversation") -> None:
        """Like `AsyncAgent.to_notebook`."""
        call(self._entered(), partial(self._agent.to_notebook, path, title=title))

    def checkpoint(self) -> Checkpoint:
        """Like `AsyncAgent.checkpoint`."""
        return call(self._entered(), self._agent.checkpoint)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Like `AsyncAgent.restore`."""
        call(self._entered(), partial(self._agent.restore, checkpoint))

    def fork(self) -> Self:
        """Like `AsyncAgent.fork`; enter it with `with`, inside this agent's own `with` block."""
        other = copy.copy(self)
        other._shared_portal = self._entered()
        other._agent = call(other._shared_portal, self._agent.fork)
        other._stack = other._portal = None
        return other

    def _entered(self) -> BlockingPortal:
        if self._portal is None:
            raise RuntimeError("An agent must be entered first: `with Agent() as agent:`.")
        return self._portal

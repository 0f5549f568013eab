"""The object that `SandboxPool.acquire` returns, which can be awaited or entered."""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["Acquire"]


class Acquire(AbstractAsyncContextManager[Sandbox]):
    """A request for a sandbox that has not begun. Use it once: `await` it to get the sandbox, or enter it with
    `async with`, which also releases the sandbox at the end.
    """

    def __init__(
        self,
        lend: Callable[[], Coroutine[Any, Any, Sandbox]],
        release: Callable[[Sandbox], Awaitable[None]],
    ) -> None:
        self._lend = lend
        self._release = release
        self._sandbox: Sandbox | None = None

    def __await__(self) -> Generator[Any, None, Sandbox]:
        return self._lend().__await__()

    async def __aenter__(self) -> Sandbox:
        self._sandbox = await self
        return self._sandbox

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sandbox is not None
        await self._release(self._sandbox)

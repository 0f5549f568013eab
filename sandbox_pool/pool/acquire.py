"""What `SandboxPool.acquire` returns: `await` it, or enter it to have the sandbox released at the end."""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["Acquire"]


class Acquire(AbstractAsyncContextManager[Sandbox]):
    """An acquire that has not begun: `await` it, or enter it to have the sandbox released at the end. Once."""

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

"""The sandboxes of agents in this process: each agent has its own pool, or several share one."""

from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from codeact.api.arguments import OF_POOLS, check_settings
from codeact.settings import Settings
from codeact.workspaces.registry import Workspaces
from sandbox_pool import SandboxPool

__all__ = ["Pool"]

NEVER_IDLE_S = 1e8
MAX_WAITING = 10_000


class Pool:
    """Sandboxes that agents share: `with Pool(max_size=20) as pool: Agent(pool=pool)`, or the same with `async with`.

    Any number of agents may use it. Each agent has its own sandbox while its code runs, and keeps it, with its
    variables, as long as there are enough. If another agent needs one and there is none left, it gets a new sandbox in
    place of the one that was unused for longest, whose agent's model is informed. If all are in use, an agent waits (up
    to `acquire_timeout_s`).

    Args:
        max_size: The largest number of sandboxes.
        min_size: The smallest number of warm sandboxes, ready for use.
        **settings: Settings of sandboxes (`sandbox="docker"`, `memory_mb=512`, …).

    Raises:
        TypeError: An argument does not exist.
        ConfigurationError: A setting has a wrong value.
    """

    def __init__(self, *, max_size: int = 16, min_size: int = 1, **settings: Any) -> None:
        check_settings(settings, arguments=("max_size", "min_size"), accepted=OF_POOLS, of="A pool")
        self._settings = Settings.load(pool_min=min(min_size, max_size), pool_max=max_size, **settings)
        self._stack: AsyncExitStack | None = None
        self._threads: ExitStack | None = None
        self._sandboxes: SandboxPool | None = None
        self._workspaces: Workspaces | None = None
        self.portal: BlockingPortal | None = None

    @property
    def sandboxes(self) -> SandboxPool:
        """The pool of the library `sandbox_pool`. Raises `RuntimeError` before the pool is entered."""
        if self._sandboxes is None:
            raise RuntimeError("A pool must be entered first: `with Pool() as pool:`.")
        return self._sandboxes

    @property
    def workspaces(self) -> Workspaces:
        """The workspaces, which assign sandboxes to agents. Raises `RuntimeError` before the pool is entered."""
        if self._workspaces is None:
            raise RuntimeError("A pool must be entered first: `with Pool() as pool:`.")
        return self._workspaces

    async def __aenter__(self) -> Self:
        from sandbox_pool.backends.registry import open_backend

        settings, spec = self._settings, self._settings.sandbox_spec
        async with AsyncExitStack() as stack:
            opened = await open_backend(
                settings.sandbox, spec, state_dir=settings.data_dir / "run", progress=lambda line: None
            )
            sandboxes = SandboxPool(
                spec,
                backend=opened.backend,
                min_size=settings.pool_min,
                max_size=settings.pool_max,
                max_waiting=MAX_WAITING,
                acquire_timeout_s=settings.acquire_timeout_s,
            )
            self._sandboxes = await stack.enter_async_context(sandboxes)

            async def get_pool() -> SandboxPool:
                return sandboxes

            workspaces = Workspaces.open(get_pool, idle_timeout_s=NEVER_IDLE_S)
            self._workspaces = await stack.enter_async_context(workspaces)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack, self._sandboxes, self._workspaces = self._stack, None, None, None
        if stack is not None:
            await stack.aclose()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(self.portal.wrap_async_context_manager(self))
            self._threads = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._threads, self.portal = self._threads, None, None
        if stack is not None:
            stack.close()

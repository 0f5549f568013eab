"""The sandboxes of agents in this process: each agent has a pool of its own, or many share one."""

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
MOST_WAITING = 10_000


class Pool:
    """Sandboxes that agents share: `with Pool(max_size=20) as pool: Agent(pool=pool)`, or the same with `async with`.

    Any number of agents may use it. Each has a sandbox of its own while its code runs, and keeps it, with its
    variables, until another agent needs one and all others are in use: the sandbox that was unused for longest goes,
    and its agent's model is told so. Whoever finds all of them in use waits (`acquire_timeout_s`).

    Args:
        max_size: How many sandboxes there are at most.
        min_size: How many wait warm at least.
        **settings: Settings of sandboxes (`sandbox="docker"`, `memory_mb=512`, …).

    Raises:
        TypeError: There is no such argument.
        ConfigurationError: A setting has a wrong value.
    """

    def __init__(self, *, max_size: int = 16, min_size: int = 1, **settings: Any) -> None:
        check_settings(settings, arguments=("max_size", "min_size"), taken=OF_POOLS, of="A pool")
        self._settings = Settings.load(pool_min=min(min_size, max_size), pool_max=max_size, **settings)
        self._stack: AsyncExitStack | None = None
        self._threads: ExitStack | None = None
        self._sandboxes: SandboxPool | None = None
        self._workspaces: Workspaces | None = None
        self.portal: BlockingPortal | None = None

    @property
    def sandboxes(self) -> SandboxPool:
        """The pool of the library `sandbox_pool`. Raises `RuntimeError` before it was entered."""
        if self._sandboxes is None:
            raise RuntimeError("A pool must be entered first: `with Pool() as pool:`.")
        return self._sandboxes

    @property
    def workspaces(self) -> Workspaces:
        """Who has which sandbox. Raises `RuntimeError` before it was entered."""
        if self._workspaces is None:
            raise RuntimeError("A pool must be entered first: `with Pool() as pool:`.")
        return self._workspaces

    async def __aenter__(self) -> Self:
        from sandbox_pool.backends.registry import open_backend

        settings, spec = self._settings, self._settings.sandbox_spec
        async with AsyncExitStack() as stack:
            found = await open_backend(
                settings.sandbox, spec, state_dir=settings.data_dir / "run", progress=lambda line: None
            )
            sandboxes = SandboxPool(
                spec,
                backend=found.backend,
                min_size=settings.pool_min,
                max_size=settings.pool_max,
                max_waiting=MOST_WAITING,
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

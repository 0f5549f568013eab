"""A supervisor whose background tasks a test can make fail, one at a time."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from sandbox_pool.supervision import Supervisor, Work


class Injected(RuntimeError):
    """The error of a broken task."""


class Breakable(Supervisor):
    """A broken task raises at once, and after each restart, until it is repaired."""

    def __init__(self) -> None:
        super().__init__(first_pause_s=0.02, longest_pause_s=0.1, most_failures=1_000_000)
        self._broken: set[str] = set()
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._raised: dict[str, threading.Event] = {}

    async def run(self, name: str, work: Work) -> None:
        self._loop = asyncio.get_running_loop()
        with anyio.CancelScope() as scope:
            self._scopes[name] = scope
            if name in self._broken:
                await anyio.lowlevel.checkpoint()
                self._raise(name)
            await work()
        if scope.cancelled_caught:
            self._raise(name)

    def _raise(self, name: str) -> None:
        self._raised[name].set()
        raise Injected(name)

    @contextmanager
    def broken(self, name: str) -> Iterator[None]:
        """Breaks a task, waits until it has raised, and repairs it at the end. Call it from another thread."""
        raised = self._raised[name] = threading.Event()
        self._broken.add(name)
        self._loop.call_soon_threadsafe(self._scopes[name].cancel)
        assert raised.wait(60), f"{name} did not raise"
        try:
            yield
        finally:
            self._broken.discard(name)

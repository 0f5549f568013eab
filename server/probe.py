"""Checks within two seconds whether the database answers."""

import time
from collections.abc import Callable

import anyio

from codeact.component import Component
from codeact.errors import CodeActError
from codeact.store import Store

__all__ = ["Probe"]

TIMEOUT_S = 2.0
FRESH_S = 0.2


class Probe:
    """Pings the database. Concurrent callers share one answer, so that many probes cost no more than one."""

    def __init__(self, store: Component[Store], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._asking = anyio.Lock()
        self._asked_at = float("-inf")
        self._problem = ""
        self._took_s: float | None = None

    async def problem(self) -> str:
        """Why the database does not answer; empty if it does."""
        await self.ping_s()
        return self._problem

    async def ping_s(self) -> float | None:
        """The duration of a round trip to the database; None if it does not answer."""
        async with self._asking:
            if self._clock() - self._asked_at > FRESH_S:
                await self._ask()
        return self._took_s

    async def _ask(self) -> None:
        began_at, self._took_s = self._clock(), None
        self._problem = f"The database does not answer within {TIMEOUT_S:g} s."
        opened = self._store.started
        with anyio.move_on_after(TIMEOUT_S):
            try:
                if opened is None:
                    self._problem = "The database is not open."
                else:
                    await opened.value.ping()
                    self._problem, self._took_s = "", self._clock() - began_at
            except CodeActError as error:
                self._problem = error.message
        self._asked_at = self._clock()

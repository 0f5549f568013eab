"""Runs background tasks, and starts each one again, with growing pauses, when it fails."""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from sandbox_pool.backoff import Backoff
from sandbox_pool.logs import Logger

__all__ = ["Start", "Supervisor", "Work"]

log = Logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
MOST_FAILURES = 10
"""With these pauses, that many failures in a row take a minute and a half."""
STEADY_S = 60.0
"""A task that ran for so long starts with a clean record when it fails again."""

Work = Callable[[], Awaitable[None]]


class Start(Protocol):
    """Starts `work` in the background, under a name that nothing else has. Returns at once."""

    def __call__(self, name: str, work: Work, *, ends: bool = False, essential: bool = True) -> None: ...


@dataclass(eq=False, slots=True)
class _Task:
    name: str
    essential: bool
    backoff: Backoff
    failures: int = 0
    reason: str = ""
    well_at: float = -math.inf


class Supervisor:
    """Keeps background tasks running. One for each process; for one event loop.

    Work that raises is logged and started again after a pause that doubles each time. Other tasks notice
    nothing. When an essential task has failed `most_failures` times in a row, `given_up` names it: the process
    should end then, since something is broken that a restart of the task does not mend. The task itself is
    still started again, so that whoever cannot end the process loses as little as possible.

    Work may return only where it was started with `ends`; work that has to go on for ever has failed then.
    """

    def __init__(
        self,
        *,
        first_pause_s: float = FIRST_PAUSE_S,
        longest_pause_s: float = LONGEST_PAUSE_S,
        most_failures: int = MOST_FAILURES,
    ) -> None:
        self.given_up: str | None = None
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._most_failures = most_failures
        self._tasks: dict[str, _Task] = {}

    @asynccontextmanager
    async def tasks(self) -> AsyncIterator[Start]:
        """A group of tasks. Leaving it cancels them and waits for their end.

        An exception of the body leaves as it is, not in a group.
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            try:
                yield partial(self._start, group)
            except Exception as error:
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    @property
    def names(self) -> set[str]:
        """The names of the tasks that should be running."""
        return set(self._tasks)

    @property
    def failing(self) -> dict[str, str]:
        """Essential tasks that are down now, or were a moment ago, and what each failed with."""
        return self._failing(essential=True)

    @property
    def degraded(self) -> dict[str, str]:
        """The same of tasks without which requests are still answered."""
        return self._failing(essential=False)

    def _failing(self, *, essential: bool) -> dict[str, str]:
        now = time.monotonic()
        tasks = self._tasks.values()
        return {task.name: task.reason for task in tasks if task.essential == essential and now < task.well_at}

    def _start(self, group: TaskGroup, name: str, work: Work, *, ends: bool = False, essential: bool = True) -> None:
        if name in self._tasks:
            raise ValueError(f"A task '{name}' is running already.")
        task = self._tasks[name] = _Task(name, essential, Backoff(self._first_pause_s, self._longest_pause_s))
        group.start_soon(self._keep, task, work, ends, name=name)

    async def _keep(self, task: _Task, work: Work, ends: bool) -> None:
        try:
            while True:
                began_at = time.monotonic()
                try:
                    await self.run(task.name, work)
                    if ends:
                        return
                    self._failed(task, began_at, "it ended")
                except anyio.get_cancelled_exc_class():
                    # A cancellation that nobody asked for is a bug of whatever was awaited.
                    if anyio.current_effective_deadline() == -math.inf:
                        raise
                    self._failed(task, began_at, "it was cancelled from inside")
                except Exception as error:
                    self._failed(task, began_at, f"{type(error).__name__}: {error}")
                pause_s = task.backoff.next_s()
                await anyio.sleep(pause_s)
                task.well_at = time.monotonic() + pause_s
        finally:
            del self._tasks[task.name]

    async def run(self, name: str, work: Work) -> None:
        """Runs the work once. For tests to override: whatever this raises is a failure of the task."""
        await work()

    def _failed(self, task: _Task, began_at: float, reason: str) -> None:
        if time.monotonic() - began_at > STEADY_S:
            task.failures = 0
            task.backoff.reset()
        task.failures += 1
        task.reason, task.well_at = reason, math.inf
        log.exception("background task failed", task=task.name, reason=reason, failures=task.failures)
        if task.essential and task.failures >= self._most_failures and self.given_up is None:
            self.given_up = task.name

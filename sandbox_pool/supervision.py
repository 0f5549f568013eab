"""Runs background tasks, and restarts each one when it fails, after growing pauses."""

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
"""With these pauses, ten failures in a row take about a minute and a half."""
STEADY_S = 60.0
"""A task that ran for this long before it failed counts its failures, and its pauses, from the start again."""

Work = Callable[[], Awaitable[None]]


class Start(Protocol):
    """Starts `work` in the background, under a unique name. Returns at once."""

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
    """Keeps background tasks running. Use one per process, in one event loop.

    When a task raises, the supervisor logs the error and restarts the task after a pause that doubles each time.
    Other tasks keep running. After an essential task has failed `most_failures` times in a row, `given_up` names
    it: restarting does not help, so the process should end. The supervisor still goes on restarting that task, for
    programs that cannot end.

    A task that was started with `ends` may return. For any other task, returning counts as a failure.
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
        """Opens a group of tasks. On exit, cancels them and waits until they have ended.

        An exception of the body is raised as it is, not wrapped in an exception group.
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
        """Maps each essential task that is down, or was down a moment ago, to the reason for its failure."""
        return self._failing(essential=True)

    @property
    def degraded(self) -> dict[str, str]:
        """The same for tasks that are not essential: requests are answered without them."""
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
                    # If nobody cancelled this group, the awaited code has a bug and cancelled itself.
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
        """Runs the work once. Tests override it to make tasks fail: every exception counts as a failure."""
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

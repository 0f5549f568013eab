"""Measures the event loop's lag from a thread, logs why the loop was late, and dumps the stacks if it is stuck."""

import asyncio
import faulthandler
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from codeact.server.loop_time import LoopTime

__all__ = ["Watchdog"]

log = structlog.get_logger(__name__)

BEAT_S = 0.1
LATE_S = 0.1
REPORT_EVERY_S = 1.0
"""A loop that is late by `LATE_S` is reported with its causes, at most once in this time."""
REPORTED_FRAMES = 6
STUCK_S = 5.0
MOST_FRAMES = 50
REMEMBERED_S = 15.0
"""Longer than the usual 10 s between two probes, so that at least one of them sees each stall."""


class Watchdog:
    """Schedules a callback on the loop ten times a second; the time until it runs is the loop's lag.

    Time in which this thread did not run either (the process was stopped, the machine slept) says nothing about the
    loop and does not count.
    """

    def __init__(self, *, stuck_s: float = STUCK_S, remembered_s: float = REMEMBERED_S) -> None:
        self.stuck_s = stuck_s
        self.stalls = 0
        """How often the loop was stuck for at least `stuck_s`."""
        self._remembered_s = remembered_s
        self._lags: deque[tuple[float, float]] = deque()
        self._pending_s = 0.0
        self._lock = threading.Lock()
        self._looping = 0
        self._reported_at = float("-inf")
        self._ends = threading.Event()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watches the running loop until exit."""
        loop = asyncio.get_running_loop()
        self._looping = threading.get_ident()
        loop_time = LoopTime()
        thread = threading.Thread(target=self._watch, args=(loop, loop_time), name="watchdog", daemon=True)
        with loop_time.measuring():
            thread.start()
            try:
                yield
            finally:
                self._ends.set()
                thread.join(1)

    @property
    def lag_s(self) -> float:
        """The worst lag of the last seconds, including a stall that still continues. Callable from any thread."""
        with self._lock:
            oldest = time.monotonic() - self._remembered_s
            while self._lags and self._lags[0][0] < oldest:
                self._lags.popleft()
            return max([self._pending_s, *(lag_s for _, lag_s in self._lags)])

    @property
    def is_stuck(self) -> bool:
        """Whether the loop is stuck, or was within the last seconds."""
        return self.lag_s >= self.stuck_s

    def _watch(self, loop: asyncio.AbstractEventLoop, loop_time: LoopTime) -> None:
        while not self._ends.wait(BEAT_S):
            beaten, before = threading.Event(), loop_time.spent()
            try:
                loop.call_soon_threadsafe(beaten.set)
            except RuntimeError:
                return  # The loop is closed.
            lag_s, stack = self._await(beaten)
            now = time.monotonic()
            if lag_s >= LATE_S and now >= self._reported_at + REPORT_EVERY_S:
                self._reported_at = now
                spent = loop_time.spent().since(before)
                log.warning(
                    "event loop was late",
                    lag_ms=round(lag_s * 1000),
                    computed_ms=round(spent.computed_s * 1000),
                    queued_ms=round(spent.queued_s * 1000),
                    other_threads_ms=round(spent.others_s * 1000),
                    collected_ms=round(spent.collected_s * 1000),
                    stack=stack,
                )

    def _await(self, beaten: threading.Event) -> tuple[float, str]:
        """Waits until the loop has run the callback. Returns its lag, and where it was after `BEAT_S`."""
        lag_s, dumped, stack = 0.0, False, ""
        before = time.monotonic()
        while not self._ends.is_set():
            answered = beaten.wait(BEAT_S)
            now = time.monotonic()
            lag_s, before = lag_s + min(now - before, 2 * BEAT_S), now
            with self._lock:
                self._pending_s = 0.0 if answered else lag_s
                if answered:
                    self._lags.append((now, lag_s))
            if answered:
                break
            stack = stack or self._stack()
            if lag_s >= self.stuck_s and not dumped:
                dumped = True
                log.error("event loop stuck; the stacks of all threads follow", lag_s=round(lag_s, 1))
                self._dump()
                self.stalls += 1
        if dumped:
            log.error("event loop runs again", lag_s=round(lag_s, 1))
        return lag_s, stack

    def _stack(self) -> str:
        """Returns the innermost functions that the loop's thread is in, without those of an import, in one line."""
        stack = traceback.StackSummary.extract(
            traceback.walk_stack(sys._current_frames().get(self._looping)), lookup_lines=False
        )
        frames = [each for each in stack if not each.filename.startswith("<frozen importlib")][:REPORTED_FRAMES]
        return " < ".join(f"{each.filename.rpartition('/')[2]}:{each.lineno} {each.name}" for each in frames)

    def _dump(self) -> None:
        """Writes the stack of the loop's thread, then those of the first hundred threads."""
        stderr = sys.__stderr__ or sys.stderr
        frame = sys._current_frames().get(self._looping)
        if frame is not None:
            stderr.write("".join(["Thread of the event loop:\n", *traceback.format_stack(frame)[-MOST_FRAMES:]]))
            stderr.flush()
        faulthandler.dump_traceback(file=stderr, all_threads=True)

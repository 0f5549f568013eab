"""Measures on what the event loop's thread spent its time, to say why the loop was late. Linux only, else zeros."""

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LoopTime", "Spent"]


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds since some moment.

    `computed_s` is the CPU time of the loop's thread, `queued_s` its time in the queue for a processor, `others_s` the
    CPU time of the process's other threads, and `collected_s` the duration of garbage collections in any thread.
    """

    computed_s: float = 0.0
    queued_s: float = 0.0
    others_s: float = 0.0
    collected_s: float = 0.0

    def since(self, before: "Spent") -> "Spent":
        return Spent(
            self.computed_s - before.computed_s,
            self.queued_s - before.queued_s,
            self.others_s - before.others_s,
            self.collected_s - before.collected_s,
        )


class LoopTime:
    """Reads the figures of the thread that creates it; `spent` may be called from any thread."""

    def __init__(self) -> None:
        self._file = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._collected_s = 0.0
        self._collecting_since = 0.0

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measures garbage collections until exit."""
        gc.callbacks.append(self._collects)
        try:
            yield
        finally:
            gc.callbacks.remove(self._collects)

    def spent(self) -> Spent:
        """Returns the totals so far."""
        computed_s = queued_s = 0.0
        try:
            computed_s, queued_s = (int(field) / 1e9 for field in self._file.read_text().split()[:2])
        except (OSError, ValueError):  # Another system, or one that does not count this.
            pass
        return Spent(computed_s, queued_s, max(0.0, time.process_time() - computed_s), self._collected_s)

    def _collects(self, phase: str, info: dict[str, Any]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._collecting_since = now
        else:
            self._collected_s += now - self._collecting_since

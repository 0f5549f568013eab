"""Measures the longest step of an event loop, in CPU time of its thread."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

__all__ = ["Steps", "measured_steps"]


class Steps:
    """The result. `longest_s` is CPU time, so other processes on the machine do not change it."""

    longest_s = 0.0


@contextmanager
def measured_steps() -> Iterator[Steps]:
    """Measures all steps of the loop that runs in this thread, beginning with the next one."""
    steps = Steps()
    run = asyncio.Handle._run

    def measure(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        steps.longest_s = max(steps.longest_s, time.thread_time() - began)

    gc.collect()
    gc.disable()  # A garbage collection is not the fault of the step in which it happens.
    try:
        with patch.object(asyncio.Handle, "_run", measure):
            yield steps
    finally:
        gc.enable()

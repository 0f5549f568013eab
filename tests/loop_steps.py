"""How long one step of an event loop computes: work enters, the longest step in this thread's CPU time leaves."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

__all__ = ["Steps", "measured_steps"]


class Steps:
    """`longest_s` is CPU time: what others use of the machine meanwhile does not count."""

    longest_s = 0.0


@contextmanager
def measured_steps() -> Iterator[Steps]:
    """Measures every step of the loop that runs in this thread, from the next one on."""
    steps = Steps()
    run = asyncio.Handle._run

    def measure(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        steps.longest_s = max(steps.longest_s, time.thread_time() - began)

    gc.collect()
    gc.disable()  # A collection belongs to no step: it comes when enough objects have been made anywhere.
    try:
        with patch.object(asyncio.Handle, "_run", measure):
            yield steps
    finally:
        gc.enable()

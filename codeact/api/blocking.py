"""Calls async functions from a thread without an event loop, and cancels them on Ctrl-C."""

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio.from_thread import BlockingPortal

__all__ = ["call"]

T = TypeVar("T")

STOP_TIMEOUT_S = 10.0
"""How long to wait until an interrupted call has ended. Stopping code in a sandbox takes 6 s at most."""


def call(portal: BlockingPortal, function: Callable[[], Awaitable[T]]) -> T:
    """Calls `function` in the portal's event loop; returns or raises what it does.

    An exception in this thread, such as `KeyboardInterrupt`, cancels `function`; it is raised again after `function`
    has ended, or after 10 s. A second exception is raised at once.
    """
    begun, ended = threading.Event(), threading.Event()

    async def run() -> T:
        begun.set()
        try:
            return await function()
        finally:
            ended.set()

    future = portal.start_task_soon(run)
    try:
        return future.result()
    except BaseException:
        if future.cancel() and begun.is_set():
            ended.wait(STOP_TIMEOUT_S)
        raise

"""Calls an event loop from a plain thread, and stops the call on Ctrl-C instead of leaving it behind."""

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio.from_thread import BlockingPortal

__all__ = ["call"]

T = TypeVar("T")

STOP_S = 10.0
"""How long an interrupted call may take to end. Stopping code in a sandbox takes 6 s at most."""


def call(portal: BlockingPortal, function: Callable[[], Awaitable[T]]) -> T:
    """What `function` returns or raises in the portal's loop.

    An exception in this thread, such as `KeyboardInterrupt`, cancels `function` and is raised again once that has
    ended, or after 10 s; a second one is raised at once.
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
            ended.wait(STOP_S)
        raise

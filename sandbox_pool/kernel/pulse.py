"""Asks from time to time whether a kernel's control thread still answers.

libzmq answers the heartbeat of a connection in a thread of its own, also for a kernel whose control thread has ended
or stands still. Such a kernel obeys no interrupt and hears no answer to a call.
"""

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["silence_reason", "until_silent"]

ASK_S = 10.0
SILENCE_S = 30.0


def silence_reason() -> str:
    """What is said of such a kernel."""
    return f"The kernel's control thread has not answered for {SILENCE_S:g} s, so its sandbox was destroyed."


async def until_silent(ask: Callable[[], "asyncio.Future[Any]"], *, is_busy: Callable[[], bool]) -> None:
    """Asks every 10 s, and returns once a question has found no answer in 30 s.

    Time during which the kernel `is_busy` does not count: code may keep the interpreter to itself for as long as its
    time limit allows, and then the stop ladder finds a kernel that does not obey. Cancelling loses nothing.
    """
    while True:
        await asyncio.sleep(ASK_S)
        answer = ask()
        step_s = min(ASK_S, SILENCE_S)
        waited_s = 0.0
        while not answer.done():
            was_busy = is_busy()
            await asyncio.wait({answer}, timeout=step_s)
            if answer.done():
                break
            waited_s += 0.0 if was_busy or is_busy() else step_s
            if waited_s >= SILENCE_S:
                return

"""Checks periodically whether a kernel's control thread still answers.

The heartbeat of a connection cannot show this: libzmq answers it in a thread of its own, even when the kernel's control
thread has ended or hangs. Such a kernel processes no interrupt and no answer to a call.
"""

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["silence_reason", "until_silent"]

ASK_S = 10.0
SILENCE_S = 30.0


def silence_reason() -> str:
    """The message for users whose sandbox was destroyed because its kernel stopped answering."""
    return f"The kernel's control thread has not answered for {SILENCE_S:g} s, so its sandbox was destroyed."


async def until_silent(ask: Callable[[], "asyncio.Future[Any]"], *, is_busy: Callable[[], bool]) -> None:
    """Calls `ask` every 10 s, and returns once an answer has been missing for 30 s.

    Time during which the kernel `is_busy` does not count: code may block the interpreter until its time limit, and
    the execution then finds out by itself that the kernel ignores interrupts. Cancelling is safe.
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

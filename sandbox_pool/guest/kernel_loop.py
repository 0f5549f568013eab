"""Separates the kernel's event loop from the code's, so that `asyncio.run` works and code cannot stop the kernel.

`kernel_main.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import asyncio
import contextlib
import functools
from typing import Any

from kernel_text import words  # type: ignore[import-not-found]

__all__ = ["allow_nested_loops", "keep_context", "keep_running"]

BLOCKED = "This event loop already runs the block: write `await …` instead."


def keep_running(io_loop, *, stopped, ended):
    """Runs the loop until `stopped()`. Calls `ended` with the reason each time that the code has ended the loop."""
    while True:
        try:
            io_loop.start()
            cause = "loop.stop() was called; the event loop runs again."
        except BaseException as error:
            cause = f"A task or a callback of asyncio ended with {type(error).__name__}: {words(error)}"
        if stopped():
            return
        ended(cause)


def keep_context(context):
    """Copies the context variables that a block with `await` has set into the current context."""
    for variable, value in context.items():
        if variable.get(_UNSET) is not value:
            variable.set(value)


_UNSET = object()


def allow_nested_loops(ours: Any) -> None:
    """Allows the code to run a loop inside of the kernel's loop, `ours`, which waits meanwhile, as for any code."""
    events: Any = asyncio.events

    @contextlib.contextmanager
    def outside(loop=None):
        if loop is ours or events._get_running_loop() is not ours:
            yield
            return
        events._set_running_loop(None)
        try:
            yield
        finally:
            events._set_running_loop(ours)
            asyncio.set_event_loop(ours)

    def nested(function):
        @functools.wraps(function)
        def run(*args, **kwargs):
            __tracebackhide__ = True
            with outside():
                return function(*args, **kwargs)

        return run

    def nested_method(function):
        @functools.wraps(function)
        def run(loop, *args, **kwargs):
            __tracebackhide__ = True
            with outside(loop):
                return function(loop, *args, **kwargs)

        return run

    def run_until_complete(future):
        """Runs a coroutine in the kernel's own loop, while the block waits."""
        if events._get_running_loop() is not ours:
            return type(ours).run_until_complete(ours, future)
        future = asyncio.ensure_future(future, loop=ours)
        if future is (running := asyncio.current_task(ours)):
            raise RuntimeError(BLOCKED)
        if running is not None:
            asyncio.tasks._leave_task(ours, running)
        try:
            while not future.done():
                ours._run_once()
        except BaseException:
            future.cancel()
            raise
        finally:
            if running is not None:
                asyncio.tasks._enter_task(ours, running)
        return future.result()

    base: Any = asyncio.base_events.BaseEventLoop
    for name in ("run_until_complete", "run_forever"):
        setattr(base, name, nested_method(getattr(base, name)))
    runner: Any = asyncio.runners.Runner
    runner.run = nested(runner.run)
    asyncio.run = asyncio.runners.run = nested(asyncio.runners.run)
    ours.run_until_complete = run_until_complete

"""Runs a backend's blocking calls in threads, so that they do not block the event loop."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import killpg
from subprocess import DEVNULL, Popen
from typing import Any, ParamSpec, TypeVar

import anyio

__all__ = ["Threads"]

THREADS = 8

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """The threads of one backend. They exist until `close`, because a process that should die with its parent
    (PR_SET_PDEATHSIG in prctl(2)) dies when the thread that started it ends.
    """

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function in a thread. A cancellation takes effect only after the function has returned, so that the
        caller can then destroy what it created.
        """
        call = asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))
        cancelled: asyncio.CancelledError | None = None
        # The shield stops cancellations by anyio's scopes, the loop stops those by asyncio's tasks.
        with anyio.CancelScope(shield=True):
            while not call.done():
                try:
                    await asyncio.wait({call})
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            call.exception()
            raise cancelled
        return call.result()

    async def spawn(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        descriptors: Sequence[int] = (),
        *,
        stdin: Any = DEVNULL,
        stdout: Any = DEVNULL,
        stderr: Any = DEVNULL,
    ) -> "Popen[bytes]":
        """Starts a process in its own session; it inherits only these descriptors. Raises `OSError`.

        It uses a thread because starting blocks until the new process has run once: on a busy machine, for tens of
        milliseconds. If it is cancelled, it kills the process before it raises.
        """
        started: list[Popen[bytes]] = []

        def start() -> None:
            process = Popen(  # noqa: S603
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
                env=environment,
                pass_fds=descriptors,
                start_new_session=True,
            )
            started.append(process)

        try:
            await self.run(start)
        except BaseException:
            for process in started:
                killpg(process.pid, signal.SIGKILL)
                with anyio.CancelScope(shield=True):
                    await self.run(process.wait)
            raise
        return started[0]

    def close(self) -> None:
        """Ends the threads once their current calls have returned. Does not wait for that."""
        self._threads.shutdown(wait=False)

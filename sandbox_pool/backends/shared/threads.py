"""Runs blocking calls in threads that belong to one backend, so that the event loop goes on."""

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
    """They stay until `close`: a process that is to die with its parent dies with the thread that started it
    (PR_SET_PDEATHSIG in prctl(2)).
    """

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Being cancelled takes effect when the call has returned: while a container, or a process, is being made
        there is nothing to destroy yet.
        """
        call = asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))
        cancelled: asyncio.CancelledError | None = None
        # A scope of anyio is kept off by the shield, a cancelled task of asyncio by trying again.
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
        """A process in a session of its own, with nothing of ours but these descriptors. Raises `OSError`.

        Whoever starts a process has to wait until that had its turn on a processor: on a busy machine, for
        tens of milliseconds. Cancelled, it ends the process first.
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
        """Lets them end when they have done what they do."""
        self._threads.shutdown(wait=False)

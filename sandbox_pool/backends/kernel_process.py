"""A process of ours that becomes a kernel: its events enter, "it is ready" and "it has ended" leave."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Self

from sandbox_pool.errors import SandboxStartFailed

__all__ = ["KernelProcess", "exit_sentence"]

READY = b"ready\n"
STDERR_BYTES = 4_000
LAST_WORDS_S = 0.2


class KernelProcess(asyncio.SubprocessProtocol):
    """A started process. Only the end of what it writes to stderr is kept; `stdout` after "ready" is ignored."""

    transport: asyncio.SubprocessTransport

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = loop.create_future()
        self._ready: asyncio.Future[bool] = loop.create_future()
        self._closed = asyncio.Event()
        self._stdout = b""
        self._stderr = b""

    @classmethod
    async def spawn(
        cls, command: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int] = ()
    ) -> Self:
        """Runs the command in a session of its own, with nothing of ours but these descriptors. `OSError`.

        Cancelling it ends the process first.
        """
        spawning = asyncio.ensure_future(
            asyncio.get_running_loop().subprocess_exec(
                cls,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                cwd="/",
                env=environment,
                pass_fds=descriptors,
                start_new_session=True,
            )
        )
        try:
            _, process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # Were it cancelled itself, it would wait for pipes that children of the process hold open.
            _, process = await spawning
            os.killpg(process.pid, signal.SIGKILL)
            await process.close()
            raise
        return process

    @property
    def pid(self) -> int:
        return self.transport.get_pid()

    async def ready(self) -> None:
        """Returns when the kernel can take requests. Raises `SandboxStartFailed` with what it said if it ended."""
        if await asyncio.shield(self._ready):
            return
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._closed.wait()
        except TimeoutError:
            pass
        words = self._stderr.decode(errors="replace").strip()
        raise SandboxStartFailed(f"{exit_sentence(self.exited.result())} {words}".strip())

    async def close(self) -> None:
        """Waits until it has ended, which somebody else brings about, and closes its pipes."""
        await asyncio.wait({self.exited})
        self.transport.close()
        await self._closed.wait()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr = (self._stderr + data)[-STDERR_BYTES:]
        elif not self._ready.done():
            self._stdout = (self._stdout + data)[-STDERR_BYTES:]
            if READY in self._stdout:
                self._ready.set_result(True)

    def process_exited(self) -> None:
        code = self.transport.get_returncode()
        self.exited.set_result(-1 if code is None else code)
        if not self._ready.done():
            self._ready.set_result(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()


def exit_sentence(code: int) -> str:
    """`code` as asyncio gives it (negative: a signal), or as a shell and bwrap do (128 + signal)."""
    number = -code if code < 0 else code - 128
    if number > 0:
        try:
            return f"The kernel was killed by {signal.Signals(number).name}."
        except ValueError:
            pass
    return f"The kernel exited with status {code}."

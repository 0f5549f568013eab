"""Starts a kernel as a local process, and reports when it is ready and when it has ended."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from subprocess import Popen
from typing import Self

from sandbox_pool.backends.shared.threads import Threads
from sandbox_pool.errors import SandboxStartFailed

__all__ = ["KERNEL", "KernelProcess", "exit_sentence"]

KERNEL = (
    "kernel_main.py",
    "kernel_clues.py",
    "kernel_commands.py",
    "kernel_eager.py",
    "kernel_egress.py",
    "kernel_inventory.py",
    "kernel_libraries.py",
    "kernel_limits.py",
    "kernel_loop.py",
    "kernel_memory.py",
    "kernel_cleanup.py",
    "kernel_shell.py",
    "kernel_source.py",
    "kernel_state.py",
    "kernel_state_arrays.py",
    "kernel_state_blocks.py",
    "kernel_state_classes.py",
    "kernel_state_contents.py",
    "kernel_state_definitions.py",
    "kernel_state_draws.py",
    "kernel_state_files.py",
    "kernel_state_groups.py",
    "kernel_state_guard.py",
    "kernel_state_imports.py",
    "kernel_state_instances.py",
    "kernel_state_load.py",
    "kernel_state_memory.py",
    "kernel_state_modules.py",
    "kernel_state_names.py",
    "kernel_state_objects.py",
    "kernel_state_own.py",
    "kernel_state_pages.py",
    "kernel_state_process.py",
    "kernel_state_replay.py",
    "kernel_state_save.py",
    "kernel_state_settings.py",
    "kernel_state_spaces.py",
    "kernel_state_writer.py",
    "kernel_streams.py",
    "kernel_text.py",
    "kernel_values.py",
)
"""Files of `GUEST`: the script that runs in a sandbox, then the modules that it imports from its own directory."""
READY = b"ready\n"
TAIL_BYTES = 4_000
PIECE_BYTES = 65_536
STDERR_DRAIN_TIMEOUT_S = 0.2


class KernelProcess:
    """A started process. `exited` resolves to its exit code, negative for a signal. Create it with `spawn`."""

    def __init__(self, process: "Popen[bytes]", stdout: int, stderr: int) -> None:
        loop = asyncio.get_running_loop()
        self.pid = process.pid
        self.exited: asyncio.Future[int] = loop.create_future()
        self._ready: asyncio.Future[bool] = loop.create_future()
        self._stdout = _Output(stdout, self._look_whether_ready)
        self._stderr = _Output(stderr)
        if sys.platform == "linux":
            end = os.pidfd_open(process.pid)
            loop.add_reader(end, self._reap, process, end)
        else:
            wait = lambda: loop.call_soon_threadsafe(self._exit, process.wait())  # noqa: E731
            threading.Thread(target=wait, daemon=True).start()

    @classmethod
    async def spawn(
        cls, threads: Threads, command: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int] = ()
    ) -> Self:
        """Starts the process. See `Threads.spawn` for the arguments and errors."""
        (stdout, its_stdout), (stderr, its_stderr) = os.pipe(), os.pipe()
        try:
            process = await threads.spawn(command, environment, descriptors, stdout=its_stdout, stderr=its_stderr)
        except BaseException:
            os.close(stdout)
            os.close(stderr)
            raise
        finally:
            os.close(its_stdout)
            os.close(its_stderr)
        return cls(process, stdout, stderr)

    async def ready(self) -> None:
        """Waits until the kernel accepts requests. If it ends, raises `SandboxStartFailed` with its last stderr."""
        if await asyncio.shield(self._ready):
            return
        try:
            async with asyncio.timeout(STDERR_DRAIN_TIMEOUT_S):
                await self._stderr.ended.wait()
        except TimeoutError:
            pass
        stderr = self._stderr.tail.decode(errors="replace").strip()
        raise SandboxStartFailed(f"{exit_sentence(self.exited.result())} {stderr}".strip())

    async def close(self) -> None:
        """Waits until the process has ended, and closes its pipes. The caller must kill the process first."""
        await asyncio.wait({self.exited})
        self._stdout.close()
        self._stderr.close()

    def _look_whether_ready(self) -> None:
        if READY in self._stdout.tail and not self._ready.done():
            self._ready.set_result(True)

    def _reap(self, process: "Popen[bytes]", end: int) -> None:
        asyncio.get_running_loop().remove_reader(end)
        os.close(end)
        self._exit(process.wait())

    def _exit(self, code: int) -> None:
        self.exited.set_result(code)
        if not self._ready.done():
            self._ready.set_result(False)


class _Output:
    """Reads a pipe to its end, and keeps the last `TAIL_BYTES` of its content."""

    def __init__(self, pipe: int, on_data: Callable[[], None] = lambda: None) -> None:
        self.tail = b""
        self.ended = asyncio.Event()
        self._pipe = pipe
        self._on_data = on_data
        asyncio.get_running_loop().add_reader(pipe, self._read)

    def _read(self) -> None:
        piece = os.read(self._pipe, PIECE_BYTES)
        self.tail = (self.tail + piece)[-TAIL_BYTES:]
        if piece:
            self._on_data()
        else:
            self.close()

    def close(self) -> None:
        """Closes the pipe. Idempotent."""
        if not self.ended.is_set():
            self.ended.set()
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)


def exit_sentence(code: int) -> str:
    """Explains an exit code, in the form of `Popen` (negative for a signal) or of shells and bwrap (128 + signal)."""
    number = -code if code < 0 else code - 128
    if number > 0:
        try:
            return f"The kernel was killed by {signal.Signals(number).name}."
        except ValueError:
            pass
    return f"The kernel exited with status {code}."

"""A backend that runs each kernel as a plain process of this machine. It isolates nothing: it is here to be read.

    pip install ./examples/backend
    CODEACT_SANDBOX=toy codeact serve

docs/write-a-backend.md explains it.
"""

import asyncio
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteStream
from anyio.streams.stapled import StapledByteStream

from sandbox_pool import GUEST, Death, Isolation, Limits, Notice, SandboxGone, SandboxSpec, SandboxStartFailed, Started

PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}


@dataclass
class Toy:
    """One sandbox: the directory that is its own, and its kernel."""

    directory: Path
    process: asyncio.subprocess.Process

    @property
    def workspace(self) -> Path:
        return self.directory / "workspace"


class ToyBackend:
    name = "toy"

    def __init__(self, state_dir: Path) -> None:
        """`state_dir` is where a backend keeps what its next process must find. This one leaves nothing there."""
        self._toys: dict[str, Toy] = {}

    @property
    def isolation(self) -> Isolation:
        return Isolation(False, "plain process, not isolated", ("The code runs as your own user. Do not use this.",))

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        """There is nothing to build. A backend of yours pulls its image here, and raises `ImageUnavailable`."""
        progress("The toy is ready.")

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        # The path of a socket has 107 bytes at most, so the directory has a short name.
        directory = Path(tempfile.mkdtemp(prefix="toy-"))
        workspace = directory / "workspace"
        workspace.mkdir()
        connection = {
            "transport": "ipc",
            "ip": str(directory / "kernel"),
            "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256",
            **PORTS,
        }
        file = directory / "connection.json"
        file.write_text(json.dumps(connection))
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", GUEST / "kernel_main.py", file, workspace),
                env={"PATH": os.defpath, "HOME": str(workspace)},  # Ours holds secrets.
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            shutil.rmtree(directory)
            raise SandboxStartFailed(f"The kernel cannot be started: {error}.", sandbox_id=sandbox_id) from error
        self._toys[sandbox_id] = Toy(directory, process)
        return Started(sandbox_id, connection)

    @asynccontextmanager
    async def files(self, sandbox_id: str, request: Mapping[str, Any]) -> AsyncIterator[ByteStream]:
        toy = self._toys.get(sandbox_id)
        if toy is None:
            raise SandboxGone("The sandbox is gone.", sandbox_id=sandbox_id)
        asked = json.dumps({**request, "root": str(toy.workspace), "user": None})
        command = [sys.executable, "-I", "-S", str(GUEST / "files_main.py"), asked]
        async with await anyio.open_process(command, stderr=None) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                yield StapledByteStream(process.stdin, process.stdout)
            finally:
                with suppress(ProcessLookupError):
                    process.terminate()

    async def death(self, sandbox_id: str, limits: Limits) -> Death:
        toy = self._toys.get(sandbox_id)
        if toy is None:
            return Death("The kernel never started.")
        return Death(f"The kernel ended with exit code {await toy.process.wait()}.")

    async def destroy(self, sandbox_id: str) -> None:
        toy = self._toys.get(sandbox_id)
        if toy is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(toy.process.pid, signal.SIGKILL)
        await toy.process.wait()
        await asyncio.to_thread(shutil.rmtree, toy.directory, ignore_errors=True)
        del self._toys[sandbox_id]

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        """Nobody tells of processes; the pool notices by a kernel's sockets that it has ended."""
        await asyncio.Event().wait()

    async def list(self) -> list[str]:
        """The kernels end with the server that started them (`kernel_main.py` sees to that): none is left."""
        return []

    async def close(self) -> None:
        pass

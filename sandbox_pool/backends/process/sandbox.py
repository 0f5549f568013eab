"""Starts and ends the processes of one local sandbox."""

import contextlib
import json
import math
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any, BinaryIO, Literal

import anyio
from anyio.abc import ByteStream

from sandbox_pool.backends.base import GUEST, READONLY_MB
from sandbox_pool.backends.process.bubblewrap import CONNECTION_FILE, FILES, RUN, SCRATCH, WORKSPACE, Bubblewrap
from sandbox_pool.backends.process.cleanup import MARK, SOCKETS, global_name
from sandbox_pool.backends.process.inode_quota import Inodes
from sandbox_pool.backends.process.interpreter import ALONE, Interpreter
from sandbox_pool.backends.process.resource_group import Group
from sandbox_pool.backends.process.unprivileged_user import HOST_UID
from sandbox_pool.backends.shared.egress import BUNDLE, EGRESS_SOCKET, EgressProxy
from sandbox_pool.backends.shared.kernel_process import KERNEL, KernelProcess
from sandbox_pool.backends.shared.seccomp import filter_program
from sandbox_pool.backends.shared.threads import Threads
from sandbox_pool.backends.shared.unix_stream import UnixStream
from sandbox_pool.spec import Limits

__all__ = ["Local"]

FILES_MAIN = GUEST / "files_main.py"
FILES_END_S = 2.0
PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}


@dataclass(slots=True, eq=False)
class Local:
    """One local sandbox. `prefix` is put before its command line.

    Start it with `start_isolated` or `start_plain`. Both return the kernel's connection dict, and raise `OSError` or
    `SandboxStartFailed`. After a failure or a cancellation, the caller must call `end`.
    """

    directory: Path
    limits: Limits
    threads: Threads
    group: Group | None = None
    prefix: Sequence[str] = ()
    process: KernelProcess | None = None
    init: int | None = field(default=None, init=False)
    """A pidfd of the first process in its namespaces."""
    workspace: int | None = field(default=None, init=False)
    """A descriptor of its working directory. It stays valid even if the code replaces what is at its path."""
    proxy: EgressProxy | None = field(default=None, init=False)
    user: int | None = field(default=None, init=False)
    """The uid of the code on this machine; None means the server's own."""

    async def start_isolated(
        self,
        interpreter: Interpreter,
        bubblewrap: Bubblewrap,
        inodes: Inodes | None,
        network: Literal["none", "open"],
        proxy: EgressProxy | None = None,
    ) -> dict[str, Any]:
        """Starts the kernel in its own namespaces. Its sockets are in one of its in-memory file systems, and the
        server reaches them through /proc: the code can neither fill the disk nor replace files on it.
        """
        connection = _connection(f"{RUN}/kernel")
        contents = {**FILES, CONNECTION_FILE: json.dumps(connection)}
        proxied: dict[str, str] = {}
        if proxy is not None:
            self.proxy = proxy
            contents[f"{RUN}/{BUNDLE}"] = (await proxy.start(self.directory)).decode()
            proxied = proxy.environment(RUN)
        with contextlib.ExitStack() as stack:
            files = {path: stack.enter_context(_memory_file(text.encode())) for path, text in contents.items()}
            program = filter_program()
            seccomp_fd = None if program is None else stack.enter_context(_memory_file(program))
            info, info_end = _pipe(stack)
            block_end, block = _pipe(stack)
            command = bubblewrap.command(
                interpreter,
                self.limits,
                [GUEST / name for name in KERNEL],
                network=network,
                info_fd=info_end.fileno(),
                block_fd=block_end.fileno(),
                seccomp_fd=seccomp_fd,
                files=files,
                readonly=self.readonly,
                egress=self.directory / EGRESS_SOCKET if proxy is not None else None,
            )
            environment = self._environment(interpreter, home=WORKSPACE, temporary="/tmp") | proxied  # noqa: S108
            passed = [*files.values(), info_end.fileno(), block_end.fileno()]
            if seccomp_fd is not None:
                passed.append(seccomp_fd)
            process = await self._spawn(command, environment, passed)
            info_end.close()
            pid = await _pid(info)
            if pid is not None:
                self.init = os.pidfd_open(pid)
                if bubblewrap.nobody is not None:
                    bubblewrap.nobody.introduce(pid)
                block.write(b"\n")
            await process.ready()
        if inodes is not None and pid is not None:
            await self.threads.run(inodes.limit, pid, SCRATCH, self.limits.workspace_inodes)
        self.workspace = os.open(f"/proc/{pid}/root{WORKSPACE}", os.O_RDONLY | os.O_DIRECTORY)
        if bubblewrap.nobody is not None:
            self.user = HOST_UID
        sockets = f"/proc/{pid}/root{RUN}"
        os.listdir(sockets)  # Raises if the server may not access the namespaces.
        return {**connection, "ip": f"{sockets}/kernel"}

    async def start_plain(self, interpreter: Interpreter) -> dict[str, Any]:
        """Starts the kernel as an ordinary process of the server's user."""
        # A socket's path has 107 bytes at most, and the state directory's path may be longer.
        sockets = Path(tempfile.mkdtemp(prefix="codeact-"))
        (self.directory / SOCKETS).symlink_to(sockets)
        workspace, temporary = self.directory / "workspace", self.directory / "tmp"
        workspace.mkdir()
        temporary.mkdir()
        self.workspace = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
        connection = _connection(str(sockets / "kernel"))
        file = sockets / "connection.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(connection))
        command = [interpreter.executable, *ALONE, str(GUEST / KERNEL[0]), str(file), str(workspace)]
        environment = self._environment(interpreter, home=str(workspace), temporary=str(temporary))
        await (await self._spawn(command, environment)).ready()
        return connection

    @property
    def readonly(self) -> Path:
        """The directory of this machine with the files that the code cannot change."""
        return self.directory / "readonly"

    def add_readonly(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Writes a folder into `readonly`, for every user to read; replaces one of the same name. Blocks.

        Raises `OSError`, also if they have over `READONLY_MB` together with those that are there.
        """
        shutil.rmtree(self.readonly / folder, ignore_errors=True)
        there = sum(path.lstat().st_size for path in self.readonly.rglob("*") if path.is_file())
        if there + sum(map(len, files.values())) > READONLY_MB * 1024 * 1024:
            raise OSError(f"they have over {READONLY_MB} MB together")
        for name, content in files.items():
            path = self.readonly / folder / name
            for parent in reversed([each for each in path.parents if self.readonly in each.parents]):
                parent.mkdir(exist_ok=True)
                parent.chmod(0o755)
            path.write_bytes(content)
            path.chmod(0o555 if content.startswith(b"#!") else 0o444)

    @contextlib.asynccontextmanager
    async def files(self, request: Mapping[str, Any]) -> AsyncIterator[ByteStream]:
        """Runs `files_main.py` with this request. Raises `OSError`."""
        assert self.workspace is not None, "it has not started"
        request = {**request, "root": f"/dev/fd/{self.workspace}", "user": self.user}
        command = [sys.executable, "-I", "-S", "-X", "utf8", str(FILES_MAIN), json.dumps(request)]
        environment: dict[str, str] = {}
        if self.group is not None:
            # It joins the sandbox's group so that files in an in-memory workspace count towards the memory limit.
            command, environment = self.group.join(command, environment)
        ours, its = socket.socketpair()
        with ours, its:
            process = await self.threads.spawn(command, environment, [self.workspace], stdin=its, stdout=its)
            its.close()
            try:
                async with await UnixStream.over(ours) as stream:
                    yield stream
            finally:
                with anyio.CancelScope(shield=True):
                    await self.threads.run(_end, process)

    async def end(self) -> None:
        """Kills the kernel, and with namespaces all other processes in them, and waits for the kernel's end."""
        if self.proxy is not None:
            await self.proxy.close()
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self.init is not None:
                signal.pidfd_send_signal(self.init, signal.SIGKILL)
            elif not self.process.exited.done():
                os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.close()

    def let_go(self) -> list[int]:
        """Returns the open descriptors, which the caller must close. A second call returns nothing."""
        descriptors = [each for each in (self.init, self.workspace) if each is not None]
        self.init = self.workspace = None
        return descriptors

    async def _spawn(
        self, command: list[str], environment: dict[str, str], descriptors: Sequence[int] = ()
    ) -> KernelProcess:
        command = [*self.prefix, *command]
        if self.group is not None:
            command, environment = self.group.wrap(command, environment)
        else:
            # It has no share of the processors of its own: a process that only takes idle time might never run.
            environment = {**environment, "CODEACT_CPU": "shared"}
        self.process = await KernelProcess.spawn(self.threads, command, environment, descriptors)
        return self.process

    def _environment(self, interpreter: Interpreter, *, home: str, temporary: str) -> dict[str, str]:
        """Builds the kernel's environment from scratch, since the server's environment contains secrets."""
        threads = str(max(1, math.ceil(self.limits.cpus)))
        return {
            "PATH": f"{os.path.dirname(interpreter.executable)}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            # The order of a set of texts would otherwise be another one in each sandbox.
            "PYTHONHASHSEED": "0",
            "HOME": home,
            "TMPDIR": temporary,
            "IPYTHONDIR": f"{temporary}/ipython",
            "MPLCONFIGDIR": f"{temporary}/matplotlib",
            "XDG_CACHE_HOME": f"{temporary}/cache",
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            MARK: global_name(self.directory),
        }


def _connection(sockets: str) -> dict[str, Any]:
    key = secrets.token_hex(32)
    return {"transport": "ipc", "ip": sockets, "key": key, "signature_scheme": "hmac-sha256", **PORTS}


def _pipe(stack: contextlib.ExitStack) -> tuple[BinaryIO, BinaryIO]:
    """Returns the two unbuffered ends of a pipe, for reading and for writing. The stack closes them."""
    reading, writing = os.pipe()
    return stack.enter_context(open(reading, "rb", 0)), stack.enter_context(open(writing, "wb", 0))


async def _pid(info: BinaryIO) -> int | None:
    """Reads the pid of the first process in the new namespaces from bwrap; None if bwrap ended without reporting it."""
    words = b""
    while not words.endswith(b"}\n"):
        await anyio.wait_readable(info)
        piece = os.read(info.fileno(), 4096)
        if not piece:
            return None
        words += piece
    pid: int = json.loads(words)["child-pid"]
    return pid


def _end(process: "Popen[bytes]") -> None:
    """Ends `files_main.py`, and gives it time to remove a half-written file."""
    process.terminate()
    try:
        process.wait(FILES_END_S)
    except TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _memory_file(content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("codeact")
    try:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)

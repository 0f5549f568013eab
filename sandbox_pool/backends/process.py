"""A spec enters, a local ipykernel leaves: in bubblewrap namespaces where they work, else as a plain process."""

import asyncio
import builtins
import contextlib
import json
import math
import os
import secrets
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox_pool.backends import Death, Isolation, Started
from sandbox_pool.backends.bubblewrap import CONNECTION_FILE, FILES, RUN, WORKSPACE, Bubblewrap
from sandbox_pool.backends.cgroup import Cgroup, Cgroups
from sandbox_pool.backends.instance import Instance
from sandbox_pool.backends.interpreter import Interpreter
from sandbox_pool.backends.kernel_process import KernelProcess, exit_sentence
from sandbox_pool.backends.remains import CGROUP, MARK, SOCKETS, erase
from sandbox_pool.errors import ImageUnavailable, SandboxStartFailed
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["ProcessBackend"]

KERNEL_MAIN = Path(__file__).parent.parent / "kernel_main.py"
PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}
TRIAL_S = 60.0
EXIT_S = 1.0


@dataclass(slots=True, eq=False)
class _Local:
    """What one sandbox consists of. `init` is a pidfd of the first process of its namespaces."""

    directory: Path
    group: Cgroup | None = None
    process: KernelProcess | None = None
    init: int | None = None


class ProcessBackend:
    """Kernels as processes of this machine. Several servers may share `state_dir`."""

    name = "process"

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._preparing = asyncio.Lock()
        self._instance: Instance | None = None
        self._interpreters: dict[str | None, Interpreter] = {}
        self._bubblewrap: Bubblewrap | None = None
        self._cgroups = Cgroups({})
        self._isolation: Isolation | None = None
        self._sandboxes: dict[str, _Local] = {}

    @property
    def isolation(self) -> Isolation:
        if self._isolation is None:
            raise RuntimeError("prepare has not been called")
        return self._isolation

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        async with self._preparing:
            await self._interpreter(spec)
            if self._isolation is not None:
                return
            self._instance = self._instance or Instance(self._state_dir)
            self._cgroups = await asyncio.to_thread(Cgroups.find)
            self._bubblewrap = await asyncio.to_thread(Bubblewrap.find)
            problem = "bubblewrap is not installed"
            if self._bubblewrap is not None:
                progress("Trying a sandbox in bubblewrap namespaces.")
                try:
                    await self._try(spec)
                except SandboxStartFailed as error:
                    self._bubblewrap, problem = None, f"bubblewrap does not work here: {error.message}"
            if self._bubblewrap is None:
                progress("Trying a sandbox as a plain process.")
                try:
                    await self._try(spec)
                except SandboxStartFailed as error:
                    raise ImageUnavailable(f"No kernel can be started. {error.message}") from None
            self._isolation = _isolation(self._bubblewrap, problem, self._cgroups)

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        interpreter = await self._interpreter(spec)
        assert self._instance is not None, "prepare has not been called"
        local = self._sandboxes[sandbox_id] = _Local(self._instance.create(sandbox_id))
        environment = _environment(sandbox_id, interpreter, spec.limits)
        try:
            if self._cgroups.parents:
                local.group = self._cgroups.create(f"codeact-{sandbox_id}", spec.limits)
                (local.directory / CGROUP).write_text(json.dumps(local.group.directories, default=str))
            if self._bubblewrap is not None:
                connection = await _start_isolated(local, interpreter, spec.limits, self._bubblewrap, environment)
            else:
                connection = await _start_plain(local, interpreter, environment)
        except OSError as error:
            raise SandboxStartFailed(f"The kernel cannot be started: {error}.", sandbox_id=sandbox_id) from error
        return Started(sandbox_id, connection)

    async def death(self, sandbox_id: str, limits: Limits) -> Death:
        local = self._sandboxes.get(sandbox_id)
        if local is None or local.process is None:
            return Death("The kernel never started.")
        exited, _ = await asyncio.wait({local.process.exited}, timeout=EXIT_S)
        if not exited:
            return Death("The kernel does not answer.")
        code = local.process.exited.result()
        killed = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        if killed and local.group is not None and local.group.oom_killed:
            return Death(
                f"The kernel was killed: the code needed more than its {limits.memory_mb} MB of memory.",
                "memory_mb",
            )
        return Death(exit_sentence(code))

    async def destroy(self, sandbox_id: str) -> None:
        local = self._sandboxes.get(sandbox_id)
        if local is None:
            for directory in self._leftovers():
                if directory.name == sandbox_id:
                    await asyncio.to_thread(erase, directory)
            return
        if local.process is not None:
            _kill(local.process, local.init)
            await local.process.close()
        await asyncio.to_thread(erase, local.directory)
        if self._sandboxes.pop(sandbox_id, None) is not None and local.init is not None:
            os.close(local.init)

    async def list(self) -> builtins.list[str]:
        return [directory.name for directory in self._leftovers()]

    async def close(self) -> None:
        if self._instance is not None:
            self._instance.close()
            self._instance = None

    def _leftovers(self) -> builtins.list[Path]:
        return self._instance.leftovers() if self._instance is not None else []

    async def _interpreter(self, spec: SandboxSpec) -> Interpreter:
        if spec.python not in self._interpreters:
            self._interpreters[spec.python] = await asyncio.to_thread(Interpreter.probe, spec.python)
        return self._interpreters[spec.python]

    async def _try(self, spec: SandboxSpec) -> None:
        sandbox_id = f"trial-{secrets.token_hex(4)}"
        try:
            async with asyncio.timeout(TRIAL_S):
                await self.create(sandbox_id, spec)
        except TimeoutError:
            raise SandboxStartFailed(f"No kernel was ready within {TRIAL_S:g} s.") from None
        finally:
            await self.destroy(sandbox_id)


async def _start_isolated(
    local: _Local,
    interpreter: Interpreter,
    limits: Limits,
    bubblewrap: Bubblewrap,
    environment: dict[str, str],
) -> dict[str, Any]:
    connection = _connection(f"{RUN}/kernel")
    contents = {**FILES, CONNECTION_FILE: json.dumps(connection)}
    with contextlib.ExitStack() as stack:
        files = {path: stack.enter_context(_memory_file(text)) for path, text in contents.items()}
        info_fd, child_info_fd = os.pipe()
        stack.callback(os.close, info_fd)
        stack.callback(os.close, child_info_fd)
        command = bubblewrap.command(interpreter, limits, KERNEL_MAIN, info_fd=child_info_fd, files=files)
        environment |= {"HOME": WORKSPACE, "TMPDIR": "/tmp"}  # noqa: S108
        await _run(local, command, environment, [*files.values(), child_info_fd])
        pid = json.loads(os.read(info_fd, 4096))["child-pid"]
    local.init = os.pidfd_open(pid)
    # Its sockets are in a memory file system of its own: nothing on our disk to fill or to replace.
    sockets = f"/proc/{pid}/root{RUN}"
    os.listdir(sockets)  # Raises where we may not look into the namespaces.
    return {**connection, "ip": f"{sockets}/kernel"}


async def _start_plain(local: _Local, interpreter: Interpreter, environment: dict[str, str]) -> dict[str, Any]:
    # A socket's path has 107 bytes at most, and ours may be long.
    sockets = Path(tempfile.mkdtemp(prefix="codeact-"))
    (local.directory / SOCKETS).symlink_to(sockets)
    workspace, temporary = local.directory / "workspace", local.directory / "tmp"
    workspace.mkdir()
    temporary.mkdir()
    connection = _connection(str(sockets / "kernel"))
    file = sockets / "connection.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(connection))
    command = [interpreter.executable, "-I", str(KERNEL_MAIN), str(file), str(workspace)]
    await _run(local, command, environment | {"HOME": str(workspace), "TMPDIR": str(temporary)})
    return connection


async def _run(local: _Local, command: list[str], environment: dict[str, str], descriptors: Sequence[int] = ()) -> None:
    if local.group is not None:
        command = local.group.wrap(command)
    local.process = await KernelProcess.spawn(command, environment, descriptors)
    await local.process.ready()


def _kill(process: KernelProcess, init: int | None) -> None:
    """With the first process of its namespaces every other one ends, and bwrap after them."""
    with contextlib.suppress(ProcessLookupError):
        if init is not None:
            signal.pidfd_send_signal(init, signal.SIGKILL)
        elif not process.exited.done():
            os.killpg(process.pid, signal.SIGKILL)


def _connection(sockets: str) -> dict[str, Any]:
    key = secrets.token_hex(32)
    return {"transport": "ipc", "ip": sockets, "key": key, "signature_scheme": "hmac-sha256", **PORTS}


def _environment(sandbox_id: str, interpreter: Interpreter, limits: Limits) -> dict[str, str]:
    """Nothing of ours: the server's environment holds its secrets."""
    threads = str(max(1, math.ceil(limits.cpus)))
    return {
        "PATH": f"{os.path.dirname(interpreter.executable)}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "IPYTHONDIR": "/tmp/ipython",  # noqa: S108
        "MPLCONFIGDIR": "/tmp/matplotlib",  # noqa: S108
        "XDG_CACHE_HOME": "/tmp/cache",  # noqa: S108
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        MARK: sandbox_id,
    }


def _isolation(bubblewrap: Bubblewrap | None, problem: str, cgroups: Cgroups) -> Isolation:
    missing = []
    if bubblewrap is None:
        missing.append(
            f"The code runs as your own user, with your files and your network: {problem}. "
            "Install bubblewrap (apt install bubblewrap, dnf install bubblewrap) or use Docker."
        )
    if bubblewrap is None or not bubblewrap.sizes:
        missing.append("workspace_mb is not enforced: it takes bubblewrap 0.7 or newer.")
    absent = [limit for limit, name in LIMITS.items() if name not in cgroups.parents]
    if absent:
        missing.append(
            f"{', '.join(absent)} are not enforced: no control group can be made here. "
            "Run the server as root, or as a systemd service with Delegate=yes, or use Docker."
        )
    summary = "local process, not isolated" if bubblewrap is None else "bubblewrap namespaces, no network"
    return Isolation(bubblewrap is not None, summary, tuple(missing))


@contextlib.contextmanager
def _memory_file(text: str) -> Iterator[int]:
    descriptor = os.memfd_create("codeact")
    try:
        os.write(descriptor, text.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


LIMITS = {"memory_mb": "memory", "cpus": "cpu", "pids": "pids"}

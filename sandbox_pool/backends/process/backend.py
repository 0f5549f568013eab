"""The backend that runs each sandbox as a local process: in bubblewrap namespaces if they work, else unisolated."""

import asyncio
import builtins
import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from anyio.abc import ByteStream

from sandbox_pool.backends.base import Death, Isolation, Notice, Started
from sandbox_pool.backends.process.bubblewrap import Bubblewrap
from sandbox_pool.backends.process.cleanup import GROUP, erase, global_name
from sandbox_pool.backends.process.inode_quota import Inodes, NotLimited
from sandbox_pool.backends.process.interpreter import Interpreter
from sandbox_pool.backends.process.resource_group import Groups, find
from sandbox_pool.backends.process.sandbox import Local
from sandbox_pool.backends.process.unprivileged_user import is_root
from sandbox_pool.backends.shared.egress import EgressProxy
from sandbox_pool.backends.shared.instance import Instance
from sandbox_pool.backends.shared.kernel_process import exit_sentence
from sandbox_pool.backends.shared.seccomp import filter_program
from sandbox_pool.backends.shared.threads import Threads
from sandbox_pool.errors import (
    EngineUnavailable,
    FileError,
    FileRefused,
    ImageUnavailable,
    SandboxGone,
    SandboxStartFailed,
)
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["ProcessBackend"]

CONTROLLERS = {"memory_mb": "memory", "cpus": "cpu", "pids": "pids"}
"""The control group controller that enforces each limit."""
NETWORKS = {"none": "no network", "open": "the host's network"}
TRIAL_S = 60.0
EXIT_S = 1.0


class ProcessBackend:
    """Runs kernels as processes of this machine. Several servers may share `state_dir`."""

    name = "process"

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._preparing = asyncio.Lock()
        self._threads = Threads("process")
        self._instance: Instance | None = None
        self._interpreters: dict[str | None, Interpreter] = {}
        self._bubblewrap: Bubblewrap | None = None
        self._inodes: Inodes | None = None
        self._groups: Groups | None = None
        self._prlimit = shutil.which("prlimit")
        self._isolation: Isolation | None = None
        self._summary = ""
        self._sandboxes: dict[str, Local] = {}

    @property
    def isolation(self) -> Isolation:
        if self._isolation is None:
            raise RuntimeError("prepare has not been called")
        return self._isolation

    @property
    def egress_problem(self) -> str:
        if self._bubblewrap is not None:
            return ""
        return "Hosts can be allowed to isolated sandboxes only: it takes bubblewrap or Docker."

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        async with self._preparing:
            await self._interpreter(spec)
            self._summary = f"bubblewrap namespaces, {NETWORKS[_network(spec)]}"
            if self._isolation is not None:
                return
            self._instance = self._instance or Instance(self._state_dir, "process")
            self._groups = await asyncio.to_thread(find)
            self._bubblewrap = await asyncio.to_thread(Bubblewrap.find)
            self._inodes = await asyncio.to_thread(Inodes.find)
            # Fill the function's cache now, so that later calls do not block.
            await asyncio.to_thread(filter_program)
            problem = "bubblewrap is not installed"
            while self._bubblewrap is not None:
                progress("Trying a sandbox in bubblewrap namespaces.")
                try:
                    await self._try(spec)
                    break
                except SandboxStartFailed as error:
                    if isinstance(error.__cause__, NotLimited):
                        self._inodes = None
                        continue
                    problem = f"bubblewrap does not work here: {error.message}"
                    self._bubblewrap = self._bubblewrap.simpler
            if self._bubblewrap is None:
                progress("Trying a sandbox as a plain process.")
                try:
                    await self._try(spec)
                except SandboxStartFailed as error:
                    raise ImageUnavailable(f"No kernel can be started. {error.message}") from None
            self._isolation = self._promises(problem)

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        interpreter = await self._interpreter(spec)
        try:
            local = await self._threads.run(self._furnish, sandbox_id, spec)
            if self._bubblewrap is not None:
                network = _network(spec)
                proxy = EgressProxy(spec.egress, self._threads, spec.egress_private) if spec.egress else None
                connection = await local.start_isolated(interpreter, self._bubblewrap, self._inodes, network, proxy)
            elif spec.egress is not None:
                raise SandboxStartFailed(self.egress_problem, sandbox_id=sandbox_id)
            else:
                connection = await local.start_plain(interpreter)
        except OSError as error:
            raise SandboxStartFailed(f"The kernel cannot be started: {error}.", sandbox_id=sandbox_id) from error
        return Started(sandbox_id, connection)

    @asynccontextmanager
    async def files(self, sandbox_id: str, request: Mapping[str, Any]) -> AsyncIterator[ByteStream]:
        local = self._sandboxes.get(sandbox_id)
        if local is None or local.workspace is None:
            raise SandboxGone("The sandbox is gone.", sandbox_id=sandbox_id)
        async with AsyncExitStack() as stack:
            try:
                stream = await stack.enter_async_context(local.files(request))
            except OSError as error:
                raise FileError(f"The files of the sandbox cannot be reached: {error}.") from error
            yield stream

    async def add_readonly(self, sandbox_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        local = self._sandboxes.get(sandbox_id)
        if local is None or local.workspace is None:
            raise SandboxGone("The sandbox is gone.", sandbox_id=sandbox_id)
        if self._bubblewrap is None:
            raise FileRefused("Files that code cannot change (skills) need an isolated sandbox: bubblewrap or Docker.")
        try:
            await self._threads.run(local.add_readonly, folder, files)
        except OSError as error:
            raise FileError(f"The files cannot be written for the sandbox: {error}.") from error

    async def death(self, sandbox_id: str, limits: Limits) -> Death:
        local = self._sandboxes.get(sandbox_id)
        if local is None or local.process is None:
            return Death("The kernel never started.")
        exited, _ = await asyncio.wait({local.process.exited}, timeout=EXIT_S)
        if not exited:
            return Death("The kernel does not answer.")
        code = local.process.exited.result()
        # The system may have killed another process of the group first, so the kernel may have died of any signal.
        killed = code < 0 or code > 128
        if killed and local.group is not None and await asyncio.to_thread(local.group.oom_killed):
            return Death(
                f"The kernel was killed: the code needed more than its {limits.memory_mb} MB of memory.",
                "memory_mb",
            )
        return Death(exit_sentence(code))

    async def destroy(self, sandbox_id: str) -> None:
        local = self._sandboxes.get(sandbox_id)
        if local is None:
            for directory in await self._threads.run(self._leftovers):
                if directory.name == sandbox_id:
                    await self._threads.run(erase, directory)
            return
        await local.end()
        await self._threads.run(_remove, local.directory, local.let_go())
        self._sandboxes.pop(sandbox_id, None)

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        """Waits for ever: local processes have no engine, and the kernel's client sees when a kernel ends."""
        await asyncio.get_running_loop().create_future()

    async def list(self) -> builtins.list[str]:
        if self._groups is not None:
            await self._threads.run(self._groups.sweep)
        return [directory.name for directory in await self._threads.run(self._leftovers)]

    async def close(self) -> None:
        if self._instance is not None:
            self._instance.close()
            self._instance = None
        self._threads.close()

    def _furnish(self, sandbox_id: str, spec: SandboxSpec) -> Local:
        """Creates a sandbox's directory and control group. Blocks."""
        assert self._instance is not None, "prepare has not been called"
        local = self._sandboxes[sandbox_id] = Local(self._instance.create(sandbox_id), spec.limits, self._threads)
        local.readonly.mkdir()
        local.readonly.chmod(0o755)
        if self._groups is not None:
            local.group = self._groups.create(global_name(local.directory), spec.limits)
            (local.directory / GROUP).write_text(json.dumps(local.group.record()))
        if not self._enforces("memory_mb") and self._prlimit:
            local.prefix = [self._prlimit, f"--data={spec.limits.memory_mb * 1024 * 1024}"]
        return local

    def _leftovers(self) -> builtins.list[Path]:
        return self._instance.leftovers() if self._instance is not None else []

    async def _interpreter(self, spec: SandboxSpec) -> Interpreter:
        if spec.python not in self._interpreters:
            self._interpreters[spec.python] = await asyncio.to_thread(Interpreter.probe, spec.python, spec.preload)
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

    def _enforces(self, limit: str) -> bool:
        return self._groups is not None and CONTROLLERS[limit] in self._groups.controllers

    def _promises(self, problem: str) -> Isolation:
        """Describes the isolation. `problem` is why namespaces do not work, if they do not."""
        missing = []
        if self._bubblewrap is None:
            missing.append(
                f"The code runs as your own user, with your files and your network: {problem}. "
                "Install bubblewrap (apt install bubblewrap, dnf install bubblewrap) or use Docker."
            )
        elif filter_program() is None:
            missing.append("System calls are not filtered: install libseccomp (apt install libseccomp2).")
        if self._bubblewrap is not None and self._bubblewrap.nobody is None and is_root():
            missing.append(
                "The code is the host's root, although without capabilities: run the server as another user, or see "
                "that setpriv is installed (apt install util-linux) and everybody may read the Python interpreter."
            )
        if self._bubblewrap is None or not self._bubblewrap.sizes:
            missing.append("workspace_mb, tmp_mb and shm_mb are not enforced: it takes bubblewrap 0.7 or newer.")
        if self._bubblewrap is None or self._inodes is None:
            missing.append("workspace_inodes is not enforced: it takes bubblewrap, nsenter and mount (util-linux).")
        unenforced = [limit for limit in CONTROLLERS if not self._enforces(limit)]
        if unenforced:
            alone = " (memory_mb holds for each process alone)" if self._prlimit else ""
            missing.append(
                f"{', '.join(unenforced)} not enforced, for want of control groups{alone}: run the server in a "
                "systemd user session, as a systemd service with Delegate=yes, or as root."
            )
        if self._bubblewrap is None:
            return Isolation(False, "local process, not isolated", tuple(missing))
        return Isolation(True, self._summary, tuple(missing))


def _remove(directory: Path, descriptors: Sequence[int]) -> None:
    """Removes what is left of an ended sandbox. Blocks: closing the last descriptor of a workspace frees its memory."""
    for descriptor in descriptors:
        os.close(descriptor)
    erase(directory)


def _network(spec: SandboxSpec) -> Literal["none", "open"]:
    if spec.network == "internal":
        raise EngineUnavailable(
            "CODEACT_SANDBOX_NETWORK=internal takes Docker: a local process has either no network or the host's, since "
            "only root could make one that leads to a proxy alone. Set CODEACT_SANDBOX=docker, or the network to none."
        )
    return spec.network

"""Sandboxes as Docker containers: a spec enters, a container leaves whose kernel is reached over ipc sockets.

A container has no network and sees one directory of the host, its own, where its kernel binds the sockets
that we connect to. The kernel runs as a user that nobody is on the host and may write there only until its
sockets are bound, so that code can neither fill the host's disk nor put a link where we would follow it. The
directories above let no other user of the host in.
"""

import asyncio
import json
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import anyio
import docker
import requests.exceptions
from anyio import from_thread, to_thread
from anyio.abc import ByteStream

from sandbox_pool.backends import Death, Isolation, Notice, Started
from sandbox_pool.backends.docker_container import (
    SOCKETS,
    WORKSPACE,
    container_arguments,
    explain_death,
    missing_promises,
)
from sandbox_pool.backends.docker_engine import REQUEST_TIMEOUT_S, Engine
from sandbox_pool.backends.docker_errors import translated
from sandbox_pool.backends.docker_events import Events
from sandbox_pool.backends.docker_exec import ExecStream
from sandbox_pool.backends.image import ensure_image
from sandbox_pool.backends.instance import Instance
from sandbox_pool.backends.superseded import remove_superseded
from sandbox_pool.errors import EngineUnavailable, SandboxError, SandboxStartFailed
from sandbox_pool.logs import Logger
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["DockerBackend"]

log = Logger(__name__)

THREADS = 8
EXIT_TIMEOUT_S = 1.5
SOCKET_PATH_BYTES = 107
"""What fits into a socket's address (unix(7), `sun_path`)."""
LAST_WORDS_CHARS = 300
DIRECTORY_CHARS = 12
PYTHON = "/opt/kernel/bin/python"
"""Of an image from docker/sandbox.Dockerfile."""
FILES_MAIN = (Path(__file__).parents[1] / "files_main.py").read_text()
"""Handed over with each request: an image may be older than the server."""
READY = b"ready\n"
"""What `kernel_main.py` writes once its sockets are bound."""
INSTANCE = "codeact.instance"
SANDBOX = "codeact.sandbox"
"""Labels of a container."""
OUTPUT = "output"
"""A pipe in a sandbox's directory: stdout and stderr of the image's entrypoint."""
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
BINDING = 0o733
"""A sandbox's directory while its kernel, another user than us, binds its sockets there."""
SEALED = 0o711
"""And from then on: sockets can be reached, nothing can be added."""

P = ParamSpec("P")
T = TypeVar("T")


class DockerBackend:
    """A `Backend`. `prepare` comes first."""

    name = "docker"

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir / "docker"
        self._instance = Instance(self._state_dir, "docker")
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")
        self._engine: Engine | None = None
        self._images: dict[str | None, str] = {}

    @property
    def isolation(self) -> Isolation:
        return Isolation(True, "Docker container, no network", missing_promises(self._prepared.info))

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        if self._engine is None:
            _check_paths(self._directory("x" * DIRECTORY_CHARS))
            self._engine = await self._in_thread(Engine.connect)

        def report(line: str) -> None:
            from_thread.run_sync(progress, line)

        # A build or a pull takes minutes, and looks itself whether it has been cancelled.
        self._images[spec.image] = await to_thread.run_sync(
            ensure_image, self._engine.api, spec.image, report, abandon_on_cancel=True
        )

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        directory = self._directory(sandbox_id)
        try:
            kernel = await self._in_thread(self._start, sandbox_id, directory, spec)
            await _ready(directory, sandbox_id)
            directory.chmod(SEALED)
        except BaseException:
            with suppress(SandboxError):
                await self.destroy(sandbox_id)
            raise
        return Started(sandbox_id, {**kernel, "ip": f"{directory}/k"})

    @asynccontextmanager
    async def files(self, sandbox_id: str, request: Mapping[str, Any]) -> AsyncIterator[ByteStream]:
        exec_id = await self._in_thread(self._prepare_exec, sandbox_id, request)
        async with AsyncExitStack() as stack:
            try:
                stream = ExecStream(await stack.enter_async_context(await self._prepared.dial()))
                with anyio.fail_after(REQUEST_TIMEOUT_S):
                    await stream.start(exec_id)
            except OSError as error:
                raise EngineUnavailable(f"The Docker engine cannot be reached: {error}.") from error
            yield stream

    async def death(self, sandbox_id: str, limits: Limits) -> Death:
        try:
            return await self._in_thread(self._death, sandbox_id, limits)
        except SandboxError as error:
            return Death(f"The kernel is gone, and nobody knows why. {error.message}")

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        await self._in_thread(self._tidy)
        ours = (INSTANCE, self._instance.directory.name)
        await Events(self._prepared, SANDBOX, ours, self._images).watch(notice)

    async def destroy(self, sandbox_id: str) -> None:
        await self._in_thread(self._destroy, sandbox_id)

    async def close(self) -> None:
        await self._in_thread(self._close)
        self._threads.shutdown(wait=False)

    @property
    def _prepared(self) -> Engine:
        assert self._engine is not None, "prepare has not been called"
        return self._engine

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls it in one of our threads. Being cancelled takes effect when it has returned: while a container
        is being created there is nothing to destroy yet.
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

    # ---- everything below runs in worker threads -------------------------------------------------------

    def _start(self, sandbox_id: str, directory: Path, spec: SandboxSpec) -> dict[str, Any]:
        """Starts the container; returns the connection dict as the kernel sees it."""
        kernel = {
            "transport": "ipc",
            "ip": f"{SOCKETS}/k",
            **{f"{channel}_port": port for port, channel in enumerate(CHANNELS, 1)},
            "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256",
        }
        try:
            self._instance.create(directory.name)
            (directory / "connection.json").write_text(json.dumps(kernel))
            (directory / "connection.json").chmod(0o644)
            os.mkfifo(directory / OUTPUT)
            (directory / OUTPUT).chmod(0o622)
            directory.chmod(BINDING)
        except OSError as error:
            raise SandboxStartFailed(f"No directory for the sandbox: {error}.", sandbox_id=sandbox_id) from error
        with translated(SandboxStartFailed, sandbox_id=sandbox_id):
            api = self._prepared.api
            api.create_container(
                name=_name(directory, sandbox_id),
                labels={INSTANCE: self._instance.directory.name, SANDBOX: sandbox_id},
                **container_arguments(api, self._prepared.info, self._images[spec.image], directory, spec.limits),
            )
            api.start(_name(directory, sandbox_id))
        return kernel

    def _prepare_exec(self, sandbox_id: str, request: Mapping[str, Any]) -> str:
        command = [PYTHON, "-I", "-S", "-X", "utf8", "-c", FILES_MAIN]
        command.append(json.dumps({**request, "root": WORKSPACE, "user": None}))
        with translated(SandboxError, sandbox_id=sandbox_id):
            created = self._prepared.api.exec_create(
                _name(self._directory(sandbox_id), sandbox_id), command, stdin=True, stderr=False, workdir="/"
            )
        exec_id: str = created["Id"]
        return exec_id

    def _death(self, sandbox_id: str, limits: Limits) -> Death:
        name = _name(self._directory(sandbox_id), sandbox_id)
        with translated(SandboxError, sandbox_id=sandbox_id):
            # Still running after that: the state says so.
            with suppress(requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout):
                self._prepared.api.wait(name, timeout=EXIT_TIMEOUT_S)
            container = self._prepared.api.inspect_container(name)
        state = container["State"]
        return explain_death(
            state, out_of_memory=state["OOMKilled"] or self._ran_out_of_memory(container), limits=limits
        )

    def _ran_out_of_memory(self, container: dict[str, Any]) -> bool:
        """Asks the engine's log of events, for engines whose own flag misses what ends the container at once."""
        events = self._prepared.api.events(
            since=1, until=f"{time.time():.6f}", filters={"container": container["Id"], "event": "oom"}
        )
        return any(True for _ in events)

    def _destroy(self, sandbox_id: str) -> None:
        directories = [self._directory(sandbox_id)]
        if not directories[0].exists():
            # Not ours, or removed already: another instance, which is gone, may have made it.
            directories += [instance / directories[0].name for instance in self._instance.dead()]
        for directory in directories:
            with translated(SandboxError, sandbox_id=sandbox_id):
                try:
                    self._prepared.api.remove_container(_name(directory, sandbox_id), force=True, v=True)
                except docker.errors.APIError as error:
                    # 404: it is gone; 409: somebody is removing it already.
                    if error.status_code not in (404, 409):
                        raise
            shutil.rmtree(directory, ignore_errors=True)

    def _leftovers(self) -> set[str]:
        dead = {instance.name: instance for instance in self._instance.dead()}
        if not dead:
            return set()
        with translated(SandboxError):
            containers = self._prepared.api.containers(all=True, filters={"label": INSTANCE})
        labels = [each["Labels"] for each in containers if each["Labels"][INSTANCE] in dead]
        for name in dead.keys() - {label[INSTANCE] for label in labels}:
            self._instance.forget(dead[name])
        return {label[SANDBOX] for label in labels}

    def _tidy(self) -> None:
        built = self._images.get(None)
        if built is None:
            return
        try:
            with translated(SandboxError):
                remove_superseded(self._prepared.api, built)
        except (SandboxError, KeyError) as error:  # An engine of another make may have other fields.
            log.warning("superseded images not looked for", reason=str(error))

    def _close(self) -> None:
        self._instance.close()
        if self._engine is not None:
            self._engine.api.close()

    def _directory(self, sandbox_id: str) -> Path:
        # The end of an id is its random part; the whole would not fit into a socket's address.
        return self._instance.directory / sandbox_id[-DIRECTORY_CHARS:]

    async def list(self) -> list[str]:
        return list(await self._in_thread(self._leftovers))


def _name(directory: Path, sandbox_id: str) -> str:
    """A container's. Ids are unique in a server; an engine may serve several."""
    return f"codeact-{directory.parent.name}-{sandbox_id}"


async def _ready(directory: Path, sandbox_id: str) -> None:
    """Returns once the kernel says that its sockets are bound. Raises `SandboxStartFailed` with its last words."""
    # Not blocking: the other end is opened by the container.
    output = os.open(directory / OUTPUT, os.O_RDONLY | os.O_NONBLOCK)
    words = b""
    try:
        while not words.endswith(READY):
            await anyio.wait_readable(output)
            piece = os.read(output, 65_536)
            if not piece:
                last = words.decode(errors="replace").strip().rpartition("\n")[2][:LAST_WORDS_CHARS]
                problem = f"The kernel ended before it was ready: {last or 'it said nothing'}."
                raise SandboxStartFailed(problem, sandbox_id=sandbox_id)
            words += piece
    finally:
        os.close(output)


def _check_paths(directory: Path) -> None:
    if len(os.fsencode(directory)) + len("/k-5") > SOCKET_PATH_BYTES:
        raise EngineUnavailable(
            f"{directory} is too long for the path of a socket. Set CODEACT_DATA_DIR to a shorter one."
        )

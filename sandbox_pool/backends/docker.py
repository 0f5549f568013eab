"""Sandboxes as Docker containers: a spec enters, a container leaves whose kernel is reached over ipc sockets.

A container has no network and sees one directory of the host, its own, where its kernel binds the sockets
that we connect to. The kernel runs as a user that nobody is on the host and may write there only until its
sockets are bound, so that code can neither fill the host's disk nor put a link where we would follow it. The
directories above let no other user of the host in.
"""

import json
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import anyio
import docker
import requests.exceptions
from anyio import from_thread, to_thread
from anyio.abc import ByteStream

from sandbox_pool.backends import Death, Isolation, Notice, Started
from sandbox_pool.backends.docker_container import (
    SOCKETS,
    WORKSPACE,
    check_spec,
    container_arguments,
    explain_death,
    missing_promises,
    shares_sockets,
)
from sandbox_pool.backends.docker_directory import LAST_WORDS_CHARS, READY, check_path, furnish, not_ready, sealed
from sandbox_pool.backends.docker_engine import Engine
from sandbox_pool.backends.docker_errors import translated
from sandbox_pool.backends.docker_events import Events
from sandbox_pool.backends.docker_exec import hear, python
from sandbox_pool.backends.docker_network import (
    PROXY_READY,
    Link,
    connect_internal,
    connect_open,
    create_proxy,
    proxy_id,
    remove_network,
)
from sandbox_pool.backends.docker_siblings import SERVER, orphans, own_container
from sandbox_pool.backends.image import ensure_image, ensure_proxy_image
from sandbox_pool.backends.instance import Instance
from sandbox_pool.backends.superseded import remove_superseded
from sandbox_pool.backends.threads import Threads
from sandbox_pool.backends.tunnel import Tunnel
from sandbox_pool.errors import EngineUnavailable, SandboxError, SandboxStartFailed
from sandbox_pool.logs import Logger
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["DockerBackend"]

log = Logger(__name__)

EXIT_TIMEOUT_S = 1.5
DIRECTORY_CHARS = 12
FILES_MAIN = (Path(__file__).parents[1] / "files_main.py").read_text()
RELAY_MAIN = (Path(__file__).parents[1] / "relay_main.py").read_text()
"""Programs are handed over with each request: an image may be older than the server."""
INSTANCE = "codeact.instance"
SANDBOX = "codeact.sandbox"
"""Labels of a container."""
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
TUNNELLED = ("shell", "iopub", "control")
"""Those that are used."""
NETWORKS = {"none": "no network", "internal": "network to allowed hosts only", "open": "open network"}


class DockerBackend:
    """A `Backend`. `prepare` comes first."""

    name = "docker"

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir / "docker"
        self._instance = Instance(self._state_dir, "docker")
        self._threads = Threads("docker")
        self._engine: Engine | None = None
        self._server: str | None = None
        self._images: dict[str | None, str] = {}
        self._shares = False
        self._tunnels: dict[str, Tunnel] = {}
        self._network: Literal["none", "internal", "open"] = "none"

    @property
    def isolation(self) -> Isolation:
        return Isolation(True, f"Docker container, {NETWORKS[self._network]}", missing_promises(self._prepared.info))

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        if self._engine is None:
            check_path(self._directory("x" * DIRECTORY_CHARS))
            self._engine = await self._threads.run(Engine.connect)
            self._server = await self._threads.run(own_container, self._engine)

        def report(line: str) -> None:
            from_thread.run_sync(progress, line)

        check_spec(spec, self._engine.info)
        # A build or a pull takes minutes, and looks itself whether it has been cancelled.
        self._images[spec.image] = await to_thread.run_sync(
            ensure_image, self._engine.api, spec.image, report, abandon_on_cancel=True
        )
        self._shares = await self._threads.run(
            self._engine.shares, self._instance.directory.absolute(), self._images[spec.image]
        )
        if spec.network == "internal":
            image = await to_thread.run_sync(ensure_proxy_image, self._engine.api, report, abandon_on_cancel=True)
            await self._have_proxy(spec.allowed_hosts, image)
        self._network = spec.network

    async def _have_proxy(self, allowed_hosts: tuple[str, ...], image: str) -> None:
        proxy = proxy_id(allowed_hosts)
        directory = self._directory(proxy)
        if directory.exists():
            return
        # As a sandbox has one: so that what a dead server leaves is found.
        self._instance.create(directory.name)
        try:
            with translated(EngineUnavailable):
                arguments = _name(directory, proxy), image, allowed_hosts, self._labels(proxy)
                await self._threads.run(create_proxy, self._prepared, *arguments)
                start = partial(self._threads.run, self._start, proxy)
                words = await hear(self._prepared, _name(directory, proxy), PROXY_READY, start=start)
            if PROXY_READY not in words:
                last = words.decode(errors="replace").strip()[-LAST_WORDS_CHARS:]
                raise EngineUnavailable(f"The egress proxy does not start: {last}")
        except BaseException:
            await self._clean_up(proxy)
            raise

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        directory = self._directory(sandbox_id)
        try:
            kernel = await self._threads.run(self._create, sandbox_id, directory, spec)
            if self._shares_directories(spec):
                await self._threads.run(self._start, sandbox_id)
                await sealed(directory, sandbox_id)
            else:
                await self._start_out_of_reach(sandbox_id, directory)
        except (OSError, anyio.BrokenResourceError) as error:
            await self._clean_up(sandbox_id)
            raise SandboxStartFailed(f"The Docker engine cannot be reached: {error}.", sandbox_id=sandbox_id) from error
        except BaseException:
            await self._clean_up(sandbox_id)
            raise
        return Started(sandbox_id, {**kernel, "ip": f"{directory}/k"})

    @asynccontextmanager
    async def files(self, sandbox_id: str, request: Mapping[str, Any]) -> AsyncIterator[ByteStream]:
        request = {**request, "root": WORKSPACE, "user": None}
        name = _name(self._directory(sandbox_id), sandbox_id)
        async with python(self._prepared, name, FILES_MAIN, json.dumps(request)) as stream:
            yield stream

    async def death(self, sandbox_id: str, limits: Limits) -> Death:
        try:
            return await self._threads.run(self._death, sandbox_id, limits)
        except SandboxError as error:
            return Death(f"The kernel is gone, and nobody knows why. {error.message}")

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        await self._threads.run(self._tidy)
        ours = (INSTANCE, self._instance.directory.name)
        await Events(self._prepared, SANDBOX, ours, self._images).watch(notice)

    async def destroy(self, sandbox_id: str) -> None:
        await self._threads.run(self._destroy, sandbox_id)
        if tunnel := self._tunnels.pop(sandbox_id, None):
            await tunnel.close()

    async def close(self) -> None:
        await self._threads.run(self._close)
        self._threads.close()

    async def _start_out_of_reach(self, sandbox_id: str, directory: Path) -> None:
        """Of a container whose file system we do not share: its output and its sockets come through the engine."""
        name = _name(directory, sandbox_id)
        words = await hear(self._prepared, name, READY, start=partial(self._threads.run, self._start, sandbox_id))
        if READY not in words:
            raise not_ready(words, sandbox_id)
        async with AsyncExitStack() as stack:
            streams = {}
            for channel in TUNNELLED:
                socket = f"k-{CHANNELS.index(channel) + 1}"
                relay = python(self._prepared, name, RELAY_MAIN, f"{SOCKETS}/{socket}")
                streams[directory / socket] = await stack.enter_async_context(relay)
            self._tunnels[sandbox_id] = await Tunnel.open(streams, stack.pop_all())

    async def _clean_up(self, sandbox_id: str) -> None:
        with suppress(SandboxError):
            await self.destroy(sandbox_id)

    def _shares_directories(self, spec: SandboxSpec) -> bool:
        if spec.transport == "auto":
            return self._shares and shares_sockets(spec, self._prepared.info)
        return spec.transport == "directory"

    @property
    def _prepared(self) -> Engine:
        assert self._engine is not None, "prepare has not been called"
        return self._engine

    # ---- everything below runs in worker threads -------------------------------------------------------

    def _create(self, sandbox_id: str, directory: Path, spec: SandboxSpec) -> dict[str, Any]:
        """Makes the container; returns the connection dict as the kernel sees it."""
        kernel = {
            "transport": "ipc",
            "ip": f"{SOCKETS}/k",
            **{f"{channel}_port": port for port, channel in enumerate(CHANNELS, 1)},
            "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256",
        }
        shared = self._shares_directories(spec)
        try:
            self._instance.create(directory.name)
            if shared:
                furnish(directory, json.dumps(kernel))
        except OSError as error:
            raise SandboxStartFailed(f"No directory for the sandbox: {error}.", sandbox_id=sandbox_id) from error
        with translated(SandboxStartFailed, sandbox_id=sandbox_id):
            api, image = self._prepared.api, self._images[spec.image]
            arguments = container_arguments(
                api,
                self._prepared.info,
                image,
                spec,
                self._link(_name(directory, sandbox_id), sandbox_id, spec),
                sockets=directory if shared else None,
                connection=json.dumps(kernel),
                entrypoint=api.inspect_image(image)["Config"]["Entrypoint"] if not shared else (),
            )
            api.create_container(name=_name(directory, sandbox_id), labels=self._labels(sandbox_id), **arguments)
        return kernel

    def _link(self, name: str, sandbox_id: str, spec: SandboxSpec) -> Link:
        if spec.network == "internal":
            proxy = proxy_id(spec.allowed_hosts)
            labels = self._labels(sandbox_id)
            return connect_internal(self._prepared, name, _name(self._directory(proxy), proxy), labels)
        return connect_open(self._prepared) if spec.network == "open" else Link()

    def _labels(self, sandbox_id: str) -> dict[str, str]:
        server = {SERVER: self._server} if self._server else {}
        return {INSTANCE: self._instance.directory.name, SANDBOX: sandbox_id, **server}

    def _start(self, sandbox_id: str) -> None:
        with translated(SandboxStartFailed, sandbox_id=sandbox_id):
            self._prepared.api.start(_name(self._directory(sandbox_id), sandbox_id))

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
            directories += [instance / directories[0].name for instance in self._dead()]
        for directory in directories:
            with translated(SandboxError, sandbox_id=sandbox_id):
                try:
                    self._prepared.api.remove_container(_name(directory, sandbox_id), force=True, v=True)
                except docker.errors.APIError as error:
                    # 404: it is gone; 409: somebody is removing it already.
                    if error.status_code not in (404, 409):
                        raise
                remove_network(self._prepared, _name(directory, sandbox_id))
            shutil.rmtree(directory, ignore_errors=True)

    def _dead(self) -> list[Path]:
        """Directories of server instances that no longer run; some may be gone, with the server's container."""
        return [*self._instance.dead(), *(self._state_dir / name for name in orphans(self._prepared, INSTANCE))]

    def _leftovers(self) -> set[str]:
        dead = {instance.name: instance for instance in self._dead()}
        if not dead:
            return set()
        with translated(SandboxError):
            containers = self._prepared.api.containers(all=True, filters={"label": INSTANCE})
            labels = [each["Labels"] for each in containers if each["Labels"][INSTANCE] in dead]
            for network in self._prepared.api.networks(filters={"label": INSTANCE}):
                # That of a sandbox which still has its container goes with it.
                if network["Labels"][INSTANCE] in dead and network["Labels"] not in labels:
                    remove_network(self._prepared, network["Name"])
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
        if self._engine is not None:
            for proxy in self._instance.directory.glob("egress*"):
                with suppress(SandboxError):
                    self._destroy(proxy.name)
        self._instance.close()
        if self._engine is not None:
            self._engine.api.close()

    def _directory(self, sandbox_id: str) -> Path:
        # The end of an id is its random part; the whole would not fit into a socket's address.
        return self._instance.directory / sandbox_id[-DIRECTORY_CHARS:]

    async def list(self) -> list[str]:
        return list(await self._threads.run(self._leftovers))


def _name(directory: Path, sandbox_id: str) -> str:
    """A container's. Ids are unique in a server; an engine may serve several."""
    return f"codeact-{directory.parent.name}-{sandbox_id}"

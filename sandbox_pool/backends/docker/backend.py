"""The backend that runs each sandbox as a Docker container, and connects to its kernel over ipc sockets.

By default a container has no network, and shares one directory with the host: there its kernel binds the sockets that
the server connects to. The kernel runs as a user that does not exist on the host. It may write to the directory only
until the sockets are bound, so that code can neither fill the host's disk nor plant a link that the server would
follow. Other users of the host cannot enter the directories above it.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import anyio
from anyio import from_thread, to_thread
from anyio.abc import ByteStream

from sandbox_pool.backends.base import GUEST, READONLY, Death, Isolation, Notice, Started
from sandbox_pool.backends.docker.building import alone
from sandbox_pool.backends.docker.container import SOCKETS, WORKSPACE, check_spec, missing_promises, shares_sockets
from sandbox_pool.backends.docker.containers import CHANNELS, INSTANCE, SANDBOX, Containers, directory_of
from sandbox_pool.backends.docker.directory import READY, STDERR_TAIL_CHARS, check_path, not_ready, sealed, write_shared
from sandbox_pool.backends.docker.errors import translated
from sandbox_pool.backends.docker.events import Events
from sandbox_pool.backends.docker.exec import hear, python
from sandbox_pool.backends.docker.image import digest_of, ensure_image, ensure_proxy_image
from sandbox_pool.backends.docker.network import PROXY_READY, proxy_id
from sandbox_pool.backends.docker.stale_images import remove_superseded
from sandbox_pool.backends.docker.tunnel import Tunnel
from sandbox_pool.backends.shared.egress import BUNDLE, EgressProxy
from sandbox_pool.backends.shared.instance import Instance
from sandbox_pool.backends.shared.readonly import write_readonly
from sandbox_pool.backends.shared.threads import Threads
from sandbox_pool.errors import EngineUnavailable, SandboxError, SandboxStartFailed
from sandbox_pool.logs import Logger
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["DockerBackend"]

log = Logger(__name__)

FILES_MAIN = (GUEST / "files_main.py").read_text()
READONLY_MAIN = (GUEST / "readonly_main.py").read_text()
RELAY_MAIN = (GUEST / "relay_main.py").read_text()
"""The source of the programs. They are sent with each request, since an image may be older than the server."""
TUNNELLED = ("shell", "iopub", "control")
"""The channels of a kernel that the server uses."""
NOT_SHARED = (
    "Hosts can be allowed to single containers only where the server and the Docker engine share a directory"
    " (CODEACT_SANDBOX_TRANSPORT=directory)."
)
NETWORKS = {"none": "no network", "internal": "network to allowed hosts only", "open": "open network"}


class DockerBackend:
    """Runs sandboxes as Docker containers. Call `prepare` first."""

    name = "docker"

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir / "docker"
        self._instance = Instance(self._state_dir, "docker")
        self._threads = Threads("docker")
        self._containers: Containers | None = None
        self._images: dict[str | None, str] = {}
        self._digests: dict[str, str] = {}
        self._shares = False
        self._proxies: dict[str, EgressProxy] = {}
        self._tunnels: dict[str, Tunnel] = {}
        self._network: Literal["none", "internal", "open"] = "none"

    @property
    def isolation(self) -> Isolation:
        missing = missing_promises(self._prepared.engine.info)
        return Isolation(True, f"Docker container, {NETWORKS[self._network]}", missing)

    @property
    def egress_problem(self) -> str:
        return "" if self._shares else NOT_SHARED

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        if self._containers is None:
            check_path(directory_of(self._instance, "x" * 100))
            self._containers = await self._threads.run(Containers.open, self._instance, self._state_dir)
        engine = self._containers.engine

        def report(line: str) -> None:
            from_thread.run_sync(progress, line)

        check_spec(spec, engine.info)
        # A build or a pull takes minutes. It checks itself whether it has been cancelled.
        async with alone(self._state_dir, progress):
            image = await to_thread.run_sync(ensure_image, engine.api, spec.image, report, abandon_on_cancel=True)
        self._images[spec.image] = image
        self._digests[image] = await self._threads.run(digest_of, engine.api, image)
        self._shares = await self._threads.run(engine.shares, self._instance.directory.absolute(), image)
        if spec.network == "internal":
            async with alone(self._state_dir, progress):
                proxy_image = await to_thread.run_sync(ensure_proxy_image, engine.api, report, abandon_on_cancel=True)
            await self._have_proxy(spec.allowed_hosts, proxy_image)
        self._network = spec.network

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        containers = self._prepared
        directory = directory_of(self._instance, sandbox_id)
        shared = self._shares_directories(spec)
        if spec.egress is not None:
            if not shared:
                raise SandboxStartFailed(self.egress_problem or NOT_SHARED, sandbox_id=sandbox_id)
            self._proxies[sandbox_id] = EgressProxy(spec.egress, self._threads, spec.egress_private)
        proxy = self._proxies.get(sandbox_id)
        proxied = proxy.environment(SOCKETS) if proxy is not None else {}
        try:
            image = self._images[spec.image]
            kernel = await self._threads.run(
                containers.create, sandbox_id, spec, image, shared=shared, environment=proxied
            )
            if proxy is not None:
                trusted = await proxy.start(directory)
                await self._threads.run(write_shared, directory / BUNDLE, trusted)
            if shared:
                await self._threads.run(containers.start, sandbox_id)
                await sealed(directory, sandbox_id)
            else:
                await self._start_out_of_reach(sandbox_id, directory)
        except (OSError, anyio.BrokenResourceError) as error:
            await self._clean_up(sandbox_id)
            raise SandboxStartFailed(f"The Docker engine cannot be reached: {error}.", sandbox_id=sandbox_id) from error
        except BaseException:
            await self._clean_up(sandbox_id)
            raise
        return Started(sandbox_id, {**kernel, "ip": f"{directory}/k"}, image=self._digests.get(image))

    @asynccontextmanager
    async def files(self, sandbox_id: str, request: Mapping[str, Any]) -> AsyncIterator[ByteStream]:
        request = {**request, "root": WORKSPACE, "user": None}
        engine, name = self._prepared.engine, self._prepared.name(sandbox_id)
        async with python(engine, name, FILES_MAIN, json.dumps(request)) as stream:
            yield stream

    async def add_readonly(self, sandbox_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        # The container's root, without capabilities, owns the folder: the code's user can only read it.
        engine, name = self._prepared.engine, self._prepared.name(sandbox_id)
        async with python(engine, name, READONLY_MAIN, f"{READONLY}/{folder}", user="0") as stream:
            await write_readonly(stream, files)

    async def death(self, sandbox_id: str, limits: Limits) -> Death:
        try:
            return await self._threads.run(self._prepared.death, sandbox_id, limits)
        except SandboxError as error:
            return Death(f"The kernel is gone, and nobody knows why. {error.message}")

    async def destroy(self, sandbox_id: str) -> None:
        if proxy := self._proxies.pop(sandbox_id, None):
            await proxy.close()
        await self._threads.run(self._prepared.remove, sandbox_id)
        if tunnel := self._tunnels.pop(sandbox_id, None):
            await tunnel.close()

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        await self._threads.run(self._tidy)
        ours = (INSTANCE, self._instance.directory.name)
        await Events(self._prepared.engine, SANDBOX, ours, self._images).watch(notice)

    async def list(self) -> list[str]:
        return await self._threads.run(self._prepared.leftovers)

    async def close(self) -> None:
        if self._containers is not None:
            await self._threads.run(self._containers.close)
        await self._threads.run(self._instance.close)
        self._threads.close()

    @property
    def _prepared(self) -> Containers:
        assert self._containers is not None, "prepare has not been called"
        return self._containers

    def _shares_directories(self, spec: SandboxSpec) -> bool:
        if spec.transport == "auto":
            return self._shares and shares_sockets(spec, self._prepared.engine.info)
        return spec.transport == "directory"

    async def _start_out_of_reach(self, sandbox_id: str, directory: Path) -> None:
        """Starts a container that shares no directory; its output and its sockets are reached through the engine."""
        engine, name = self._prepared.engine, self._prepared.name(sandbox_id)
        words = await hear(engine, name, READY, start=partial(self._threads.run, self._prepared.start, sandbox_id))
        if READY not in words:
            raise not_ready(words, sandbox_id)
        async with AsyncExitStack() as stack:
            streams = {}
            for channel in TUNNELLED:
                socket = f"k-{CHANNELS.index(channel) + 1}"
                relay = python(engine, name, RELAY_MAIN, f"{SOCKETS}/{socket}")
                streams[directory / socket] = await stack.enter_async_context(relay)
            self._tunnels[sandbox_id] = await Tunnel.open(streams, stack.pop_all())

    async def _have_proxy(self, allowed_hosts: tuple[str, ...], image: str) -> None:
        containers, proxy = self._prepared, proxy_id(allowed_hosts)
        if directory_of(self._instance, proxy).exists():
            return
        try:
            await self._threads.run(containers.create_proxy, allowed_hosts, image)
            with translated(EngineUnavailable):
                start = partial(self._threads.run, containers.start, proxy)
                words = await hear(containers.engine, containers.name(proxy), PROXY_READY, start=start)
            if PROXY_READY not in words:
                last = words.decode(errors="replace").strip()[-STDERR_TAIL_CHARS:]
                raise EngineUnavailable(f"The egress proxy does not start: {last}")
        except BaseException:
            await self._clean_up(proxy)
            raise

    async def _clean_up(self, sandbox_id: str) -> None:
        with suppress(SandboxError):
            await self.destroy(sandbox_id)

    def _tidy(self) -> None:
        """Removes images that older versions built. Blocks."""
        built = self._images.get(None)
        if built is None:
            return
        try:
            with translated(SandboxError):
                remove_superseded(self._prepared.engine.api, built)
        except (SandboxError, KeyError) as error:  # Compatible engines such as Podman may lack some fields.
            log.warning("superseded images not looked for", reason=str(error))

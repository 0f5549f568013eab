"""Creates, starts, explains and removes the containers of one server.

Everything here blocks, and speaks to the engine. A sandbox has a directory of the instance, a container and perhaps a
network, whose names tell the instance, so that what a dead server left is found by the next.
"""

import json
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import requests.exceptions

from sandbox_pool.backends.base import Death
from sandbox_pool.backends.docker.container import SOCKETS, container_arguments, explain_death
from sandbox_pool.backends.docker.directory import furnish
from sandbox_pool.backends.docker.engine import Engine
from sandbox_pool.backends.docker.errors import translated
from sandbox_pool.backends.docker.network import (
    Link,
    connect_internal,
    connect_open,
    create_proxy,
    proxy_id,
    remove_network,
)
from sandbox_pool.backends.docker.orphans import SERVER, orphans, own_container
from sandbox_pool.backends.shared.instance import Instance
from sandbox_pool.errors import EngineUnavailable, SandboxError, SandboxStartFailed
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["CHANNELS", "INSTANCE", "SANDBOX", "Containers", "directory_of"]

EXIT_TIMEOUT_S = 1.5
DIRECTORY_CHARS = 12
INSTANCE = "codeact.instance"
SANDBOX = "codeact.sandbox"
"""Labels of a container."""
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


@dataclass(frozen=True, slots=True)
class Containers:
    """`server` is the container that this server runs in itself, if it is one of this engine's."""

    engine: Engine
    instance: Instance
    state_dir: Path
    server: str | None

    @classmethod
    def open(cls, instance: Instance, state_dir: Path) -> "Containers":
        """Raises `EngineUnavailable`, with cause and remedy."""
        engine = Engine.connect()
        return cls(engine, instance, state_dir, own_container(engine))

    def name(self, sandbox_id: str) -> str:
        """A container's, and that of its network."""
        return _name(directory_of(self.instance, sandbox_id), sandbox_id)

    def create(self, sandbox_id: str, spec: SandboxSpec, image: str, *, shared: bool) -> dict[str, Any]:
        """Makes a sandbox that is to be started; returns the connection dict as its kernel sees it.

        `shared`: its sockets will be in its directory, which the engine sees as we do. Raises `SandboxStartFailed`.
        """
        kernel = {
            "transport": "ipc",
            "ip": f"{SOCKETS}/k",
            **{f"{channel}_port": port for port, channel in enumerate(CHANNELS, 1)},
            "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256",
        }
        directory = directory_of(self.instance, sandbox_id)
        try:
            self.instance.create(directory.name)
            if shared:
                furnish(directory, json.dumps(kernel))
        except OSError as error:
            raise SandboxStartFailed(f"No directory for the sandbox: {error}.", sandbox_id=sandbox_id) from error
        api = self.engine.api
        with translated(SandboxStartFailed, sandbox_id=sandbox_id):
            arguments = container_arguments(
                api,
                self.engine.info,
                image,
                spec,
                self._link(sandbox_id, spec),
                sockets=directory if shared else None,
                connection=json.dumps(kernel),
                entrypoint=api.inspect_image(image)["Config"]["Entrypoint"] if not shared else (),
            )
            api.create_container(name=self.name(sandbox_id), labels=self._labels(sandbox_id), **arguments)
        return kernel

    def create_proxy(self, allowed_hosts: tuple[str, ...], image: str) -> None:
        """Makes the egress proxy for these hosts, which is to be started. Raises `EngineUnavailable`."""
        proxy = proxy_id(allowed_hosts)
        # As a sandbox has one: so that what a dead server leaves is found.
        self.instance.create(directory_of(self.instance, proxy).name)
        with translated(EngineUnavailable):
            create_proxy(self.engine, self.name(proxy), image, allowed_hosts, self._labels(proxy))

    def start(self, sandbox_id: str) -> None:
        """Raises `SandboxStartFailed`."""
        with translated(SandboxStartFailed, sandbox_id=sandbox_id):
            self.engine.api.start(self.name(sandbox_id))

    def death(self, sandbox_id: str, limits: Limits) -> Death:
        """Raises `SandboxError`."""
        name = self.name(sandbox_id)
        with translated(SandboxError, sandbox_id=sandbox_id):
            # Still running after that: the state says so.
            with suppress(requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout):
                self.engine.api.wait(name, timeout=EXIT_TIMEOUT_S)
            container = self.engine.api.inspect_container(name)
            state = container["State"]
            out_of_memory = state["OOMKilled"] or self._ran_out_of_memory(container["Id"])
        return explain_death(state, out_of_memory=out_of_memory, limits=limits)

    def remove(self, sandbox_id: str) -> None:
        """Removes a sandbox of ours, or of an instance that is gone. Idempotent. Raises `SandboxError`."""
        directories = [directory_of(self.instance, sandbox_id)]
        if not directories[0].exists():
            # Not ours, or removed already: another instance, which is gone, may have made it.
            directories += [instance / directories[0].name for instance in self._dead()]
        for directory in directories:
            name = _name(directory, sandbox_id)
            with translated(SandboxError, sandbox_id=sandbox_id):
                try:
                    self.engine.api.remove_container(name, force=True, v=True)
                except docker.errors.APIError as error:
                    # 404: it is gone; 409: somebody is removing it already.
                    if error.status_code not in (404, 409):
                        raise
                remove_network(self.engine, name)
            shutil.rmtree(directory, ignore_errors=True)

    def leftovers(self) -> list[str]:
        """Ids of sandboxes of instances that are gone; of those that left none, the rest is removed."""
        dead = {instance.name: instance for instance in self._dead()}
        if not dead:
            return []
        with translated(SandboxError):
            containers = self.engine.api.containers(all=True, filters={"label": INSTANCE})
            labels = [each["Labels"] for each in containers if each["Labels"][INSTANCE] in dead]
            for network in self.engine.api.networks(filters={"label": INSTANCE}):
                # That of a sandbox which still has its container goes with it.
                if network["Labels"][INSTANCE] in dead and network["Labels"] not in labels:
                    remove_network(self.engine, network["Name"])
        for name in dead.keys() - {label[INSTANCE] for label in labels}:
            self.instance.forget(dead[name])
        return sorted({label[SANDBOX] for label in labels})

    def close(self) -> None:
        """Removes the proxies and gives up the client. Sandboxes are the pool's to destroy first."""
        for proxy in self.instance.directory.glob("egress*"):
            with suppress(SandboxError):
                self.remove(proxy.name)
        self.engine.api.close()

    def _link(self, sandbox_id: str, spec: SandboxSpec) -> Link:
        if spec.network == "internal":
            proxy = self.name(proxy_id(spec.allowed_hosts))
            return connect_internal(self.engine, self.name(sandbox_id), proxy, self._labels(sandbox_id))
        return connect_open(self.engine) if spec.network == "open" else Link()

    def _labels(self, sandbox_id: str) -> dict[str, str]:
        server = {SERVER: self.server} if self.server else {}
        return {INSTANCE: self.instance.directory.name, SANDBOX: sandbox_id, **server}

    def _ran_out_of_memory(self, container: str) -> bool:
        """Asks the engine's log of events, for engines whose own flag misses what ends the container at once."""
        filters = {"container": container, "event": "oom"}
        events = self.engine.api.events(since=1, until=f"{time.time():.6f}", filters=filters)
        return any(True for _ in events)

    def _dead(self) -> list[Path]:
        """Directories of server instances that no longer run; some may be gone, with the server's container."""
        return [*self.instance.dead(), *(self.state_dir / name for name in orphans(self.engine, INSTANCE))]


def directory_of(instance: Instance, sandbox_id: str) -> Path:
    # The end of an id is its random part; the whole would not fit into a socket's address.
    return instance.directory / sandbox_id[-DIRECTORY_CHARS:]


def _name(directory: Path, sandbox_id: str) -> str:
    """Ids are unique in a server; an engine may serve several."""
    return f"codeact-{directory.parent.name}-{sandbox_id}"

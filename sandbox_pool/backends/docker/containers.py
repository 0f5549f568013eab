"""Creates, starts, explains and removes the containers of one server.

Every call blocks: it makes requests to the engine. A sandbox has a directory of its server instance, a container, and
perhaps a network. Labels name the instance, so that another server can find what a crashed one left.
"""

import json
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
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
"""The labels of a container."""
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


@dataclass(frozen=True, slots=True)
class Containers:
    """The containers of one server instance. `server` is the container that the server itself runs in, if any."""

    engine: Engine
    instance: Instance
    state_dir: Path
    server: str | None

    @classmethod
    def open(cls, instance: Instance, state_dir: Path) -> "Containers":
        """Connects to the engine. Raises `EngineUnavailable`, with cause and remedy."""
        engine = Engine.connect()
        return cls(engine, instance, state_dir, own_container(engine))

    def name(self, sandbox_id: str) -> str:
        """The name of a sandbox's container and of its network."""
        return _name(directory_of(self.instance, sandbox_id), sandbox_id)

    def create(
        self, sandbox_id: str, spec: SandboxSpec, image: str, *, shared: bool, environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """Creates a sandbox without starting it. Returns the connection dict with the paths inside of the container.

        `shared` means that the container shares its directory with the server, for its sockets. `environment` has
        further variables of the container. Raises `SandboxStartFailed`.
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
            link = self._link(sandbox_id, spec)
            arguments = container_arguments(
                api,
                self.engine.info,
                image,
                spec,
                replace(link, environment={**link.environment, **environment}),
                sockets=directory if shared else None,
                connection=json.dumps(kernel),
                entrypoint=api.inspect_image(image)["Config"]["Entrypoint"] if not shared else (),
            )
            api.create_container(name=self.name(sandbox_id), labels=self._labels(sandbox_id), **arguments)
        return kernel

    def create_proxy(self, allowed_hosts: tuple[str, ...], image: str) -> None:
        """Creates the egress proxy for these hosts without starting it. Raises `EngineUnavailable`."""
        proxy = proxy_id(allowed_hosts)
        # With a directory, like a sandbox, the proxy of a crashed server is found and removed.
        self.instance.create(directory_of(self.instance, proxy).name)
        with translated(EngineUnavailable):
            create_proxy(self.engine, self.name(proxy), image, allowed_hosts, self._labels(proxy))

    def start(self, sandbox_id: str) -> None:
        """Starts a sandbox or a proxy. Raises `SandboxStartFailed`."""
        with translated(SandboxStartFailed, sandbox_id=sandbox_id):
            self.engine.api.start(self.name(sandbox_id))

    def death(self, sandbox_id: str, limits: Limits) -> Death:
        """Returns why a sandbox's kernel ended. Raises `SandboxError`."""
        name = self.name(sandbox_id)
        with translated(SandboxError, sandbox_id=sandbox_id):
            # If the container still runs after the timeout, its state shows that.
            with suppress(requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout):
                self.engine.api.wait(name, timeout=EXIT_TIMEOUT_S)
            container = self.engine.api.inspect_container(name)
            state = container["State"]
            out_of_memory = state["OOMKilled"] or self._ran_out_of_memory(container["Id"])
        return explain_death(state, out_of_memory=out_of_memory, limits=limits)

    def remove(self, sandbox_id: str) -> None:
        """Removes a sandbox of this instance or of a dead one. Idempotent. Raises `SandboxError`."""
        directories = [directory_of(self.instance, sandbox_id)]
        if not directories[0].exists():
            # The sandbox was removed already, or a dead instance created it.
            directories += [instance / directories[0].name for instance in self._dead()]
        for directory in directories:
            name = _name(directory, sandbox_id)
            with translated(SandboxError, sandbox_id=sandbox_id):
                try:
                    self.engine.api.remove_container(name, force=True, v=True)
                except docker.errors.APIError as error:
                    # 404: there is no such container; 409: its removal is already in progress.
                    if error.status_code not in (404, 409):
                        raise
                remove_network(self.engine, name)
            shutil.rmtree(directory, ignore_errors=True)

    def leftovers(self) -> list[str]:
        """Returns the ids of dead instances' sandboxes. Removes networks and dead instances that have no sandbox."""
        dead = {instance.name: instance for instance in self._dead()}
        if not dead:
            return []
        with translated(SandboxError):
            containers = self.engine.api.containers(all=True, filters={"label": INSTANCE})
            labels = [each["Labels"] for each in containers if each["Labels"][INSTANCE] in dead]
            for network in self.engine.api.networks(filters={"label": INSTANCE}):
                # The network of a sandbox that still has its container is removed together with the container.
                if network["Labels"][INSTANCE] in dead and network["Labels"] not in labels:
                    remove_network(self.engine, network["Name"])
        for name in dead.keys() - {label[INSTANCE] for label in labels}:
            self.instance.forget(dead[name])
        return sorted({label[SANDBOX] for label in labels})

    def close(self) -> None:
        """Removes the proxies and closes the client. The pool destroys the sandboxes first."""
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
        """Asks the engine's event log. In some engines, the flag `OOMKilled` misses kills that end the container."""
        filters = {"container": container, "event": "oom"}
        events = self.engine.api.events(since=1, until=f"{time.time():.6f}", filters=filters)
        return any(True for _ in events)

    def _dead(self) -> list[Path]:
        """Returns the directories of dead instances. Some no longer exist, if the server itself ran in a container."""
        return [*self.instance.dead(), *(self.state_dir / name for name in orphans(self.engine, INSTANCE))]


def directory_of(instance: Instance, sandbox_id: str) -> Path:
    # A socket's address has no room for the whole id. Its end is random.
    return instance.directory / sandbox_id[-DIRECTORY_CHARS:]


def _name(directory: Path, sandbox_id: str) -> str:
    """A name that is unique in the engine: sandbox ids are unique only within one server."""
    return f"codeact-{directory.parent.name}-{sandbox_id}"

"""DOCKER_HOST or nothing enters, a client of that engine or of this machine's own leaves."""

import socket
import sys
from dataclasses import dataclass
from typing import Any

import anyio
import docker
from anyio.abc import ByteStream

from sandbox_pool.backends.docker_errors import translated
from sandbox_pool.errors import EngineUnavailable

__all__ = ["REQUEST_TIMEOUT_S", "Engine"]

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Engine:
    """`info` is what the engine says about itself."""

    api: docker.APIClient
    info: dict[str, Any]
    address: str

    @classmethod
    def connect(cls) -> "Engine":
        """Blocking. Raises `EngineUnavailable`, with cause and remedy."""
        environment = docker.utils.kwargs_from_env()
        address = environment.setdefault("base_url", DEFAULT_ENGINE)
        if not (sys.platform == "linux" and address.startswith("unix://")):
            raise EngineUnavailable(
                f"The Docker engine at {address} cannot be used: kernels are reached through sockets in a shared "
                "directory, so the engine must run on this machine, on Linux, with DOCKER_HOST unset or unix://…"
            )
        try:
            with translated(EngineUnavailable):
                # Asked first, since the SDK leaves the sockets of connections that fail open.
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.settimeout(CONNECT_TIMEOUT_S)
                    probe.connect(address.removeprefix("unix://"))
                api = docker.APIClient(version="auto", timeout=CONNECT_TIMEOUT_S, **environment)
                info = api.info()
        except EngineUnavailable as error:
            raise EngineUnavailable(f"{error.message} (It was asked at {address}.)") from error
        api.timeout = REQUEST_TIMEOUT_S
        return cls(api, info, address)

    async def dial(self) -> ByteStream:
        """A new connection to the engine, for what the client cannot do. Raises `OSError`."""
        return await anyio.connect_unix(self.address.removeprefix("unix://"))

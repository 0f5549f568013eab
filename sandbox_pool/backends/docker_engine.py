"""DOCKER_HOST or nothing enters, a client of that engine or of this machine's own leaves."""

import socket
import sys
from typing import Any

import docker

from sandbox_pool.backends.docker_errors import translated
from sandbox_pool.errors import EngineUnavailable

__all__ = ["connect"]

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 30.0


def connect() -> tuple[docker.APIClient, dict[str, Any]]:
    """Blocking. The dict is what the engine says about itself. Raises `EngineUnavailable`, with cause and remedy."""
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
            engine = docker.APIClient(version="auto", timeout=CONNECT_TIMEOUT_S, **environment)
            info = engine.info()
    except EngineUnavailable as error:
        raise EngineUnavailable(f"{error.message} (It was asked at {address}.)") from error
    engine.timeout = REQUEST_TIMEOUT_S
    return engine, info

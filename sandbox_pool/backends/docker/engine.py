"""Connects to the Docker engine that `DOCKER_HOST` names, or else to the local one."""

import socket
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import docker
from anyio.abc import ByteStream

from sandbox_pool.backends.docker.errors import translated
from sandbox_pool.backends.shared.unix_stream import UnixStream
from sandbox_pool.errors import EngineUnavailable

__all__ = ["REQUEST_TIMEOUT_S", "Engine"]

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 30.0
DESKTOP = "Docker Desktop"
"""The `OperatingSystem` of an engine that runs in a virtual machine on this computer."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A connection to an engine. `info` is the engine's description of itself."""

    api: docker.APIClient
    info: dict[str, Any]
    address: str
    encryption: ssl.SSLContext | None

    @classmethod
    def connect(cls) -> "Engine":
        """Connects to the engine. Blocks. Raises `EngineUnavailable`, with cause and remedy."""
        with translated(EngineUnavailable):
            environment = docker.utils.kwargs_from_env()
        address = environment.setdefault("base_url", DEFAULT_ENGINE)
        if not address.startswith(("unix://", "tcp://", "http://", "https://")):
            raise EngineUnavailable(
                f"The Docker engine at {address} cannot be used: DOCKER_HOST must be unix://… or tcp://…. An engine "
                "behind ssh is reached so: ssh -N -L /tmp/docker.sock:/var/run/docker.sock HOST, then "
                "DOCKER_HOST=unix:///tmp/docker.sock CODEACT_SANDBOX_TRANSPORT=engine."
            )
        try:
            with translated(EngineUnavailable):
                # Try a plain connection first: the SDK does not close the sockets of failed connections.
                with socket.socket(socket.AF_UNIX) if _is_unix(address) else socket.socket() as probe:
                    probe.settimeout(CONNECT_TIMEOUT_S)
                    probe.connect(address.removeprefix("unix://") if _is_unix(address) else _place(address))
                api = _Client(version="auto", timeout=CONNECT_TIMEOUT_S, **environment)
                info = api.info()
                encryption = _encryption(environment.get("tls"))
        except EngineUnavailable as error:
            raise EngineUnavailable(f"{error.message} (It was asked at {address}.)") from error
        api.timeout = REQUEST_TIMEOUT_S
        return cls(api, info, address, encryption)

    def shares(self, directory: Path, image: str) -> bool:
        """Whether containers can share this directory with the server, and sockets in it work. Blocks.

        If the server itself runs in a container, the engine may not know the server's directories.
        """
        if sys.platform != "linux" or not _is_unix(self.address) or self.info.get("OperatingSystem") == DESKTOP:
            return False
        mount = docker.types.Mount("/trial", str(directory), type="bind")
        try:
            with translated(EngineUnavailable):
                trial = self.api.create_container(image, host_config=self.api.create_host_config(mounts=[mount]))
                self.api.remove_container(trial["Id"], v=True)
        except EngineUnavailable as error:
            if "bind source path does not exist" in error.message:
                return False
            raise
        return True

    async def dial(self) -> ByteStream:
        """Opens a connection to the engine, for requests that the SDK's client does not support. Raises `OSError`."""
        if _is_unix(self.address):
            return await UnixStream.connect(self.address.removeprefix("unix://"))
        host, port = _place(self.address)
        if self.encryption is None:
            return await anyio.connect_tcp(host, port)
        return await anyio.connect_tcp(host, port, tls=True, ssl_context=self.encryption, tls_standard_compatible=False)


class _Client(docker.APIClient):  # type: ignore[misc]
    """A client that reads only DOCKER_* from the environment, as `dial` does. Otherwise REQUESTS_CA_BUNDLE would
    override the certificate authority in DOCKER_CERT_PATH.
    """

    trust_env = property(lambda self: False, lambda self, value: None)


def _is_unix(address: str) -> bool:
    return address.startswith("unix://")


def _place(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    return parts.hostname or "localhost", parts.port or 2375


def _encryption(tls: docker.tls.TLSConfig | None) -> ssl.SSLContext | None:
    """Returns the TLS settings of DOCKER_TLS_VERIFY and DOCKER_CERT_PATH for `dial`, or None without TLS."""
    if not tls:
        return None
    context = ssl.create_default_context(cafile=tls.ca_cert)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(*tls.cert)
    return context

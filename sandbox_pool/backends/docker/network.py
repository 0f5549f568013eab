"""Creates the networks of each network mode, and returns the matching options of a sandbox's container.

none      a loopback interface only
internal  one network per sandbox, from which only the egress proxy can be reached: no other sandbox, and not the host
open      a bridge from which everything can be reached that the host can reach, except for other sandboxes
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import docker

from sandbox_pool.backends.docker.engine import Engine
from sandbox_pool.errors import SandboxStartFailed

__all__ = ["PROXY_READY", "Link", "connect_internal", "connect_open", "create_proxy", "proxy_id", "remove_network"]

OPEN = "codeact-open"
PROXY_PORT = 3128
PROXY_MB = 256
PROXY_READY = b"Accepting HTTP Socket connections"
NOWHERE = "127.0.0.1"
"""The name server of containers that must not resolve names. Some engines would otherwise forward their queries."""


@dataclass(frozen=True, slots=True)
class Link:
    """Network options of a container. `mode` is a network mode of the engine, or a network's name."""

    mode: str = "none"
    environment: Mapping[str, str] = field(default_factory=dict)
    name_servers: tuple[str, ...] = ()


def connect_open(engine: Engine) -> Link:
    if not engine.api.networks(names=[f"^{OPEN}$"]):
        try:
            options = {"com.docker.network.bridge.enable_icc": "false"}
            engine.api.create_network(OPEN, "bridge", options=options, check_duplicate=True)
        except docker.errors.APIError as error:
            if error.status_code != 409:  # Another server was faster.
                raise
    return Link(OPEN)


def connect_internal(engine: Engine, name: str, proxy: str, labels: Mapping[str, str]) -> Link:
    """Creates the network `name` for one sandbox, and connects the container `proxy` to it."""
    try:
        # The bridge gets no address, since the sandbox could reach the host's ports through it. The default route
        # that the engine sets then leads nowhere.
        options = {"com.docker.network.bridge.inhibit_ipv4": "true"}
        engine.api.create_network(name, "bridge", options=options, internal=True, labels=dict(labels))
    except docker.errors.APIError as error:
        if "address pool" in str(error.explanation):
            raise SandboxStartFailed(
                "The Docker engine has no addresses left for a sandbox's own network. Lower CODEACT_POOL_MAX, or "
                "give it more (default-address-pools in daemon.json)."
            ) from error
        raise
    if not engine.api.inspect_container(proxy)["State"]["Running"]:
        engine.api.start(proxy)  # The engine restarts a container that failed, but not one that was stopped.
    engine.api.connect_container_to_network(proxy, name)
    address = engine.api.inspect_container(proxy)["NetworkSettings"]["Networks"][name]["IPAddress"]
    url = f"http://{address}:{PROXY_PORT}"
    variables = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), url)
    exceptions = dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1")
    return Link(name, {**variables, **exceptions}, (NOWHERE,))


def remove_network(engine: Engine, name: str) -> None:
    """Removes the network of a removed container. Idempotent."""
    for network in engine.api.networks(names=[f"^{name}$"]):
        members = engine.api.inspect_network(network["Id"])["Containers"]
        for member in members:
            engine.api.disconnect_container_from_network(member, network["Id"], force=True)
        engine.api.remove_network(network["Id"])


def proxy_id(allowed_hosts: tuple[str, ...]) -> str:
    """Returns the id of the proxy for these hosts, which is used like a sandbox's id."""
    return f"egress{hashlib.sha256(' '.join(allowed_hosts).encode()).hexdigest()[:6]}"


def create_proxy(
    engine: Engine, name: str, image: str, allowed_hosts: tuple[str, ...], labels: Mapping[str, str]
) -> None:
    """Creates the proxy's container. When started, it writes `PROXY_READY` and runs until it is removed."""
    api = engine.api
    host_config = api.create_host_config(
        network_mode="bridge",
        read_only=True,
        tmpfs={"/tmp": "rw,noexec,nosuid,nodev,mode=1777,size=16m"},  # noqa: S108
        mem_limit=f"{PROXY_MB}m",
        memswap_limit=f"{PROXY_MB}m",
        pids_limit=64,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        # Restart it however often it fails, also when it runs out of memory; 0 means no limit.
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 0},
        ulimits=[docker.types.Ulimit(name="nofile", soft=4096, hard=4096)],
        # The log, which `docker logs` shows, has the requests of all sandboxes.
        log_config=docker.types.LogConfig(type="json-file", config={"max-size": "5m", "max-file": "2"}),
    )
    api.create_container(
        image=image,
        name=name,
        labels=dict(labels),
        environment={"ALLOWED_HOSTS": " ".join(allowed_hosts)},
        use_config_proxy=False,
        host_config=host_config,
    )

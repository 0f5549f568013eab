"""Finds the containers of crashed servers that ran in containers themselves.

Such a server may lose its state directory together with its container, and with it the locks that show which
servers are alive (instance.py). Everything that it starts therefore has a label with the server's container, and
the engine knows whether that container still runs. All functions block.
"""

import re
from pathlib import Path
from typing import Any

import docker

from sandbox_pool.backends.docker.engine import Engine
from sandbox_pool.backends.docker.errors import translated
from sandbox_pool.errors import SandboxError

__all__ = ["SERVER", "orphans", "own_container"]

SERVER = "codeact.server"
"""The label of sandboxes and networks that has the id of their server's container."""
MOUNTS = Path("/proc/self/mountinfo")
ROOT_FIELD = 3
CONTAINER = re.compile(r"/(?:overlay-)?containers/([0-9a-f]{64})/")


def own_container(engine: Engine) -> str | None:
    """Returns the id of the container that this process runs in, if this engine runs it.

    A container's `/etc/hostname` and `/etc/resolv.conf` are mounted from a directory of the engine that has the
    container's id in its name (proc(5), `mountinfo`, the field of the root).
    """
    try:
        roots = [line.split()[ROOT_FIELD] for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return None
    ids = {found[1] for root in roots if (found := CONTAINER.search(root))}
    with translated(SandboxError):
        return next((id for id in ids if _runs(engine, id)), None)


def orphans(engine: Engine, instance_label: str) -> set[str]:
    """Returns the names of instances whose server's container no longer runs. Raises `SandboxError`."""
    with translated(SandboxError):
        filters = {"label": SERVER}
        found: list[dict[str, Any]] = [
            *engine.api.containers(all=True, filters=filters),
            *engine.api.networks(filters=filters),
        ]
        labels = [each["Labels"] for each in found]
        gone = {id for id in {each[SERVER] for each in labels} if not _runs(engine, id)}
    return {each[instance_label] for each in labels if each[SERVER] in gone}


def _runs(engine: Engine, container: str) -> bool:
    try:
        state = engine.api.inspect_container(container)["State"]
    except docker.errors.NotFound:
        return False
    return bool(state["Running"])

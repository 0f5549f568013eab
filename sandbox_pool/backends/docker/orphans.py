"""Finds containers whose server is gone, where servers run in containers themselves.

Such a server may lose its state directory together with its container, and with it the locks that tell who lives
(instance.py). So what it starts names its container, and the engine tells whether that still runs. All of it blocks.
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
"""A label: the id of the container of the server that a sandbox or its network belongs to."""
MOUNTS = Path("/proc/self/mountinfo")
ROOT_FIELD = 3
CONTAINER = re.compile(r"/(?:overlay-)?containers/([0-9a-f]{64})/")


def own_container(engine: Engine) -> str | None:
    """The id of the container that this process runs in, where it is one of this engine's.

    A container's `/etc/hostname` and `/etc/resolv.conf` are files that the engine keeps under its id
    (proc(5), `mountinfo`, the field of the root).
    """
    try:
        roots = [line.split()[ROOT_FIELD] for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return None
    ids = {found[1] for root in roots if (found := CONTAINER.search(root))}
    with translated(SandboxError):
        return next((id for id in ids if _runs(engine, id)), None)


def orphans(engine: Engine, instance_label: str) -> set[str]:
    """The names of instances whose server's container has ended, or is gone. Raises `SandboxError`."""
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

"""Prepares the backend of a pool: the given one, or else the best one that this machine offers."""

import importlib

import anyio
from anyio import to_thread
from platformdirs import user_data_path

from sandbox_pool.backends.base import Backend
from sandbox_pool.backends.registry import open_backend
from sandbox_pool.logs import Logger
from sandbox_pool.spec import SandboxSpec

__all__ = ["close", "opened", "say"]

log = Logger(__name__)

CLOSE_TIMEOUT_S = 10.0


async def opened(spec: SandboxSpec, backend: Backend | None) -> Backend:
    """Returns a prepared backend. Raises `EngineUnavailable` or `ImageUnavailable`, and then closes the backend."""
    # Importing this on first use would block the event loop for a tenth of a second.
    await to_thread.run_sync(importlib.import_module, "jupyter_client.session")
    if backend is None:
        return await _best(spec)
    try:
        await backend.prepare(spec, say)
    except BaseException:
        await close(backend, timeout_s=CLOSE_TIMEOUT_S)
        raise
    return backend


async def close(backend: Backend, *, timeout_s: float) -> None:
    with anyio.move_on_after(timeout_s, shield=True):
        await backend.close()


def say(line: str) -> None:
    """Logs the progress of preparing a backend."""
    log.info("preparing sandboxes", progress=line)


async def _best(spec: SandboxSpec) -> Backend:
    found = await open_backend("auto", spec, state_dir=user_data_path("codeact") / "run", progress=say)
    log.info("backend found", backend=found.backend.name, why=found.why, hints=found.hints)
    for promise in found.backend.isolation.missing:
        log.warning("backend promises less", reason=promise)
    return found.backend

"""Prepares the backend of a pool: the one that it was given, else the best that this machine has."""

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
    """Prepared. Raises `EngineUnavailable` or `ImageUnavailable`, after the backend has been closed."""
    # Its first use would stop the event loop for a tenth of a second.
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
    """Tells how far preparing a backend has come."""
    log.info("preparing sandboxes", progress=line)


async def _best(spec: SandboxSpec) -> Backend:
    found = await open_backend("auto", spec, state_dir=user_data_path("codeact") / "run", progress=say)
    log.info("backend found", backend=found.backend.name, why=found.why, hints=found.hints)
    for promise in found.backend.isolation.missing:
        log.warning("backend promises less", reason=promise)
    return found.backend

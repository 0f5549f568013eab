"""Which backend runs the sandboxes: a setting enters, a backend that is ready and the reason for it leave."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
from anyio import to_thread

from sandbox_pool.backends import Backend
from sandbox_pool.errors import EngineUnavailable, ImageUnavailable
from sandbox_pool.spec import SandboxSpec

__all__ = ["Opened", "open_backend"]

AUTO_DEADLINE_S = 600.0
"""How long a first start may build or pull the image before it goes on without."""
CLOSE_TIMEOUT_S = 10.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Opened:
    """`why`: half a sentence on the choice; `hints`: a sentence, with the remedy, for each thing that is missing."""

    backend: Backend
    why: str
    hints: tuple[str, ...] = ()


async def open_backend(
    name: Literal["auto", "docker", "kubernetes", "process"], spec: SandboxSpec, *, state_dir: Path, progress: Progress
) -> Opened:
    """A prepared backend, the caller's to close unless a pool gets it, which closes it. `auto` is Docker where an
    engine answers and the image can be had, else local processes. `progress` gets a line at a time while an image is
    built or pulled.

    Raises `EngineUnavailable` or `ImageUnavailable`, with the remedy.
    """
    match name:
        case "docker" | "process":
            backend = await _open(name, spec, state_dir, progress)
            return Opened(backend, f"CODEACT_SANDBOX={name}", backend.isolation.missing)
        case "kubernetes":
            raise EngineUnavailable(
                "Sandboxes in Kubernetes are not in this version. Set CODEACT_SANDBOX=auto, docker or process."
            )
        case "auto":
            return await _open_best(spec, state_dir, progress)


async def _open_best(spec: SandboxSpec, state_dir: Path, progress: Progress) -> Opened:
    try:
        with anyio.fail_after(AUTO_DEADLINE_S):
            docker = await _open("docker", spec, state_dir, progress)
        return Opened(docker, "a Docker engine answers", docker.isolation.missing)
    except EngineUnavailable as error:
        why, hint = "no Docker engine can be used", error.message
    except ImageUnavailable as error:
        why, hint = "the Docker engine here has no image for it", error.message
    except TimeoutError:
        why = "the Docker image took too long"
        hint = f"The sandbox image was not there after {AUTO_DEADLINE_S:.0f} s; CODEACT_SANDBOX=docker waits for it."
    progress(f"Going on without Docker: {hint}")
    process = await _open("process", spec, state_dir, progress)
    return Opened(process, why, (hint, *process.isolation.missing))


async def _open(name: str, spec: SandboxSpec, state_dir: Path, progress: Progress) -> Backend:
    # Imported on use, in a thread: the Docker SDK takes a quarter of a second.
    module = await to_thread.run_sync(importlib.import_module, f"sandbox_pool.backends.{name}")
    backend: Backend = getattr(module, f"{name.title()}Backend")(state_dir)
    try:
        await backend.prepare(spec, progress)
    except BaseException:
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await backend.close()
        raise
    return backend

"""Chooses and opens the backend that runs the sandboxes.

A backend has a name. `docker` and `process` are ours; an installed package adds others by entry points of the group
`codeact.backends`, each of which names a class that is made from a directory for its state and follows `Backend`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import anyio
from anyio import to_thread

from sandbox_pool.backends.base import Backend
from sandbox_pool.errors import EngineUnavailable, ImageUnavailable
from sandbox_pool.extras import MODULES, install_command, missing_extras
from sandbox_pool.spec import SandboxSpec

__all__ = ["GROUP", "ChosenBackend", "backend_names", "open_backend"]

GROUP = "codeact.backends"
OURS = {
    "docker": "sandbox_pool.backends.docker.backend:DockerBackend",
    "process": "sandbox_pool.backends.process.backend:ProcessBackend",
}

AUTO_DEADLINE_S = 600.0
"""How long a first start may build or pull the image before it goes on without."""
CLOSE_TIMEOUT_S = 10.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ChosenBackend:
    """`why`: half a sentence on the choice; `hints`: a sentence, with the remedy, for each thing that is missing."""

    backend: Backend
    why: str
    hints: tuple[str, ...] = ()


def backend_names() -> list[str]:
    """The names of all backends that can be chosen, ours first."""
    return [*OURS, *sorted({entry.name for entry in entry_points(group=GROUP)} - OURS.keys())]


async def open_backend(name: str, spec: SandboxSpec, *, state_dir: Path, progress: Progress) -> ChosenBackend:
    """A prepared backend, the caller's to close unless a pool gets it, which closes it.

    `auto` is Docker where an engine answers and the image can be had, else local processes. `progress` gets a line at
    a time while an image is built or pulled. Raises `EngineUnavailable` or `ImageUnavailable`, with the remedy.
    """
    if name == "auto":
        return await _open_best(spec, state_dir, progress)
    backend = await _open(name, spec, state_dir, progress)
    return ChosenBackend(backend, f"CODEACT_SANDBOX={name}", backend.isolation.missing)


async def _open_best(spec: SandboxSpec, state_dir: Path, progress: Progress) -> ChosenBackend:
    try:
        with anyio.fail_after(AUTO_DEADLINE_S):
            docker = await _open("docker", spec, state_dir, progress)
        return ChosenBackend(docker, "a Docker engine answers", docker.isolation.missing)
    except EngineUnavailable as error:
        why, hint = "no Docker engine can be used", error.message
    except ImageUnavailable as error:
        why, hint = "the Docker engine here has no image for it", error.message
    except TimeoutError:
        why = "the Docker image took too long"
        hint = f"The sandbox image was not there after {AUTO_DEADLINE_S:.0f} s; CODEACT_SANDBOX=docker waits for it."
    progress(f"Going on without Docker: {hint}")
    process = await _open("process", spec, state_dir, progress)
    return ChosenBackend(process, why, (hint, *process.isolation.missing))


async def _open(name: str, spec: SandboxSpec, state_dir: Path, progress: Progress) -> Backend:
    # Imported on use, in a thread: the Docker SDK takes a quarter of a second.
    kind: Callable[[Path], Backend] = await to_thread.run_sync(_load, name)
    backend = kind(state_dir)
    try:
        await backend.prepare(spec, progress)
    except BaseException:
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await backend.close()
        raise
    return backend


def _load(name: str) -> Callable[[Path], Backend]:
    """The class of this name.

    Raises `EngineUnavailable` where there is none, where it cannot be imported, and where its extra is not installed.
    """
    if name in OURS and name in MODULES and missing_extras(name):
        raise EngineUnavailable(
            f"Sandboxes by the backend '{name}' need packages that are not installed: {install_command(name)}."
        )
    found = [EntryPoint(name, OURS[name], GROUP)] if name in OURS else entry_points(group=GROUP, name=name)
    for entry in found:
        try:
            kind: Callable[[Path], Backend] = entry.load()
        except (ImportError, AttributeError) as error:
            raise EngineUnavailable(f"The backend '{name}' cannot be imported ({entry.value}): {error}.") from error
        return kind
    raise EngineUnavailable(
        f"There is no backend '{name}'. Set CODEACT_SANDBOX to auto or one of {', '.join(backend_names())}; a package"
        f" adds others by entry points of the group '{GROUP}'."
    )

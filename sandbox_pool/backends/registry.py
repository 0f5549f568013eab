"""Chooses and opens the backend that runs the sandboxes.

`docker`, `process` and `kubernetes` are built in; an installed package adds other backends by entry points of the group
`codeact.backends`. Each entry point names a class that implements `Backend` and takes a directory for its state.
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
    "kubernetes": "sandbox_pool.backends.kubernetes.backend:KubernetesBackend",
}

AUTO_DEADLINE_S = 600.0
"""How long `auto` waits for Docker to build or pull the image before it uses local processes instead."""
CLOSE_TIMEOUT_S = 10.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ChosenBackend:
    """A prepared backend, the reason for choosing it (`why`), and a sentence with the remedy for each problem."""

    backend: Backend
    why: str
    hints: tuple[str, ...] = ()


def backend_names() -> list[str]:
    """Returns the names of all available backends, the built-in ones first."""
    return [*OURS, *sorted({entry.name for entry in entry_points(group=GROUP)} - OURS.keys())]


async def open_backend(name: str, spec: SandboxSpec, *, state_dir: Path, progress: Progress) -> ChosenBackend:
    """Prepares a backend. The caller must close it, or give it to a pool, which then closes it.

    `auto` means Docker if an engine answers and provides the image, else local processes. `progress` is called with
    one line at a time while an image is built or pulled. Raises `EngineUnavailable` or `ImageUnavailable`, with the
    remedy in the message.
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
    # Import it only now, and in a thread: importing the Docker SDK takes a quarter of a second.
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
    """Returns the class of the backend of this name.

    Raises `EngineUnavailable` if there is none, if it cannot be imported, or if its extra is not installed.
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

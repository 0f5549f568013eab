"""The protocol that a backend implements: it creates, destroys and lists sandboxes, and watches its engine.

A backend creates and destroys sandboxes, lists those that a server left behind, and runs the program that moves files.
The rest is the same for all backends: `sandbox_pool/kernel/` speaks to kernels, `sandbox_pool/sandbox/files.py` to that
program.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anyio.abc import ByteStream

from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["GUEST", "Backend", "Death", "Isolation", "Notice", "Started"]

GUEST = Path(__file__).parents[1] / "guest"
"""The folder of the programs that run inside a sandbox: `kernel_main.py` and the modules beside it, `files_main.py`."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a backend promises here. `isolated` is False only when code runs as a plain local process.

    `summary` is half a line for the terminal ("Docker container, no network"); `missing` has one sentence
    for each promise that cannot be kept on this machine, with its remedy.
    """

    isolated: bool
    summary: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """A sandbox whose kernel is starting.

    `connection` is a Jupyter connection dict (jupyter_client, "Connection files") as seen from this
    process: `transport`, `ip`, the five `*_port`, `key` (str), `signature_scheme`.
    """

    sandbox_id: str
    connection: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Death:
    """Why a kernel went away: a sentence, and the `Limits` field that killed it, where one did."""

    detail: str
    limit: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that an engine says by itself: of a sandbox, that it cannot be used, as a sentence (`what`).

    Without a sandbox: the image is another one than those that run now were made of.
    """

    sandbox_id: str | None
    what: str


class Backend(Protocol):
    """Safe for concurrent calls. Cancelling any call leaves nothing behind that `list` would not show."""

    name: str

    @property
    def isolation(self) -> Isolation:
        """What is promised here; known once `prepare` has returned."""
        ...

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        """Checks that sandboxes can be made, and builds or pulls what they need. Idempotent.

        `progress` gets one line at a time. Raises `EngineUnavailable` or `ImageUnavailable`.
        """
        ...

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        """Starts one sandbox; its kernel may not answer yet. Raises `SandboxStartFailed`."""
        ...

    def files(self, sandbox_id: str, request: Mapping[str, Any]) -> AbstractAsyncContextManager[ByteStream]:
        """Runs `files_main.py` with this request, the root added, where the sandbox's files are.

        The stream is its stdin and stdout; leaving ends it. Nothing that comes is trusted. Raises `SandboxError`.
        """
        ...

    async def death(self, sandbox_id: str, limits: Limits) -> Death:
        """Why this sandbox's kernel ended. Called at most once, after it did and before `destroy`."""
        ...

    async def destroy(self, sandbox_id: str) -> None:
        """Ends every process of the sandbox at once and removes its files. Idempotent: gone is no error.

        Raises `SandboxError` or `OSError` where something stays: another call is another try.
        """
        ...

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        """Passes on what there is to notice, until cancelled. Never raises: an engine that is away is asked again.

        A kernel whose process ends needs no notice: its sockets tell.
        """
        ...

    async def list(self) -> list[str]:
        """Ids of the sandboxes left by server processes that no longer run (never those of live ones)."""
        ...

    async def close(self) -> None:
        """Releases clients and threads; sandboxes are the pool's to destroy first."""
        ...

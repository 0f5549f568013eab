"""The protocol that a backend implements: it creates, destroys and lists sandboxes, and watches its engine.

A backend also runs the program that reads and writes files in a sandbox. Everything else is the same for all backends:
`sandbox_pool/kernel/` talks to kernels, and `sandbox_pool/sandbox/files.py` to that program.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any, Protocol

from anyio.abc import ByteStream

from sandbox_pool.spec import Limits, SandboxSpec

__all__ = [
    "GUEST",
    "READONLY",
    "READONLY_MB",
    "Backend",
    "Claim",
    "Death",
    "Isolation",
    "Notice",
    "Started",
    "claim_of",
    "egress_problem",
]

GUEST = Path(__file__).parents[1] / "guest"
"""The folder of the programs that run inside a sandbox: `kernel_main.py` with its modules, and `files_main.py`."""


READONLY, READONLY_MB = "/mnt/skills", 64
"""Where isolated sandboxes have the files that their code cannot change, and how much fits in there."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """How well a backend isolates code on this machine. `isolated` is False only for plain local processes.

    `summary` is a short text for the terminal ("Docker container, no network"). `missing` has one sentence for
    each protection or limit that this machine lacks, with its remedy.
    """

    isolated: bool
    summary: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """A sandbox whose kernel is starting.

    `connection` is a Jupyter connection dict (jupyter_client, "Connection files") with addresses that this
    process can use: `transport`, `ip`, the five `*_port`, `key` (str), `signature_scheme`.
    With `dial`, the channels `shell`, `iopub` and `control` are connected by that function instead: it returns a
    connected, non-blocking socket, or raises `OSError`, after which it is called again.
    `image` is the digest of its image, which `SandboxSpec.image` accepts; None if there is none or it is unknown.
    """

    sandbox_id: str
    connection: dict[str, Any]
    dial: Callable[[str], Awaitable[socket]] | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Death:
    """Why a kernel ended: a sentence for the user, and the `Limits` field that caused it, if any."""

    detail: str
    limit: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that an engine reports: a sandbox can no longer be used, for the reason in `what`.

    If `sandbox_id` is None, the image has changed: running sandboxes were created from an older one.
    """

    sandbox_id: str | None
    what: str


Claim = Callable[[str, SandboxSpec], Awaitable[Started]]
"""Takes a sandbox that is warm already. Arguments, result, errors and cancellation are those of `Backend.create`."""


class Backend(Protocol):
    """What a backend implements. Calls may run concurrently, and be cancelled: `list` shows what they leave behind.

    A backend whose engine keeps warm sandboxes itself also has the attribute `claim`, a `Claim`, once `prepare` has
    returned. The pool then keeps only its `min_size` warm, and claims a sandbox when one is asked for.
    A backend that can let single sandboxes reach some hosts (`SandboxSpec.egress`) has the attribute `egress_problem`,
    once `prepare` has returned: "", or why it cannot do that here.
    """

    name: str

    @property
    def isolation(self) -> Isolation:
        """How well code is isolated. Available once `prepare` has returned."""
        ...

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        """Checks that sandboxes can be created, and builds or pulls their image if necessary. Idempotent.

        Calls `progress` with one line at a time. Raises `EngineUnavailable` or `ImageUnavailable`.
        """
        ...

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        """Starts one sandbox. Its kernel may not answer yet when this returns. Raises `SandboxStartFailed`."""
        ...

    def files(self, sandbox_id: str, request: Mapping[str, Any]) -> AbstractAsyncContextManager[ByteStream]:
        """Runs `files_main.py` in the sandbox, with this request and the sandbox's root directory added to it.

        The stream is the program's stdin and stdout; do not trust what it sends. Leaving the context ends the
        program. Raises `SandboxError`.
        """
        ...

    async def add_readonly(self, sandbox_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        """Writes a folder into `READONLY`, which code can read and not change; replaces one of the same name.

        The paths of the files are relative and checked.

        Raises `SandboxError`, for example if this backend cannot do that.
        """
        ...

    async def death(self, sandbox_id: str, limits: Limits) -> Death:
        """Returns why this sandbox's kernel ended. Called at most once, after its end and before `destroy`."""
        ...

    async def destroy(self, sandbox_id: str) -> None:
        """Kills every process of the sandbox and removes its files. Does nothing if the sandbox is already gone.

        Raises `SandboxError` or `OSError` if something could not be removed; the caller may try again.
        """
        ...

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        """Calls `notice` with the engine's events until it is cancelled. Does not raise: it reconnects to the engine.

        The end of a kernel's process needs no notice: the kernel's client sees its sockets close.
        """
        ...

    async def list(self) -> list[str]:
        """Returns the ids of sandboxes whose server process no longer runs."""
        ...

    async def close(self) -> None:
        """Releases clients and threads. The pool destroys the sandboxes first."""
        ...


def claim_of(backend: Backend) -> Claim | None:
    """Returns the backend's `claim`; None if its engine keeps no warm sandboxes."""
    found: Claim | None = getattr(backend, "claim", None)
    return found


def egress_problem(backend: Backend) -> str:
    """Returns why the backend cannot let single sandboxes reach some hosts; "" if it can."""
    problem: str = getattr(backend, "egress_problem", f"Sandboxes of the backend '{backend.name}' have one network.")
    return problem

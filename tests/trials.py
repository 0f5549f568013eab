"""The trial sandbox of a local backend, started only once by a test process and the servers that it forks."""

import os
from collections.abc import Awaitable, Callable
from hashlib import sha256

from sandbox_pool.backends.process.backend import ProcessBackend
from sandbox_pool.spec import SandboxSpec

__all__ = ["DIRECTORY", "once_of_each_kind"]

DIRECTORY = "TEST_TRIALS"
"""The environment variable with a directory that has an entry for each kind of backend whose trial worked."""


def once_of_each_kind() -> Callable[[ProcessBackend, SandboxSpec], Awaitable[None]]:
    """Returns what takes the place of `ProcessBackend._try`: a trial takes a third of a second of CPU time."""
    tried = ProcessBackend._try

    async def trial(backend: ProcessBackend, spec: SandboxSpec) -> None:
        kind = (backend._bubblewrap, backend._inodes, type(backend._groups), spec.python, spec.preload)
        worked = f"{os.environ[DIRECTORY]}/{sha256(repr(kind).encode()).hexdigest()}"
        if not os.path.exists(worked):  # noqa: ASYNC240  (a look at a local file)
            await tried(backend, spec)
            os.makedirs(worked, exist_ok=True)  # Another server may have tried at the same time.

    return trial

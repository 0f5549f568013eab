"""Where backends differ, by name: a kind of backend and a promise enter, a skip with its reason leaves.

The promises that every backend keeps are those that the conformance and attack suites assert without asking here.
"""

import pytest

from sandbox_pool.backends.base import Backend

__all__ = ["KNOWN_DIFFERENCES", "kind_of", "needs_promise"]

_NOT_ISOLATED = "a plain process is not isolated: it is the server's own user, with its files and its network"

KNOWN_DIFFERENCES: dict[str, dict[str, str]] = {
    "docker": {},
    "process": {},
    "plain": {
        "isolation": _NOT_ISOLATED,
        "workspace_mb": "a plain process writes to the host's disk",
        "workspace_inodes": "a plain process writes to the host's disk",
        "tmp_mb": "a plain process writes to the host's disk",
        "shm_mb": "a plain process uses the host's /dev/shm",
    },
}
"""By kind of backend: the promises that it never keeps, and why."""


def kind_of(backend: Backend) -> str:
    """`docker`; `process`: bubblewrap namespaces; `plain`: a process of this machine like any other."""
    return backend.name if backend.isolation.isolated else "plain"


def needs_promise(backend: Backend, promise: str) -> None:
    """Skips the test where this backend does not keep the promise: never, or not on this machine, as it says."""
    reason = KNOWN_DIFFERENCES[kind_of(backend)].get(promise)
    reason = reason or next((sentence for sentence in backend.isolation.missing if promise in sentence), None)
    if reason is not None:
        pytest.skip(reason)

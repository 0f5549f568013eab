"""The known differences between backends. Tests of a promise that a backend does not make are skipped.

The conformance and attack suites assert all other promises for every backend.
"""

import pytest

from sandbox_pool.backends.base import Backend

__all__ = ["KNOWN_DIFFERENCES", "kind_of", "needs_promise"]

_NOT_ISOLATED = "a plain process is not isolated: it is the server's own user, with its files and its network"

_NO_SKILLS = "a pod has no files that its code cannot change"

_NOT_SEEN = "a local sandbox does not see its control group"

KNOWN_DIFFERENCES: dict[str, dict[str, str]] = {
    "docker": {},
    "process": {"kills are seen": _NOT_SEEN},
    "kubernetes": {
        "no network of its own": "a pod has an address, which its cluster's network policies close off",
        "readonly files": _NO_SKILLS,
    },
    "plain": {
        "kills are seen": _NOT_SEEN,
        "isolation": _NOT_ISOLATED,
        "readonly files": _NOT_ISOLATED,
        "workspace_mb": "a plain process writes to the host's disk",
        "workspace_inodes": "a plain process writes to the host's disk",
        "tmp_mb": "a plain process writes to the host's disk",
        "shm_mb": "a plain process uses the host's /dev/shm",
    },
}
"""For each kind of backend, the promises that it never makes, with the reason."""


def kind_of(backend: Backend) -> str:
    """Returns `docker`, `kubernetes`, `process` (bubblewrap namespaces) or `plain` (an ordinary process)."""
    return backend.name if backend.isolation.isolated else "plain"


def needs_promise(backend: Backend, promise: str) -> None:
    """Skips the test if this backend does not make the promise, never or not on this machine."""
    reason = KNOWN_DIFFERENCES[kind_of(backend)].get(promise)
    reason = reason or next((sentence for sentence in backend.isolation.missing if promise in sentence), None)
    if reason is not None:
        pytest.skip(reason)

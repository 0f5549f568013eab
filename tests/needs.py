"""Skips tests that need a Docker engine or a browser if the machine has none, or fails them if it must have one.

`.ci/run` sets REQUIRE_ENGINE and REQUIRE_BROWSER once it has installed both, so that no test is skipped there. It sets
TEST_RUN to a name for the run, with which it finds what interrupted tests left on the engine.
"""

import fcntl
import gc
import os
import secrets
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, NoReturn

import pytest
from anyio import to_thread

from sandbox_pool.backends.base import Backend, Started
from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.errors import SandboxError
from sandbox_pool.spec import SandboxSpec

__all__ = [
    "CLUSTER",
    "CLUSTER_BACKENDS",
    "LONG",
    "RUN",
    "leaks_of_the_sdk",
    "missing",
    "only_long",
    "own_name",
    "prepared_cluster",
    "prepared_docker",
]

LONG = bool(os.environ.get("TEST_LONG"))
"""`make test-long` sets it. Tests marked `long` then run for longer."""
only_long = pytest.mark.skipif(not LONG, reason="`make test-long` runs it")

CLUSTER = bool(os.environ.get("TEST_CLUSTER_IMAGE"))
"""`make test-cluster` sets it to an image of the cluster in KUBECONFIG; tests with the mark `cluster` then run."""
CLUSTER_BACKENDS = [pytest.param("kubernetes", marks=pytest.mark.cluster)] if CLUSTER else []
"""For the parameters of fixtures that make a backend."""

RUN = os.environ.get("TEST_RUN", secrets.token_hex(3))
"""The name of this run of the tests. Several runs may share a Docker engine."""


def own_name(what: str) -> str:
    """Returns a name for the Docker engine that no other test process uses."""
    return f"codeact-test-{RUN}-{what}-{secrets.token_hex(3)}"


def missing(what: Literal["engine", "browser"], reason: str) -> NoReturn:
    if os.environ.get(f"REQUIRE_{what.upper()}"):
        pytest.fail(f"This machine must have it: {reason}", pytrace=False)
    pytest.skip(reason)


async def prepared_docker(state_dir: Path) -> DockerBackend:
    """Returns a prepared Docker backend, which the caller must close. Skips or fails the test if there is no engine."""
    backend = DockerBackend(state_dir)
    try:
        # Lock, so that only one test process builds the image.
        with (Path(tempfile.gettempdir()) / f"codeact-test-image-{os.getuid()}").open("w") as lock:
            await to_thread.run_sync(fcntl.flock, lock, fcntl.LOCK_EX)
            await backend.prepare(SandboxSpec(), print)
    except SandboxError as error:
        await backend.close()
        missing("engine", error.message)
    return backend


async def prepared_cluster(state_dir: Path) -> Backend:
    """A Kubernetes backend that is ready, the caller's to close. A spec without an image gets the one of the tests."""
    from sandbox_pool.backends.kubernetes.backend import KubernetesBackend

    image = os.environ["TEST_CLUSTER_IMAGE"]

    class OfTheTests(KubernetesBackend):
        async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
            await super().prepare(replace(spec, image=spec.image or image), progress)

        async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
            return await super().create(sandbox_id, replace(spec, image=spec.image or image))

    backend = OfTheTests(state_dir)
    try:
        await backend.prepare(SandboxSpec(), print)
    except BaseException:
        await backend.close()
        raise
    return backend


@contextmanager
def leaks_of_the_sdk() -> Iterator[None]:
    """Collects the sockets of the Docker SDK's failed requests, so that no later test gets the warning about them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()

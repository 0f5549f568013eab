"""What a test needs of its machine: a reason enters, a skip leaves, or a failure where it must be there.

`.ci/run` sets REQUIRE_ENGINE and REQUIRE_BROWSER once it has installed both, so that nothing is skipped there.
It names its run in TEST_RUN, by which it finds what the tests leave on the engine when they are cut short.
"""

import fcntl
import gc
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NoReturn

import pytest
from anyio import to_thread

from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.errors import SandboxError
from sandbox_pool.spec import SandboxSpec

__all__ = ["LONG", "RUN", "leaks_of_the_sdk", "missing", "only_long", "own_name", "prepared_docker"]

LONG = bool(os.environ.get("TEST_LONG"))
"""`make test-long` sets it: tests with the mark `long` then go on for longer."""
only_long = pytest.mark.skipif(not LONG, reason="`make test-long` runs it")

RUN = os.environ.get("TEST_RUN", secrets.token_hex(3))
"""This run of the tests, of all that share a Docker engine."""


def own_name(what: str) -> str:
    """A name on a Docker engine that no other process of tests has."""
    return f"codeact-test-{RUN}-{what}-{secrets.token_hex(3)}"


def missing(what: Literal["engine", "browser"], reason: str) -> NoReturn:
    if os.environ.get(f"REQUIRE_{what.upper()}"):
        pytest.fail(f"This machine must have it: {reason}", pytrace=False)
    pytest.skip(reason)


async def prepared_docker(state_dir: Path) -> DockerBackend:
    """A Docker backend that is ready, the caller's to close; without an engine or an image the test ends here."""
    backend = DockerBackend(state_dir)
    try:
        # The image is built once, not by each process of tests that misses it.
        with (Path(tempfile.gettempdir()) / f"codeact-test-image-{os.getuid()}").open("w") as lock:
            await to_thread.run_sync(fcntl.flock, lock, fcntl.LOCK_EX)
            await backend.prepare(SandboxSpec(), print)
    except SandboxError as error:
        await backend.close()
        missing("engine", error.message)
    return backend


@contextmanager
def leaks_of_the_sdk() -> Iterator[None]:
    """The Docker SDK leaves sockets of failed requests to the garbage collector: here, not in another test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()

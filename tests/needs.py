"""What a test needs of its machine: a reason enters, a skip leaves, or a failure where it must be there.

`.ci/run` sets REQUIRE_ENGINE and REQUIRE_BROWSER once it has installed both, so that nothing is skipped there.
"""

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NoReturn

import pytest

from sandbox_pool.backends.docker import DockerBackend
from sandbox_pool.errors import SandboxError
from sandbox_pool.spec import SandboxSpec

__all__ = ["leaks_of_the_sdk", "missing", "prepared_docker"]


def missing(what: Literal["engine", "browser"], reason: str) -> NoReturn:
    if os.environ.get(f"REQUIRE_{what.upper()}"):
        pytest.fail(f"This machine must have it: {reason}", pytrace=False)
    pytest.skip(reason)


async def prepared_docker(state_dir: Path) -> DockerBackend:
    """A Docker backend that is ready, the caller's to close; without an engine or an image the test ends here."""
    backend = DockerBackend(state_dir)
    try:
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

"""Backends and sandboxes for the tests of this folder: real ones."""

import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path

import docker
import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.backends.process.backend import ProcessBackend
from sandbox_pool.outputs import Output, Stream
from sandbox_pool.sandbox.execution import Execution
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec
from tests.needs import CLUSTER_BACKENDS, missing, prepared_cluster, prepared_docker
from tests.sandbox_pool.pools import Observed

SPEC = SandboxSpec(preload=())
DEADLINE_S = 60.0
SOON_S = 30.0

StartSandbox = Callable[..., Awaitable[Sandbox]]

_numbers = itertools.count(1)
_PROCESS = secrets.token_hex(2)


def new_id() -> str:
    """Returns a sandbox id that is unique on an engine that several test processes share."""
    return f"test-{_PROCESS}-{next(_numbers)}"


def text(outputs: Sequence[Output], name: str = "stdout") -> str:
    return "".join(output.text for output in outputs if isinstance(output, Stream) and output.name == name)


async def printed(execution: Execution, expected: str) -> str:
    """What the code has printed once it is as long as `expected`; text may arrive in any number of pieces."""
    seen = ""
    async for output in execution:
        assert isinstance(output, Stream), output
        seen += output.text
        if len(seen) >= len(expected):
            break
    return seen


async def value(sandbox: Sandbox, expression: str) -> str:
    """What `print(expression)` prints in the sandbox."""
    outputs, result = await sandbox.run(f"print({expression})")
    assert result.status == "ok", result
    return text(outputs).removesuffix("\n")


async def make_backend(kind: str, state_dir: Path) -> Backend:
    """Prepares a backend: `docker`, `process` (in namespaces), or `plain` (the same backend without bubblewrap)."""
    if kind == "docker":
        return await prepared_docker(state_dir)
    if kind == "kubernetes":
        return await prepared_cluster(state_dir)
    backend = ProcessBackend(state_dir)
    with pytest.MonkeyPatch.context() as patch:
        if kind == "plain":
            patch.setenv("PATH", str(state_dir))
        await backend.prepare(SPEC, lambda line: None)
    if kind == "process" and not backend.isolation.isolated:
        await backend.close()
        pytest.skip(backend.isolation.missing[0])
    return backend


@pytest.fixture(
    scope="module", params=["process", "plain", pytest.param("docker", marks=pytest.mark.docker), *CLUSTER_BACKENDS]
)
async def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    backend = await make_backend(request.param, tmp_path_factory.mktemp("state"))
    yield backend
    await backend.close()


@pytest.fixture(scope="module")
async def shared(backend: Backend) -> AsyncIterator[Sandbox]:
    """One sandbox for all tests of a file that leave it alive and idle."""
    sandbox = await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S)
    yield sandbox
    await sandbox.close()


@pytest.fixture
async def start(backend: Backend) -> AsyncIterator[StartSandbox]:
    """Starts sandboxes for one test; they are closed after it."""
    async with AsyncExitStack() as stack:

        async def start(spec: SandboxSpec = SPEC) -> Sandbox:
            sandbox = await Sandbox.start(backend, new_id(), spec, deadline_s=DEADLINE_S)
            stack.push_async_callback(sandbox.close)
            return sandbox

        yield start


@pytest.fixture
async def sandbox(start: StartSandbox) -> Sandbox:
    """A sandbox for one test, which may end it."""
    return await start()


def hurry(execution: Execution) -> None:
    """Leaves running code half a second of its time limit, which a busy machine may need before that code begins."""
    assert execution._timer is not None, "no time limit runs"
    execution.stop_clock()
    execution._left_s = 0.5
    execution.start_clock()


@pytest.fixture
async def observed(tmp_path: Path) -> AsyncIterator[Observed]:
    """A prepared backend for a pool, which closes it."""
    backend = Observed(tmp_path)
    await backend.prepare(SPEC, print)
    yield backend
    await backend.close()


@pytest.fixture
def engine() -> Iterator[docker.APIClient]:
    """A separate client of the engine. Skips or fails the test if there is no engine."""
    try:
        client = docker.APIClient(version="auto", **docker.utils.kwargs_from_env())
    except docker.errors.DockerException as error:
        missing("engine", str(error))
    with closing(client):
        yield client

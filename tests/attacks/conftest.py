"""Sandboxes for hostile programs, and a second sandbox that they must not disturb."""

import asyncio
import re
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.outputs import ExecutionResult, Stream
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import Limits, SandboxSpec
from tests.differences import needs_promise
from tests.needs import CLUSTER_BACKENDS
from tests.sandbox_pool.conftest import make_backend, new_id

HERE = Path(__file__).parent
SMALL = Limits(
    memory_mb=256, pids=64, workspace_mb=16, tmp_mb=16, shm_mb=8, output_bytes=1_000_000, execution_timeout_s=20.0
)
SPEC = SandboxSpec(preload=(), limits=SMALL)
DEADLINE_S = 60.0
ANSWER_S = 60.0
"""How long a sandbox may take to answer while others attack. It is generous: these tests do not measure speed."""

REFUSALS = {"EACCES", "EPERM", "EROFS", "ENOENT", "ENOSYS", "ENXIO", "ENODEV", "ENOTDIR"}
"""The errors that count as a refusal."""

ISOLATED_BACKENDS = pytest.mark.parametrize(
    "backend",
    ["process", pytest.param("docker", marks=pytest.mark.docker), *CLUSTER_BACKENDS],
    indirect=True,
    scope="package",
)
"""All backends except for the plain process, which differs only in limits that the conformance tests check."""

StartSandbox = Callable[..., Awaitable[Sandbox]]


@pytest.fixture(autouse=True)
def _kills_at_once(impatient: None) -> None:
    """Most of these programs cannot be interrupted."""


@pytest.fixture(
    scope="package", params=["process", "plain", pytest.param("docker", marks=pytest.mark.docker), *CLUSTER_BACKENDS]
)
async def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    backend = await make_backend(request.param, tmp_path_factory.mktemp("state"))
    yield backend
    await backend.close()


@pytest.fixture(scope="package")
async def walled(backend: Backend) -> AsyncIterator[Sandbox]:
    """One isolated sandbox for all programs that try to break out."""
    needs_promise(backend, "isolation")
    sandbox = await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S)
    yield sandbox
    await sandbox.close()


@pytest.fixture
async def attacker(walled: Sandbox) -> AsyncIterator[Sandbox]:
    """The same sandbox, which must still answer after the test."""
    yield walled
    await assert_answers(walled)


@pytest.fixture(scope="package")
async def neighbour(backend: Backend) -> AsyncIterator[Sandbox]:
    """A sandbox that does not take part in the attacks."""
    sandbox = await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S)
    yield sandbox
    await sandbox.close()


@pytest.fixture
async def start(backend: Backend, neighbour: Sandbox) -> AsyncIterator[StartSandbox]:
    """Starts sandboxes that the attack may destroy. After the test, each must answer or have a death with a reason,
    and the neighbour must answer.
    """
    async with AsyncExitStack() as stack:

        async def start(**limits: Any) -> Sandbox:
            spec = replace(SPEC, limits=replace(SMALL, **limits))
            sandbox = await Sandbox.start(backend, new_id(), spec, deadline_s=DEADLINE_S)
            stack.push_async_callback(sandbox.close)
            started.append(sandbox)
            return sandbox

        started: list[Sandbox] = []
        yield start
        await assert_answers(neighbour)
        for sandbox in started:
            if sandbox.alive:
                await assert_answers(sandbox)
            else:
                assert sandbox.death
                assert sandbox.death.detail


async def assert_answers(sandbox: Sandbox) -> None:
    async with asyncio.timeout(ANSWER_S):
        outputs, result = await sandbox.run("print(1 + 1)")
        # Threads of an earlier program may have written text, which comes first.
        while not (result.status == "ok" and outputs and str(outputs[-1].text).endswith("2\n")):
            assert sandbox.alive, sandbox.death
            outputs, result = await sandbox.run("print(1 + 1)")


async def attack(
    sandbox: Sandbox, program: str, *, timeout_s: float | None = None, may_raise: bool = False, **given: Any
) -> tuple[dict[str, str], ExecutionResult]:
    """Runs `programs/<program>.py`. Returns the outcome of each attempt by name, and the result of the execution.

    With `may_raise`, the program may end with an exception.
    """
    source = (HERE / "programs" / f"{program}.py").read_text()
    module = (HERE / "attempts.py").read_text()
    _, loaded = await sandbox.run(
        "import sys, types\n"
        "sys.modules['attempts'] = module = types.ModuleType('attempts')\n"
        f"exec({module!r}, module.__dict__)\n"
        f"module.given.update({given!r})"
    )
    assert loaded.status == "ok", loaded.error
    outputs, result = await sandbox.run(source, timeout_s=timeout_s)
    text = "".join(output.text for output in outputs if isinstance(output, Stream) and output.name == "stdout")
    assert may_raise or result.status != "error", result.error
    return dict(re.findall(r"^(\S[^:\n]*): (.*)$", text, re.MULTILINE)), result


def assert_refused(outcomes: dict[str, str], *more: str) -> None:
    """Asserts that every attempt was refused. `more` names further outcomes that count as a refusal."""
    assert outcomes
    reached = {name: outcome for name, outcome in outcomes.items() if outcome not in REFUSALS | set(more)}
    assert not reached


@contextmanager
def memory_within(megabytes: float) -> Iterator[None]:
    """Asserts that the peak memory of this process, which plays the server, grows by at most this much."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_kb()
    yield
    grown = (_peak_kb() - before) / 1024
    assert grown < megabytes, f"the server grew by {grown:.0f} MB"


def _peak_kb() -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

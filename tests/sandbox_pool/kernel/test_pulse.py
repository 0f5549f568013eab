"""A kernel whose control thread no longer answers is detected; other states are not mistaken for that."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.kernel import pulse
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.sandbox_pool.conftest import DEADLINE_S, SPEC, make_backend, new_id, value

pytestmark = pytest.mark.anyio

WITHIN_S = 60.0
ENDS = "get_ipython().kernel.control_thread.io_loop.add_callback(get_ipython().kernel.control_thread.io_loop.stop)"
STANDS_STILL = "import time; get_ipython().kernel.control_thread.io_loop.add_callback(time.sleep, 1000)"


@pytest.fixture(scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    backend = await make_backend("process", tmp_path_factory.mktemp("state"))
    yield backend
    await backend.close()


@pytest.fixture
async def sandbox(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    monkeypatch.setattr(pulse, "ASK_S", 0.05)
    monkeypatch.setattr(pulse, "SILENCE_S", 60.0)
    sandbox = await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S)
    yield sandbox
    await sandbox.close()


@pytest.mark.parametrize("code", [ENDS, STANDS_STILL], ids=["ends", "stands still"])
async def test_a_kernel_whose_control_thread_is_gone_is_found_and_named(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    await sandbox.run(code)
    monkeypatch.setattr(pulse, "SILENCE_S", 1.0)
    with anyio.fail_after(WITHIN_S):
        death = await sandbox.died()
    assert "control thread has not answered" in death.detail


async def test_code_that_keeps_the_interpreter_to_itself_is_no_silence(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import ctypes\nprint('begun', flush=True)\nctypes.PyDLL(None).usleep(900_000)"  # Holds the interpreter's lock.
    )
    async with sandbox.execute(code) as execution:
        await anext(execution)
        with monkeypatch.context() as patch:  # Only while the code runs: a busy machine makes an idle kernel late, too.
            patch.setattr(pulse, "SILENCE_S", 0.2)
            await execution.ended()
    assert execution.result.status == "ok"
    assert await value(sandbox, "'alive'") == "alive"


async def test_a_kernel_that_is_asked_again_and_again_answers_and_counts_nothing_as_unasked(sandbox: Sandbox) -> None:
    for _ in range(5):
        assert await value(sandbox, "1 + 1") == "2"
    assert sandbox.alive
    assert sandbox._lifecycle.kernel.rejected == 0


async def test_time_in_which_the_kernel_is_busy_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "ASK_S", 0.01)
    monkeypatch.setattr(pulse, "SILENCE_S", 0.05)
    never = asyncio.get_running_loop().create_future()
    with anyio.move_on_after(0.3) as scope:
        await pulse.until_silent(lambda: never, is_busy=lambda: True)
    assert scope.cancelled_caught
    await pulse.until_silent(lambda: never, is_busy=lambda: False)

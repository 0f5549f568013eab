"""A kernel, its copy or its sandbox is killed while a checkpoint is taken or restored: nothing half comes of it."""

import random
from collections.abc import Awaitable, Callable

import pytest

from sandbox_pool.errors import SandboxError
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.needs import LONG, only_long
from tests.sandbox_pool.conftest import StartSandbox, value
from tests.sandbox_pool.state.parts import BACKENDS, Parts

pytestmark = [pytest.mark.anyio, pytest.mark.long]

ROUNDS = 30 if LONG else 1
MAKE = "import numpy as np\narrays = [np.random.default_rng(n).random(400_000) for n in range(4)]\nversion = {version}"
SUM = "version, float(sum(array.sum() for array in arrays))"
KILL_COPY = """
import os
for task in os.listdir("/proc/self/task"):
    for child in open(f"/proc/self/task/{task}/children").read().split():
        os.kill(int(child), 9)
"""


async def kill_kernel(sandbox: Sandbox) -> None:
    await sandbox.run("import os\nos.kill(os.getpid(), 9)")


async def kill_copy(sandbox: Sandbox) -> None:
    await sandbox.run(KILL_COPY)


async def kill_sandbox(sandbox: Sandbox) -> None:
    await sandbox.close()


@pytest.mark.timeout(300 + 60 * ROUNDS)
@pytest.mark.parametrize("kill", [kill_kernel, kill_copy, pytest.param(kill_sandbox, marks=only_long)])
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
async def test_the_last_complete_checkpoint_comes_back(
    start: StartSandbox, kill: Callable[[Sandbox], Awaitable[None]]
) -> None:
    moments = random.Random(5)
    for _ in range(ROUNDS):
        parts = Parts()
        kernel = await start()
        await kernel.run(MAKE.format(version=1))
        expected = await value(kernel, SUM)
        complete = (await kernel.checkpoint(parts.store)).manifest
        await kernel.run(MAKE.format(version=2).replace("rng(n)", "rng(n + 9)"))
        left = moments.randrange(1, 8)

        async def store(sha256: str, content: bytes) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                await kill(kernel)  # noqa: B023
            parts.held[sha256] = content  # noqa: B023

        with pytest.raises(SandboxError):
            await kernel.checkpoint(store, since=complete)

        half = await start()
        fetched = 0
        last = moments.randrange(1, len(complete.parts()))

        async def fetch(sha256: str) -> bytes:
            nonlocal fetched
            fetched += 1
            if fetched == last:  # noqa: B023
                await half.close()  # noqa: B023
            return await parts.fetch(sha256)  # noqa: B023

        with pytest.raises(SandboxError):
            await half.restore(complete, fetch)
        other = await start()
        restored = await other.restore(complete, parts.fetch)
        assert restored.unsaved == ()
        assert await value(other, SUM) == expected
        for each in (kernel, half, other):
            await each.close()


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_a_lost_or_damaged_part_costs_only_what_needs_it(start: StartSandbox) -> None:
    one, other = await start(), await start()
    await one.run(
        "import numpy as np\nlost = np.arange(100_000.0)\nkept = -np.arange(90_000.0)\nopen('f', 'w').write('x')"
    )
    parts = Parts()
    manifest = (await one.checkpoint(parts.store)).manifest
    unit = next(unit for unit in manifest.units if unit.groups[0].names[0].name == "lost")
    parts.held[unit.buffers[0].parts[1]] = b"damaged"
    del parts.held[manifest.files[0].content.parts[0]]
    restored = await other.restore(manifest, parts.fetch)
    assert {(each.name, each.reason) for each in restored.unsaved} == {
        (name, "a part of it is lost or damaged") for name in ("lost", "f")
    }
    assert await value(other, "float(kept.sum()), 'lost' in globals()") == await value(one, "float(kept.sum()), False")

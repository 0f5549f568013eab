"""A random program that is checkpointed and restored after every block prints the same as without."""

import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sandbox_pool.backends.base import GUEST, Backend
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.needs import LONG
from tests.sandbox_pool.conftest import DEADLINE_S, SPEC, new_id, text
from tests.sandbox_pool.state.parts import BACKENDS, Parts
from tests.sandbox_pool.state.programs import program

pytestmark = pytest.mark.anyio

SEEDS = range(60) if LONG else range(1)
BLOCKS, STATEMENTS = (8, 25) if LONG else (3, 30)


async def printed_by(backend: Backend, blocks: list[str], *, restored: bool) -> list[str]:
    """Returns what each block prints. With `restored`, each runs in a sandbox of its own."""
    parts, manifest = Parts(), None
    found = []
    async with AsyncExitStack() as stack:
        sandbox = await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S)
        stack.push_async_callback(sandbox.close)
        for number, block in enumerate(blocks):
            outputs, result = await sandbox.run(block)
            assert result.status == "ok", (block, outputs)
            found.append(text(outputs))
            if not restored or number == len(blocks) - 1:
                continue
            manifest = (await sandbox.checkpoint(parts.store, since=manifest)).manifest
            await stack.aclose()
            sandbox = await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S)
            stack.push_async_callback(sandbox.close)
            back = await sandbox.restore(manifest, parts.fetch)
            assert back.unsaved == ()
    return found


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
async def test_a_restored_program_prints_the_same(backend: Backend, seed: int) -> None:
    blocks = program(seed, blocks=BLOCKS, statements=STATEMENTS)
    expected = await printed_by(backend, blocks, restored=False)
    assert await printed_by(backend, blocks, restored=True) == expected


@pytest.mark.long
def test_many_restored_programs_print_the_same_without_sandboxes() -> None:
    script = Path(__file__).with_name("one_process.py")
    seeds = ("0", "60") if LONG else ("0", "4")
    done = subprocess.run(
        [sys.executable, str(script), str(GUEST), *seeds], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)

"""After its sandboxes were used for attacks, the pool is complete again."""

from pathlib import Path
from typing import Any

import pytest

from sandbox_pool import SandboxPool
from tests.attacks.conftest import SPEC, assert_answers, attack
from tests.needs import CLUSTER_BACKENDS
from tests.sandbox_pool.conftest import make_backend

pytestmark = pytest.mark.anyio

ATTACKS: list[tuple[str, dict[str, Any]]] = [
    ("fork_bomb", {}),
    ("memory_in_files", {"what": "anonymous_shared"}),
    ("raw_bytes", {"what": "a message without an end", "channel": 1}),
    ("stop_itself", {}),
]


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if not path.is_dir()]


@pytest.mark.parametrize("kind", ["process", pytest.param("docker", marks=pytest.mark.docker), *CLUSTER_BACKENDS])
async def test_after_each_attack_the_pool_lends_a_fresh_sandbox_and_in_the_end_nothing_is_left(
    kind: str, tmp_path: Path
) -> None:
    backend = await make_backend(kind, tmp_path)
    async with SandboxPool(SPEC, backend=backend, min_size=1, max_size=3) as pool:
        for program, given in ATTACKS:
            async with pool.acquire() as sandbox:
                await attack(sandbox, program, timeout_s=1, may_raise=True, **given)
            async with pool.acquire() as fresh:
                assert fresh.id != sandbox.id
                await assert_answers(fresh)
        assert pool.stats().failures == 0
    assert files_below(tmp_path) == []

"""The Docker engine is killed while a checkpoint is taken or restored: the last complete one comes back, nothing half.

The engine is one of the test's own (tests/docker/own_engine.py).
"""

import random
from contextlib import closing, suppress
from pathlib import Path

import docker
import pytest
from anyio import to_thread

from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.backends.docker.image import ensure_image
from sandbox_pool.errors import SandboxError
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.docker.own_engine import own_engine
from tests.needs import only_long, prepared_docker
from tests.sandbox_pool.conftest import DEADLINE_S, SPEC, new_id, value
from tests.sandbox_pool.state.parts import Parts
from tests.sandbox_pool.state.test_kills import MAKE, SUM

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.long, only_long]

ROUNDS = 5


async def test_a_killed_engine_leaves_the_last_complete_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await prepared_docker(tmp_path / "shared")).close()
    with closing(docker.APIClient()) as client:
        image = await to_thread.run_sync(ensure_image, client, None, print)
    moments = random.Random(7)
    with own_engine(image) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        for number in range(ROUNDS):
            backend = DockerBackend(tmp_path / f"own-{number}")
            await backend.prepare(SPEC, print)
            parts = Parts()
            kernel = await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S)
            await kernel.run(MAKE.format(version=1))
            complete, expected = (await kernel.checkpoint(parts.store)).manifest, await value(kernel, SUM)
            await kernel.run(MAKE.format(version=2).replace("rng(n)", "rng(n + 9)"))
            second, left = await value(kernel, SUM), moments.randrange(1, 8)

            async def store(sha256: str, content: bytes) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    engine.kill()
                parts.held[sha256] = content  # noqa: B023

            # The kernel does not need the engine, so that the checkpoint may become complete nevertheless.
            with suppress(SandboxError):
                complete, expected = (await kernel.checkpoint(store, since=complete)).manifest, second
            engine.start_again()

            half = await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S)
            fetched, last = 0, moments.randrange(1, len(complete.parts()))

            async def fetch(sha256: str) -> bytes:
                nonlocal fetched
                fetched += 1
                if fetched == last:  # noqa: B023
                    engine.kill()
                return await parts.fetch(sha256)  # noqa: B023

            with suppress(SandboxError):
                await half.restore(complete, fetch)
            engine.start_again()

            other = await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S)
            assert (await other.restore(complete, parts.fetch)).unsaved == ()
            assert await value(other, SUM) == expected
            for each in (kernel, half, other):
                await each.close()
            await backend.close()

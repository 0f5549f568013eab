"""The pool notices a real engine's events: paused containers, removed containers, rebuilt images."""

from dataclasses import replace
from pathlib import Path

import anyio
import docker
import pytest
from anyio import to_thread

from sandbox_pool import Sandbox, SandboxPool
from sandbox_pool.backends.docker.backend import DockerBackend
from tests.needs import own_name, prepared_docker
from tests.sandbox_pool.pools import SPEC

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


@pytest.fixture
async def backend(tmp_path: Path) -> DockerBackend:
    """The pool closes it."""
    return await prepared_docker(tmp_path)


def warm(pool: SandboxPool) -> Sandbox:
    return next(iter(pool._open_warm_pool._warm))


def container(engine: docker.APIClient, sandbox_id: str) -> str:
    return str(engine.containers(all=True, filters={"label": f"codeact.sandbox={sandbox_id}"})[0]["Id"])


async def test_a_warm_container_that_is_paused_or_removed_is_replaced(
    backend: DockerBackend, engine: docker.APIClient
) -> None:
    async with SandboxPool(SPEC, backend=backend, min_size=1, max_size=2) as pool:
        for harm in (engine.pause, lambda name: engine.remove_container(name, force=True)):
            await pool.ready()
            victim = warm(pool)
            await to_thread.run_sync(harm, container(engine, victim.id))
            with anyio.fail_after(30):
                await victim.died()
                await pool.until(lambda stats: stats.warm == 1 and stats.removing == 0)
            async with pool.acquire() as sandbox:
                _, result = await sandbox.run("1 + 1")
                assert result.status == "ok"
        assert engine.containers(all=True, filters={"label": f"codeact.sandbox={victim.id}"}) == []


async def test_an_image_that_gets_another_content_is_noticed(backend: DockerBackend, engine: docker.APIClient) -> None:
    name = own_name("derived")
    built = backend._images[None]
    engine.tag(built, name)
    spec = replace(SPEC, image=name)
    try:
        async with SandboxPool(spec, backend=backend, min_size=1, max_size=2) as pool:
            await pool.ready()
            first = warm(pool)
            derived = engine.create_container(built, name=name, labels={"codeact.test": name})
            try:
                await to_thread.run_sync(lambda: engine.commit(derived, name, "latest"))
            finally:
                engine.remove_container(derived, force=True)
            with anyio.fail_after(30):
                await first.died()
                await pool.ready()
            image = engine.inspect_container(container(engine, warm(pool).id))["Image"]
            assert image == engine.inspect_image(name)["Id"]
    finally:
        engine.remove_image(name, force=True)

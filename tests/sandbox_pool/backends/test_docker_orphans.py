"""A server in a container is identified by it: its sandboxes are orphans when the container is gone."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from sandbox_pool.backends.docker import orphans
from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.backends.docker.engine import Engine
from sandbox_pool.backends.docker.image import ensure_image
from sandbox_pool.backends.docker.orphans import own_container
from sandbox_pool.spec import Limits, SandboxSpec
from tests.needs import own_name, prepared_docker

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

RUN = secrets.token_hex(3)
SPEC = SandboxSpec(preload=(), limits=Limits(memory_mb=256))


@pytest.fixture
async def other(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DockerBackend]:
    """A backend of a server that shares only the engine with ours."""
    backend = await prepared_docker(tmp_path_factory.mktemp("other"))
    yield backend
    await backend.close()


@pytest.fixture
def engine(other: DockerBackend) -> Iterator[Engine]:
    engine = Engine.connect()
    with closing(engine.api):
        yield engine


@pytest.fixture
def container(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of a running container that this process considers its own, because of a mount that each container has."""
    image = ensure_image(engine.api, None, print)
    id = engine.api.create_container(image, name=own_name("server"), entrypoint=["sleep", "100"])["Id"]
    engine.api.start(id)
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "875 65 0:264 / / rw,relatime - overlay overlay rw\n"
        f"80 75 0:5 / /var/lib/docker/containers/{'0' * 64}/mounts/shm rw - tmpfs shm rw\n"
        f"893 875 254:0 /var/lib/docker/containers/{id}/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw\n"
    )
    monkeypatch.setattr(orphans, "MOUNTS", mounts)
    yield id
    try:
        engine.api.remove_container(id, force=True)
    except docker.errors.NotFound:
        pass


async def test_the_own_container_is_one_that_runs_on_this_engine(engine: Engine, container: str) -> None:
    assert own_container(engine) == container
    engine.api.remove_container(container, force=True)
    assert own_container(engine) is None


async def test_a_system_without_mounts_to_read_is_no_container(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "MOUNTS", tmp_path / "absent")
    assert own_container(engine) is None


async def test_what_a_server_had_is_left_over_once_its_container_is_gone(
    other: DockerBackend, engine: Engine, container: str, tmp_path: Path
) -> None:
    server = await prepared_docker(tmp_path)
    sandbox_id = f"{RUN}-orphan"
    await server.create(sandbox_id, SPEC)
    assert sandbox_id not in await other.list()
    engine.api.remove_container(container, force=True)
    assert sandbox_id in await other.list()
    await other.destroy(sandbox_id)
    assert sandbox_id not in await other.list()
    assert engine.api.containers(all=True, filters={"label": f"codeact.sandbox={sandbox_id}"}) == []
    await server.close()

"""Which images of earlier versions are removed from a real engine, and which remain."""

from contextlib import suppress
from pathlib import Path

import docker
import pytest

from sandbox_pool.backends.docker import stale_images
from sandbox_pool.backends.docker.stale_images import remove_superseded
from tests.needs import own_name, prepared_docker

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


@pytest.fixture
async def repository(tmp_path: Path, engine: docker.APIClient) -> list[str]:
    """Names of images of one repository, made for this test. All have different contents; the first is a user's."""
    backend = await prepared_docker(tmp_path)
    built = backend._images[None]
    await backend.close()
    name = own_name("superseded")
    container = engine.create_container(built, name=own_name("built"))
    try:
        for tag in ("new", "old", "used"):
            engine.commit(container, name, tag, changes=f"ENV TAG={tag}")
        engine.commit(container, name, "other", changes="LABEL codeact.kernel=\nENV TAG=other")
        engine.commit(container, f"{name}-of-a-user", "old", changes="ENV TAG=user")
    finally:
        engine.remove_container(container)
    return [f"{name}:{tag}" for tag in ("new", "old", "used")] + [f"{name}-of-a-user:old"]


async def test_only_what_is_ours_old_and_unused_goes(
    engine: docker.APIClient, repository: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old, used, users = repository
    in_use = engine.create_container(used, name=own_name("used"))
    try:
        remove_superseded(engine, new, build_label="codeact.test")
        assert {name for name in repository if engine.images(name)} == {*repository}  # used in this week
        monkeypatch.setattr(stale_images, "_unused_s", lambda api, name: stale_images.UNUSED_S + 1)
        remove_superseded(engine, new, build_label="codeact.test")
        assert {name for name in repository if engine.images(name)} == {new, used, users}
    finally:
        engine.remove_container(in_use)
        for name in (*repository, new.replace(":new", ":other")):
            with suppress(docker.errors.ImageNotFound):
                engine.remove_image(name)
    assert old not in [name for name in repository if engine.images(name)]

"""Which backend is chosen, why, and what is said about it."""

from pathlib import Path

import pytest

from sandbox_pool.backends.auto import Opened, open_backend
from sandbox_pool.errors import EngineUnavailable, ImageUnavailable
from sandbox_pool.spec import SandboxSpec
from tests.needs import prepared_docker

pytestmark = pytest.mark.anyio

ABSENT = SandboxSpec(image="127.0.0.1:1/nothing")


@pytest.fixture
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


@pytest.fixture
async def engine(tmp_path: Path) -> None:
    await (await prepared_docker(tmp_path / "probe")).close()


async def opened(name: str, spec: SandboxSpec, tmp_path: Path) -> tuple[str, Opened, list[str]]:
    """The chosen backend's name, what was said about it, and the lines of progress."""
    lines: list[str] = []
    found = await open_backend(name, spec, state_dir=tmp_path, progress=lines.append)  # type: ignore[arg-type]
    await found.backend.close()
    return found.backend.name, found, lines


@pytest.mark.usefixtures("no_engine")
async def test_without_an_engine_auto_takes_local_processes_and_says_how_to_get_one(tmp_path: Path) -> None:
    name, found, lines = await opened("auto", SandboxSpec(), tmp_path)
    assert name == "process"
    assert "no Docker engine" in found.why
    assert "apt-get install docker.io" in found.hints[0]
    assert lines[0].startswith("Going on without Docker")


@pytest.mark.usefixtures("no_engine")
async def test_without_an_engine_docker_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="apt-get install docker"):
        await opened("docker", SandboxSpec(), tmp_path)


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
async def test_auto_takes_docker_where_it_works(tmp_path: Path) -> None:
    name, found, _ = await opened("auto", SandboxSpec(), tmp_path)
    assert (name, found.why) == ("docker", "a Docker engine answers")


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
async def test_where_the_image_cannot_be_had_auto_goes_on_and_says_so(tmp_path: Path) -> None:
    name, found, lines = await opened("auto", ABSENT, tmp_path)
    assert name == "process"
    assert "127.0.0.1:1/nothing could not be pulled" in found.hints[0]
    assert lines[0] == "Pulling 127.0.0.1:1/nothing"


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
async def test_where_the_image_cannot_be_had_docker_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageUnavailable, match="CODEACT_SANDBOX_IMAGE"):
        await opened("docker", ABSENT, tmp_path)


async def test_process_asks_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:1")
    name, found, _ = await opened("process", SandboxSpec(), tmp_path)
    assert (name, found.why) == ("process", "CODEACT_SANDBOX=process")


async def test_kubernetes_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="Kubernetes are not in this version"):
        await opened("kubernetes", SandboxSpec(), tmp_path)


async def test_a_backend_that_cannot_be_had_leaves_no_file(tmp_path: Path, no_engine: None) -> None:
    with pytest.raises(EngineUnavailable):
        await opened("docker", SandboxSpec(), tmp_path / "state")
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []

"""Which backend is chosen, why, and what the user is told."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from codeact.errors import ConfigurationError
from codeact.settings import Settings
from sandbox_pool.backends import registry
from sandbox_pool.backends.registry import ChosenBackend, open_backend
from sandbox_pool.errors import EngineUnavailable, ImageUnavailable
from sandbox_pool.spec import SandboxSpec
from tests.needs import prepared_docker

pytestmark = pytest.mark.anyio

ABSENT = SandboxSpec(image="127.0.0.1:1/nothing")


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a short name, because these tests create sockets deep inside it."""
    return tmp_path_factory.mktemp("auto")


@pytest.fixture
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


@pytest.fixture
async def engine(tmp_path: Path) -> None:
    await (await prepared_docker(tmp_path / "probe")).close()


async def opened(name: str, spec: SandboxSpec, tmp_path: Path) -> tuple[str, ChosenBackend, list[str]]:
    """The chosen backend's name, its explanation, and the lines of progress."""
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


async def test_a_backend_that_is_not_installed_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"no backend 'podman'.* docker, process, kubernetes"):
        await opened("podman", SandboxSpec(), tmp_path)


async def test_a_backend_without_its_packages_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "missing_extras", lambda *extras: list(extras))
    with pytest.raises(EngineUnavailable, match=r"'kubernetes' need packages .*pip install 'codeact\[kubernetes\]'"):
        await opened("kubernetes", SandboxSpec(), tmp_path)


async def test_a_package_adds_a_backend_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("elsewhere", "sandbox_pool.backends.process.backend:ProcessBackend", registry.GROUP)
    broken = EntryPoint("broken", "sandbox_pool.backends.none:None", registry.GROUP)
    found = EntryPoints((entry, broken))
    monkeypatch.setattr(registry, "entry_points", lambda **which: found.select(**which))
    assert registry.backend_names() == ["docker", "process", "kubernetes", "broken", "elsewhere"]
    assert Settings.load(sandbox="elsewhere").sandbox == "elsewhere"
    name, opened_as, _ = await opened("elsewhere", SandboxSpec(), tmp_path)
    assert (name, opened_as.why) == ("process", "CODEACT_SANDBOX=elsewhere")
    with pytest.raises(EngineUnavailable, match=r"'broken' cannot be imported \(sandbox_pool.backends.none:None\)"):
        await opened("broken", SandboxSpec(), tmp_path)
    with pytest.raises(ConfigurationError, match=r"CODEACT_SANDBOX.* docker, process, kubernetes, broken, elsewhere"):
        Settings.load(sandbox="dokcer")


async def test_a_backend_that_cannot_be_had_leaves_no_file(tmp_path: Path, no_engine: None) -> None:
    with pytest.raises(EngineUnavailable):
        await opened("docker", SandboxSpec(), tmp_path / "state")
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []

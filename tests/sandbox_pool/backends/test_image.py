"""The image of sandboxes: built once per content, with a clear error if it is not available."""

import io
import os
import shutil
import tarfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import docker
import pytest
from anyio import to_thread

from sandbox_pool.backends.docker import image
from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.backends.docker.image import built_name
from sandbox_pool.errors import ImageUnavailable
from sandbox_pool.spec import SandboxSpec
from tests.needs import leaks_of_the_sdk, own_name, prepared_docker

pytestmark = pytest.mark.anyio

SCRATCH = own_name("scratch") + ":latest"


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[DockerBackend]:
    with leaks_of_the_sdk():
        backend = await prepared_docker(tmp_path)
        yield backend
        await backend.close()


@pytest.fixture
def scratch(engine: docker.APIClient) -> Iterator[str]:
    """The name of an empty image, which has no kernel."""
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    engine.import_image_from_data(empty.getvalue(), repository=SCRATCH)
    yield SCRATCH
    engine.remove_image(SCRATCH, force=True)


@pytest.fixture
def checkout(backend: DockerBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with another image than ours, which has not been built yet."""
    checkout = tmp_path / "checkout"
    for path in (*image.SOURCES, f"docker/{image.REQUIREMENTS}.txt"):
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image.CHECKOUT / path, checkout / path)
    with (checkout / image.DOCKERFILE).open("a") as dockerfile:
        dockerfile.write(f"# {os.urandom(8).hex()}\n")
    monkeypatch.setattr(image, "CHECKOUT", checkout)
    return checkout


def test_the_name_changes_with_any_byte_of_any_file() -> None:
    sources = {"Dockerfile": b"FROM x", "kernel_main.py": b""}
    names = {
        built_name(sources),
        built_name(sources | {"kernel_main.py": b"\n"}),
        built_name({"Dockerfile": b"FROM xkernel_main.py", "kernel_main.py": b""}),
        built_name({"Dockerfile": b"FROM x"}),
    }
    assert len(names) == 4
    assert built_name(dict(reversed(sources.items()))) in names


async def test_an_installation_without_the_sources_says_where_the_image_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "CHECKOUT", tmp_path)
    with pytest.raises(ImageUnavailable, match="CODEACT_SANDBOX_IMAGE=NAME"):
        image.ensure_image(None, None, print)


@pytest.mark.docker
async def test_an_image_that_is_there_is_not_built_again(backend: DockerBackend) -> None:
    lines: list[str] = []
    await backend.prepare(SandboxSpec(), lines.append)
    assert lines == []


@pytest.mark.docker
async def test_of_several_servers_one_at_a_time_provides_the_image(
    backend: DockerBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await prepared_docker(tmp_path / "other")
    other._state_dir = backend._state_dir
    ensure_image, both, together = image.ensure_image, threading.Barrier(2), list[str]()

    def provide(client: docker.APIClient, name: str | None, progress: Callable[[str], None]) -> str:
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=1)
            together.append(name or "ours")
        return ensure_image(client, name, progress)

    monkeypatch.setattr("sandbox_pool.backends.docker.backend.ensure_image", provide)
    said = list[str]()
    async with anyio.create_task_group() as tasks:
        for each in (backend, other):
            tasks.start_soon(each.prepare, SandboxSpec(), said.append)
    await other.close()
    assert together == []
    assert said == ["Another server of this machine provides the image"]


async def test_an_image_without_a_kernel_of_ours_is_refused(backend: DockerBackend, scratch: str) -> None:
    with pytest.raises(ImageUnavailable, match=r"docker/sandbox\.Dockerfile"):
        await backend.prepare(SandboxSpec(image=scratch), print)


@pytest.mark.docker
async def test_an_image_that_cannot_be_pulled_is_named_with_the_cause(backend: DockerBackend) -> None:
    lines: list[str] = []
    with pytest.raises(ImageUnavailable, match=r"127\.0\.0\.1:1/nothing could not be pulled: .*refused") as caught:
        await backend.prepare(SandboxSpec(image="127.0.0.1:1/nothing"), lines.append)
    assert "CODEACT_SANDBOX_IMAGE" in caught.value.message
    assert lines == ["Pulling 127.0.0.1:1/nothing"]


@pytest.mark.docker
@pytest.mark.usefixtures("checkout")
async def test_without_a_base_the_script_that_makes_one_is_named(
    backend: DockerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "LOCAL_BASE", "codeact-test-nothing:latest")
    monkeypatch.setattr(image, "PUBLIC_BASE", "127.0.0.1:1/python")
    with pytest.raises(ImageUnavailable, match=r"127\.0\.0\.1:1/python could not be pulled.*docker/debian-base\.sh"):
        await backend.prepare(SandboxSpec(), print)


@pytest.mark.docker
@pytest.mark.usefixtures("checkout")
async def test_a_build_that_fails_tells_the_step_and_the_cause(
    backend: DockerBackend, scratch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "LOCAL_BASE", scratch)
    lines: list[str] = []
    with pytest.raises(ImageUnavailable, match=r"could not be built: .*/bin/sh.*RUN python3 -m venv"):
        await backend.prepare(SandboxSpec(), lines.append)
    assert lines[0].startswith("Building the image")
    assert any(line.startswith("Step ") for line in lines)


@pytest.mark.docker
async def test_cancelling_ends_a_build(backend: DockerBackend, checkout: Path, engine: docker.APIClient) -> None:
    label = f"codeact.test={os.urandom(8).hex()}"
    (checkout / image.DOCKERFILE).write_text(
        f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\nLABEL {label}\n"
        "RUN for i in $(seq 300); do echo Collecting $i; sleep 0.1; done\n"
    )
    died = engine.events(filters={"type": "container", "event": "die", "label": label})
    runs = anyio.Event()

    def report(line: str) -> None:
        if line.startswith("Collecting"):
            runs.set()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backend.prepare, SandboxSpec(), report)
            await runs.wait()
            tasks.cancel_scope.cancel()
        assert await to_thread.run_sync(next, died, abandon_on_cancel=True)

"""What Docker sandboxes guarantee beyond other backends: isolation, clean-up, images, and clear errors."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import docker
import pytest

from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.spec import Limits, SandboxSpec
from tests.needs import prepared_docker

pytestmark = pytest.mark.anyio

SPEC = SandboxSpec(limits=Limits(memory_mb=256, workspace_mb=32, pids=32))
# An engine may serve several runs of these tests at once.
RUN = secrets.token_hex(3)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[DockerBackend]:
    backend = await prepared_docker(tmp_path)
    yield backend
    await backend.close()


@pytest.fixture
async def sandbox_id(backend: DockerBackend) -> AsyncIterator[str]:
    started = await backend.create(f"{RUN}-walls", SPEC)
    yield started.sandbox_id
    await backend.destroy(started.sandbox_id)


def container(engine: docker.APIClient, sandbox_id: str) -> str | None:
    """The name of its container, if there is one."""
    found = engine.containers(all=True, filters={"label": f"codeact.sandbox={sandbox_id}"})
    return found[0]["Id"] if found else None


def sh(engine: docker.APIClient, sandbox_id: str, script: str) -> str:
    """The stdout and stderr of a script that runs in the sandbox like its code."""
    process = engine.exec_create(container(engine, sandbox_id), ["sh", "-c", script])
    said: bytes = engine.exec_start(process["Id"])
    return said.decode()


def in_state(tmp_path: Path, pattern: str) -> list[Path]:
    return list((tmp_path / "docker").glob(pattern))


# ---- walls -------------------------------------------------------------------------------------------


@pytest.mark.docker
async def test_code_has_no_power_over_the_kernel_of_the_host(sandbox_id: str, engine: docker.APIClient) -> None:
    status = sh(engine, sandbox_id, "cat /proc/self/status; id -u")
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    for capabilities in ("CapEff", "CapPrm", "CapBnd"):
        assert f"{capabilities}:\t0000000000000000" in status
    assert status.endswith("\n10001\n")


@pytest.mark.docker
async def test_code_has_no_network(sandbox_id: str, engine: docker.APIClient) -> None:
    interfaces = sh(engine, sandbox_id, "tail -n +3 /proc/net/dev | cut -d: -f1").split()
    assert interfaces == ["lo"]


@pytest.mark.docker
async def test_code_can_write_to_its_workspace_and_its_temporary_directory_only(
    sandbox_id: str, engine: docker.APIClient
) -> None:
    writable = sh(engine, sandbox_id, "find / -writable -type d -not -path '/proc/*' 2>/dev/null").split()
    assert {path for path in writable if not path.startswith(("/workspace/", "/tmp/"))} == {
        "/workspace",
        "/tmp",
        "/dev/shm",
        "/dev/mqueue",
    }


@pytest.mark.docker
async def test_the_directory_of_sockets_is_sealed_once_the_kernel_is_ready(
    sandbox_id: str, engine: docker.APIClient
) -> None:
    said = sh(
        engine, sandbox_id, "cd /run/kernel; echo > new; ln -s / link; rm k-1; mv k-1 k-2; chmod 777 .; echo > *.json"
    )
    assert said.count("Permission denied") + said.count("not permitted") == 6


@pytest.mark.docker
async def test_a_container_gets_one_directory_of_the_host_and_none_of_its_environment(
    sandbox_id: str, engine: docker.APIClient, tmp_path: Path
) -> None:
    found = engine.inspect_container(container(engine, sandbox_id))
    mounts = {mount["Destination"]: mount["Source"] for mount in found["Mounts"] if mount["Type"] != "tmpfs"}
    assert list(mounts) == ["/run/kernel"]
    assert Path(mounts["/run/kernel"]).is_relative_to(tmp_path)
    of_image = engine.inspect_image(found["Image"])["Config"]["Env"]
    assert set(found["Config"]["Env"]) - set(of_image) == {"OMP_NUM_THREADS=1", "PYTHONHASHSEED=0"}


@pytest.mark.docker
async def test_a_full_workspace_is_an_error_and_no_more(sandbox_id: str, engine: docker.APIClient) -> None:
    said = sh(engine, sandbox_id, "head -c 40M /dev/zero > /workspace/big; stat -c %s /workspace/big")
    assert "No space left on device" in said
    assert int(said.split()[-1]) <= 32 * 2**20


@pytest.mark.docker
async def test_a_fork_bomb_stops_at_the_limit(sandbox_id: str, engine: docker.APIClient) -> None:
    said = sh(engine, sandbox_id, "for i in $(seq 40); do sleep 30 & done; echo started")
    assert "fork" in said
    assert "started" not in said


@pytest.mark.docker
async def test_no_other_user_of_the_host_reaches_the_sockets(sandbox_id: str, tmp_path: Path) -> None:
    (connection,) = in_state(tmp_path, "*/*/connection.json")
    instance = connection.parents[1]
    assert instance.stat().st_mode & 0o077 == 0


# ---- clean-up ----------------------------------------------------------------------------------------


@pytest.mark.docker
async def test_destroying_twice_at_once_leaves_no_container_and_no_file(
    backend: DockerBackend, engine: docker.APIClient, tmp_path: Path
) -> None:
    await backend.create(f"{RUN}-twice", SPEC)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend.destroy, f"{RUN}-twice")
        tasks.start_soon(backend.destroy, f"{RUN}-twice")
    await backend.destroy(f"{RUN}-twice")
    assert container(engine, f"{RUN}-twice") is None
    assert in_state(tmp_path, "*/*/*") == []


@pytest.mark.docker
@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("library", ["anyio", "asyncio"])
async def test_a_cancelled_creation_leaves_nothing(
    backend: DockerBackend, engine: docker.APIClient, tmp_path: Path, after_s: float, library: str
) -> None:
    async def create() -> None:
        if library == "anyio":
            with anyio.fail_after(after_s):
                await backend.create(f"{RUN}-cancel", SPEC)
        else:
            async with asyncio.timeout(after_s):
                await backend.create(f"{RUN}-cancel", SPEC)

    with pytest.raises(TimeoutError):
        await create()
    assert container(engine, f"{RUN}-cancel") is None
    assert in_state(tmp_path, "*/*/*") == []


KILLED_SERVER = """
import os, sys, anyio
from pathlib import Path
from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.spec import SandboxSpec

async def main():
    backend = DockerBackend(Path(sys.argv[1]))
    await backend.prepare(SandboxSpec(), print)
    await backend.create("cntr_left", SandboxSpec())
    os.kill(os.getpid(), 9)

anyio.run(main)
"""


@pytest.mark.docker
async def test_what_a_killed_server_left_is_listed_and_what_a_living_one_has_is_not(
    backend: DockerBackend, sandbox_id: str, tmp_path: Path
) -> None:
    await anyio.run_process([sys.executable, "-c", KILLED_SERVER, str(tmp_path)], check=False)
    assert await backend.list() == ["cntr_left"]
    await backend.destroy("cntr_left")
    assert await backend.list() == []
    assert len(in_state(tmp_path, "*/lock")) == 1


@pytest.mark.docker
async def test_why_a_removed_sandbox_died_is_not_known(backend: DockerBackend) -> None:
    death = await backend.death(f"{RUN}-never", Limits())
    assert death.limit is None
    assert "No such container" in death.detail

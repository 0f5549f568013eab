"""Local kernels: they report what they guarantee, leave nothing behind, and leftovers of dead servers are found."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import venv
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.backends.process.backend import ProcessBackend
from sandbox_pool.backends.process.cleanup import MARK
from sandbox_pool.backends.process.unprivileged_user import HOST_UID, is_root
from sandbox_pool.backends.shared.kernel_process import exit_sentence
from sandbox_pool.backends.shared.seccomp import filter_program
from sandbox_pool.errors import EngineUnavailable, ImageUnavailable
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import Limits, SandboxSpec

pytestmark = pytest.mark.anyio

SPEC = SandboxSpec(preload=())
ID = f"test{os.getpid()}"
"""Unique on this machine, also among other runs of these tests."""
DEADLINE_S = 60.0

SERVER = """
import asyncio, sys
from pathlib import Path
from sandbox_pool.backends.process.unprivileged_user import HOST_UID, is_root
from sandbox_pool.backends.process.backend import ProcessBackend
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec

async def main():
    backend = ProcessBackend(Path(sys.argv[1]))
    spec = SandboxSpec(preload=())
    await backend.prepare(spec, lambda line: None)
    sandbox = await Sandbox.start(backend, sys.argv[2], spec, deadline_s=60)
    await sandbox.run("import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)")
    print("serving", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def marked(sandbox_id: str) -> list[int]:
    """The processes of this sandbox, as seen from outside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            variables = path.read_bytes().split(b"\0")
            if any(v.startswith(MARK.encode()) and v.endswith(f"-{sandbox_id}".encode()) for v in variables):
                found.append(int(path.parent.name))
    return found


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def socket_directories() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("codeact-*"))


def group_directories(sandbox_id: str) -> set[Path]:
    return set(Path("/sys/fs/cgroup").glob(f"**/codeact-*-{sandbox_id}*"))


def limits_of(sandbox_id: str) -> list[str]:
    """The first words of the files with its limits."""
    memory, pids = ("memory.limit_in_bytes", "memory.max"), ("pids.max",)
    names = (*memory, *pids, "cpu.cfs_quota_us", "cpu.max", "cpu.shares", "cpu.weight")
    files = [file for directory in group_directories(sandbox_id) for file in directory.iterdir()]
    return [file.read_text().split()[0] for file in files if file.name in names]


def wait_for_the_end_of(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        ended, _, _ = select.select([process], [], [], DEADLINE_S)
        os.close(process)
        assert ended


@contextlib.contextmanager
def without_bubblewrap(directory: Path) -> "contextlib.AbstractContextManager[None]":
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(directory))
        yield


@pytest.fixture(params=["process", "plain"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    backend = ProcessBackend(tmp_path / "state")
    with without_bubblewrap(tmp_path) if request.param == "plain" else contextlib.nullcontext():
        await backend.prepare(SPEC, lambda line: None)
    if request.param == "process" and not backend.isolation.isolated:
        pytest.skip(backend.isolation.missing[0])
    yield backend
    await backend.close()


async def test_without_namespaces_it_says_that_nothing_is_isolated(tmp_path: Path) -> None:
    backend = ProcessBackend(tmp_path / "state")
    with pytest.raises(RuntimeError):
        _ = backend.isolation
    lines: list[str] = []
    with without_bubblewrap(tmp_path):
        await backend.prepare(SPEC, lines.append)
    assert lines == ["Trying a sandbox as a plain process."]
    assert not backend.isolation.isolated
    assert "not isolated" in backend.isolation.summary
    assert "apt install bubblewrap" in backend.isolation.missing[0]
    await backend.close()


async def test_a_bubblewrap_that_does_not_work_is_told_with_its_own_words(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    backend = ProcessBackend(tmp_path / "state")
    with without_bubblewrap(tmp_path):
        await backend.prepare(SPEC, lambda line: None)
    assert not backend.isolation.isolated
    assert "No permissions to create a new namespace" in backend.isolation.missing[0]
    await backend.close()


async def test_an_interpreter_without_ipykernel_is_refused_with_the_remedy(tmp_path: Path) -> None:
    venv.create(tmp_path / "empty")
    python = str(tmp_path / "empty" / "bin" / "python")
    backend = ProcessBackend(tmp_path / "state")
    with pytest.raises(ImageUnavailable, match=f'{python} -m pip install "ipykernel>='):
        await backend.prepare(replace(SPEC, python=python), lambda line: None)
    with pytest.raises(ImageUnavailable, match="/no/such/python cannot be run"):
        await backend.prepare(replace(SPEC, python="/no/such/python"), lambda line: None)
    await backend.close()


async def test_nothing_is_left_of_a_closed_sandbox(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A place of its own: other tests' sandboxes come and go in the usual one.
    with tempfile.TemporaryDirectory() as place:
        monkeypatch.setattr(tempfile, "tempdir", place)
        await leaves_nothing(backend, tmp_path)


async def leaves_nothing(backend: Backend, tmp_path: Path) -> None:
    before = socket_directories()
    sandbox = await Sandbox.start(backend, ID, SPEC, deadline_s=DEADLINE_S)
    assert marked(ID)
    await sandbox.run(
        "import os, signal, subprocess\n"
        "open('file', 'w').write('x')\n"
        "subprocess.Popen(['sleep', '600'])\n"
        "subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "    while True: signal.pause()"
    )
    await sandbox.close()
    assert marked(ID) == []
    assert [path.name for path in (tmp_path / "state").glob("*/*")] == ["lock"]
    assert socket_directories() == before
    assert group_directories(ID) == set()


async def test_closing_the_backend_leaves_nothing(tmp_path: Path) -> None:
    backend = ProcessBackend(tmp_path / "state")
    await backend.prepare(SPEC, lambda line: None)
    await backend.close()
    await backend.close()
    assert list((tmp_path / "state").iterdir()) == []


async def test_destroying_is_idempotent_and_takes_unknown_ids(backend: Backend) -> None:
    await backend.create(ID, SPEC)
    await asyncio.gather(backend.destroy(ID), backend.destroy(ID))
    await backend.destroy(ID)
    await backend.destroy("never-created")
    assert marked(ID) == []


async def test_an_internal_network_is_refused_with_the_reason(tmp_path: Path) -> None:
    backend = ProcessBackend(tmp_path / "state")
    with pytest.raises(EngineUnavailable, match="takes Docker"):
        await backend.prepare(replace(SPEC, network="internal", allowed_hosts=("packages.example",)), lambda line: None)
    await backend.close()


async def test_an_open_network_is_the_host_s(backend: Backend) -> None:
    if not backend.isolation.isolated:
        pytest.skip("a plain process has it anyway")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = f"import socket; socket.create_connection(('127.0.0.1', {listener.getsockname()[1]})).close()"
        sandbox = await Sandbox.start(backend, ID, replace(SPEC, network="open"), deadline_s=DEADLINE_S)
        _, result = await sandbox.run(code)
        await sandbox.close()
        assert result.status == "ok", result
        sandbox = await Sandbox.start(backend, ID, SPEC, deadline_s=DEADLINE_S)
        _, result = await sandbox.run(code)
        await sandbox.close()
        assert result.status == "error"


async def test_preparing_again_changes_nothing(backend: Backend) -> None:
    isolation = backend.isolation
    await backend.prepare(SPEC, lambda line: pytest.fail(line))
    assert backend.isolation is isolation


async def test_a_long_state_directory_works(tmp_path: Path) -> None:
    backend = ProcessBackend(tmp_path / ("long" * 40))
    with without_bubblewrap(tmp_path):
        await backend.prepare(SPEC, lambda line: None)
    await backend.close()


@pytest.mark.parametrize("kind", ["process", "plain"])
async def test_what_a_killed_server_left_is_found_and_destroyed(kind: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)} if kind == "plain" else dict(os.environ)
    command = [sys.executable, "-c", SERVER, str(tmp_path / "state"), ID]
    server = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
    assert server.stdout
    while await server.stdout.readline() != b"serving\n":
        assert server.returncode is None
    backend = ProcessBackend(tmp_path / "state")
    await backend.prepare(SPEC, lambda line: None)
    assert await backend.list() == []
    pids = marked(ID)
    assert pids
    server.send_signal(signal.SIGKILL)
    await server.wait()
    assert await backend.list() == [ID]
    await backend.destroy(ID)
    for pid in pids:
        wait_for_the_end_of(pid)
    assert await backend.list() == []
    await backend.close()
    assert list((tmp_path / "state").iterdir()) == []


async def test_the_limits_are_the_group_s(backend: Backend) -> None:
    if any("control groups" in sentence for sentence in backend.isolation.missing):
        pytest.skip(str(backend.isolation.missing))
    limits = Limits(memory_mb=300, pids=77, cpus=0.5)
    await backend.create(ID, replace(SPEC, limits=limits))
    values = limits_of(ID)
    await backend.destroy(ID)
    assert sorted(values) in [sorted([str(300 * 2**20), "77", "10000", weight]) for weight in ("256", "25")]


async def test_without_groups_each_process_is_held_to_the_memory_limit_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox_pool.backends.process.backend.find", lambda: None)
    backend = ProcessBackend(tmp_path / "state")
    spec = replace(SPEC, limits=Limits(memory_mb=300))
    await backend.prepare(spec, lambda line: None)
    assert backend.isolation.missing[-1].startswith("memory_mb, cpus, pids not enforced")
    sandbox = await Sandbox.start(backend, ID, spec, deadline_s=DEADLINE_S)
    _, result = await sandbox.run("x = b'x' * 400_000_000")
    assert result.error
    assert result.error.ename == "MemoryError"
    await sandbox.close()
    await backend.close()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (0, "The kernel exited with status 0."),
        (3, "The kernel exited with status 3."),
        (-9, "The kernel was killed by SIGKILL."),
        (139, "The kernel was killed by SIGSEGV."),
        (255, "The kernel exited with status 255."),
    ],
)
def test_an_exit_is_told_in_words(code: int, sentence: str) -> None:
    assert exit_sentence(code) == sentence


# ---- who the code is, and what it may ask of Linux ---------------------------------------------------


@pytest.fixture
async def isolated(tmp_path: Path) -> AsyncIterator[ProcessBackend]:
    backend = ProcessBackend(tmp_path / "state")
    await backend.prepare(SPEC, lambda line: None)
    if not backend.isolation.isolated:
        pytest.skip(backend.isolation.missing[0])
    yield backend
    await backend.close()


@pytest.mark.skipif(not is_root(), reason="only root's code could be root")
async def test_the_code_of_a_server_that_root_runs_is_nobody_on_the_host(isolated: ProcessBackend) -> None:
    await isolated.create(ID, SPEC)
    status = status_of(max(marked(ID)))
    await isolated.destroy(ID)
    assert f"Uid:\t{HOST_UID}\t{HOST_UID}\t{HOST_UID}\t{HOST_UID}\n" in status
    assert "CapBnd:\t0000000000000000" in status


@pytest.mark.skipif(not is_root(), reason="only root's code could be root")
async def test_where_that_cannot_be_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox_pool.backends.process.bubblewrap.Nobody.find", lambda uid: None)
    backend = ProcessBackend(tmp_path / "state")
    await backend.prepare(SPEC, lambda line: None)
    assert backend.isolation.isolated
    assert "setpriv is installed" in backend.isolation.missing[-1]
    await backend.close()


async def test_without_libseccomp_it_says_that_system_calls_are_not_filtered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox_pool.backends.shared.seccomp.LIBRARY", "libnone.so")
    filter_program.cache_clear()
    backend = ProcessBackend(tmp_path / "state")
    await backend.prepare(SPEC, lambda line: None)
    assert any("apt install libseccomp2" in sentence for sentence in backend.isolation.missing)
    await backend.close()
    filter_program.cache_clear()

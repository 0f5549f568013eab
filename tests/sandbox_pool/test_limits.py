"""The names of exceeded limits, which the user and the model read."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.errors import FileLimit
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import Limits, SandboxSpec
from tests.differences import needs_promise

pytestmark = pytest.mark.anyio

SPEC = SandboxSpec(preload=())
SMALL = Limits(workspace_mb=8, workspace_inodes=300, tmp_mb=6, shm_mb=4, pids=60)

StartSandbox = Callable[..., Awaitable[Sandbox]]


@pytest.fixture(scope="module")
async def small(backend: Backend) -> AsyncIterator[Sandbox]:
    sandbox = await Sandbox.start(backend, "test-small", replace(SPEC, limits=SMALL), deadline_s=60)
    yield sandbox
    await sandbox.close()


@pytest.mark.parametrize(
    ("place", "limit", "size_mb"), [("/workspace", "workspace_mb", 8), ("/tmp", "tmp_mb", 6), ("/dev/shm", "shm_mb", 4)]
)
async def test_a_full_place_is_named_with_its_size(
    small: Sandbox, backend: Backend, place: str, limit: str, size_mb: int
) -> None:
    needs_promise(backend, limit)
    _, result = await small.run(f"with open('{place}/big', 'wb') as file:\n  while True: file.write(bytes(100_000))")
    assert (result.status, result.limit, result.kernel_alive) == ("error", limit, True)
    assert f"it holds {size_mb} MB" in result.detail
    _, result = await small.run(
        f"import os\nsize = os.path.getsize('{place}/big')\nos.unlink('{place}/big')\n"
        f"assert 0 < size <= {size_mb} * 2**20, size\nopen('{place}/again', 'wb').write(bytes(100_000))"
    )
    assert result.status == "ok", result


@pytest.mark.parametrize("place", ["/workspace", "/tmp", "/dev/shm"])
async def test_too_many_files_are_named_with_their_number(small: Sandbox, backend: Backend, place: str) -> None:
    needs_promise(backend, "workspace_inodes")
    _, result = await small.run(
        f"import os\nos.mkdir('{place}/many')\nfor number in range(1000): open(f'{place}/many/{{number}}', 'w').close()"
    )
    assert (result.status, result.limit, result.kernel_alive) == ("error", "workspace_inodes", True)
    assert "300 files and directories" in result.detail
    if place == "/workspace":
        with pytest.raises(FileLimit, match="300 files and directories") as caught:
            await small.write_file("one more", b"")
        assert caught.value.limit == "workspace_inodes"
    _, result = await small.run(f"import shutil\nshutil.rmtree('{place}/many')")
    assert result.status == "ok", result


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess\nstarted = [subprocess.Popen(['sleep', '60']) for _ in range(100)]",
        "import threading, time\nfor _ in range(100): threading.Thread(target=time.sleep, args=(5,)).start()",
    ],
    ids=["processes", "threads"],
)
async def test_too_many_processes_are_named_with_their_number(start: StartSandbox, backend: Backend, code: str) -> None:
    needs_promise(backend, "pids")
    sandbox = await start(replace(SPEC, limits=SMALL))
    _, result = await sandbox.run(code)
    assert (result.status, result.limit, result.kernel_alive) == ("error", "pids", True)
    assert "60 processes" in result.detail


async def test_a_request_for_more_memory_than_there_is_is_named(shared: Sandbox) -> None:
    _, result = await shared.run("bytearray(2**60)")
    assert (result.status, result.limit, result.kernel_alive) == ("error", "memory_mb", True)


async def test_errors_that_only_look_like_a_limit_name_none(shared: Sandbox) -> None:
    for code in ("raise BlockingIOError(11, 'try again')", "raise RuntimeError('x')", "raise OSError(2, 'no file')"):
        _, result = await shared.run(code)
        assert (result.status, result.limit, result.detail) == ("error", None, "")


async def test_the_processor_time_is_what_was_given(start: StartSandbox, backend: Backend) -> None:
    needs_promise(backend, "cpus")
    sandbox = await start(replace(SPEC, limits=Limits(cpus=0.25)))
    # Of its own processor time it gets a quarter; a machine that is busy gives less still.
    outputs, _ = await sandbox.run(
        "import time\n"
        "began, used = time.monotonic(), time.process_time()\n"
        "while time.monotonic() - began < 2: pass\n"
        "print(time.process_time() - used)"
    )
    assert float("".join(getattr(output, "text", "") for output in outputs)) < 2 * 0.25 * 1.5

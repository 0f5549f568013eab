"""Limits and isolation of the sandboxes of every backend that guarantees them. Attacks are in tests/attacks."""

from dataclasses import replace

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import Limits
from tests.differences import needs_promise
from tests.sandbox_pool.conftest import SPEC, StartSandbox, text, value

pytestmark = pytest.mark.anyio


# ---- limits ----------------------------------------------------------------------------------------


async def test_the_memory_limit_is_enforced_and_named(start: StartSandbox, backend: Backend) -> None:
    needs_promise(backend, "memory_mb")
    sandbox = await start(replace(SPEC, limits=Limits(memory_mb=256)))
    _, result = await sandbox.run("blocks = []\nwhile True: blocks.append(b'x' * 10_000_000)", timeout_s=60)
    assert (result.status, result.limit, result.kernel_alive) == ("died", "memory_mb", False)
    assert "256 MB" in result.detail


async def test_a_process_of_the_code_that_is_killed_for_memory_is_named(start: StartSandbox, backend: Backend) -> None:
    needs_promise(backend, "memory_mb")
    needs_promise(backend, "kills are seen")
    sandbox = await start(replace(SPEC, limits=Limits(memory_mb=256)))
    greedy = "blocks = bytearray()\nwhile True: blocks.extend(bytes(1 << 20))"
    outputs, result = await sandbox.run(
        f"import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', {greedy!r}]).returncode)", timeout_s=60
    )
    assert (text(outputs), result.status, result.kernel_alive) == ("-9\n", "ok", True)
    assert "was killed: the sandbox's memory (memory_mb) was used up" in text(outputs, "stderr")
    outputs, _ = await sandbox.run("print('next')")
    assert text(outputs, "stderr") == ""


async def test_a_fork_bomb_meets_the_limit_on_processes(start: StartSandbox, backend: Backend) -> None:
    needs_promise(backend, "pids")
    sandbox = await start(replace(SPEC, limits=Limits(pids=60)))
    _, result = await sandbox.run(
        "import subprocess\nchildren = [subprocess.Popen(['sleep', '60']) for _ in range(100)]"
    )
    assert result.error
    assert result.error.ename == "BlockingIOError"
    assert await value(sandbox, "'alive'") == "alive"


async def test_the_workspace_has_a_size(start: StartSandbox, backend: Backend) -> None:
    needs_promise(backend, "workspace_mb")
    sandbox = await start(replace(SPEC, limits=Limits(workspace_mb=8)))
    _, result = await sandbox.run("with open('big', 'wb') as file: file.write(b'x' * 16_000_000)")
    assert result.error
    assert "No space left on device" in result.error.evalue


# ---- isolation ---------------------------------------------------------------------------------------


@pytest.fixture
def isolated(backend: Backend, shared: Sandbox) -> Sandbox:
    needs_promise(backend, "isolation")
    return shared


async def test_mnt_data_is_the_workspace_too(isolated: Sandbox) -> None:
    wrote = "__import__('pathlib').Path('/mnt/data/by-its-other-name').write_text('x')"
    assert await value(isolated, wrote) == "1"
    assert await value(isolated, "open('by-its-other-name').read()") == "x"
    assert [file.path for file in (await isolated.list_files()).files if file.path == "by-its-other-name"]


async def test_there_is_no_network_but_loopback(isolated: Sandbox, backend: Backend) -> None:
    needs_promise(backend, "no network of its own")
    assert await value(isolated, "[name for _, name in __import__('socket').if_nameindex()]") == "['lo']"
    _, result = await isolated.run("import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)")
    assert result.error
    assert "Network is unreachable" in result.error.evalue


async def test_the_code_is_an_ordinary_user_without_capabilities(isolated: Sandbox) -> None:
    assert await value(isolated, "__import__('os').getuid() != 0") == "True"
    outputs, _ = await isolated.run("print(open('/proc/self/status').read())")
    status = dict(line.split(":\t", 1) for line in text(outputs).splitlines() if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"


async def test_the_system_is_read_only_and_the_workspace_is_writable(isolated: Sandbox) -> None:
    for path in ("/x", "/usr/x", "/etc/x", "/dev/x"):
        _, result = await isolated.run(f"open('{path}', 'w')")
        assert result.error, path
        assert result.error.ename in ("OSError", "PermissionError"), path
    assert await value(isolated, "__import__('os').getcwd()") == "/workspace"
    assert await value(isolated, "open('file.txt', 'w').write('text')") == "4"
    assert await value(isolated, "open('/tmp/file.txt', 'w').write('text')") == "4"


async def test_two_sandboxes_do_not_see_each_others_files_and_processes(isolated: Sandbox, start: StartSandbox) -> None:
    other = await start()
    await isolated.run("for place in ('/workspace', '/tmp', '/dev/shm'): open(f'{place}/mine', 'w').close()")
    seen = "[p for p in ('/workspace', '/tmp', '/dev/shm') if 'mine' in __import__('os').listdir(p)]"
    assert await value(isolated, seen) == "['/workspace', '/tmp', '/dev/shm']"
    assert await value(other, seen) == "[]"
    pids = await value(other, "[p for p in __import__('os').listdir('/proc') if p.isdigit()]")
    assert len(pids.split(",")) < 10


async def test_a_relative_path_is_in_the_workspace_and_can_be_imported_from(shared: Sandbox) -> None:
    await shared.run("open('helper_module.py', 'w').write('answer = 42')")
    assert await value(shared, "__import__('helper_module').answer") == "42"


async def test_the_environment_holds_nothing_of_the_server(
    start: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEACT_MODEL_API_KEY", "top-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "top-secret")
    sandbox = await start()
    outputs, _ = await sandbox.run(
        "import glob, os\n"
        "print(dict(os.environ))\n"
        "for path in glob.glob('/proc/[0-9]*/environ'):\n"
        "  if os.stat(path).st_uid == os.getuid() and os.getsid(int(path.split('/')[2])) == os.getsid(0):\n"
        "    print(open(path).read())"
    )
    assert "PATH" in text(outputs)
    assert "top-secret" not in text(outputs)

"""Files in and out of every backend's sandboxes: complete, bounded, and only those of the workspace."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.errors import FileError, FileLimit, FileNotFound, FileRefused, SandboxGone
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import Limits, SandboxSpec

pytestmark = pytest.mark.anyio

SPEC = SandboxSpec(preload=())
SOON_S = 30.0
PIECES = 7

StartSandbox = Callable[..., Awaitable[Sandbox]]


async def content(sandbox: Sandbox, path: str) -> bytes:
    async with sandbox.read_file(path) as file:
        return b"".join([piece async for piece in file])


async def run(sandbox: Sandbox, code: str) -> str:
    """The output of the code, which must not fail."""
    outputs, result = await sandbox.run(code)
    assert result.status == "ok", result
    return "".join(getattr(output, "text", "") for output in outputs)


async def paths(sandbox: Sandbox) -> list[str]:
    return [file.path for file in (await sandbox.list_files()).files]


# ---- what they do ------------------------------------------------------------------------------------


async def test_a_file_goes_in_and_the_code_reads_it(shared: Sandbox) -> None:
    info = await shared.write_file("in.csv", b"a,b\n1,2\n")
    assert (info.path, info.size_bytes) == ("in.csv", 8)
    assert await run(shared, "print(open('in.csv').read(), end='')") == "a,b\n1,2\n"
    await run(shared, "open('in.csv', 'a').write('3,4')")
    assert await content(shared, "in.csv") == b"a,b\n1,2\n3,4"


async def test_a_large_file_comes_in_pieces_and_whole(shared: Sandbox) -> None:
    block = os.urandom(1_000_003)

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(PIECES):
            yield block

    await shared.write_file("large", blocks())
    assert await run(shared, "import os; print(os.path.getsize('large'))") == f"{PIECES * len(block)}\n"
    async with shared.read_file("large") as file:
        assert file.info.size_bytes == PIECES * len(block)
        pieces = [piece async for piece in file]
    assert max(map(len, pieces)) <= 65_536
    assert b"".join(pieces) == block * PIECES
    await shared.delete_file("large")


async def test_an_empty_file_is_a_file(shared: Sandbox) -> None:
    await shared.write_file("empty", b"")
    assert await content(shared, "empty") == b""
    assert "empty" in await paths(shared)


async def test_a_write_makes_the_directories_above_and_replaces_what_is_there(shared: Sandbox) -> None:
    await shared.write_file("made/by/the way/x.txt", b"old and longer")
    await shared.write_file("made/by/the way/x.txt", b"new")
    assert await content(shared, "made/by/the way/x.txt") == b"new"
    assert await run(shared, "print(os.listdir('made/by/the way'))") == "['x.txt']\n"


async def test_the_list_has_every_regular_file_and_nothing_else(start: StartSandbox) -> None:
    sandbox = await start()
    await run(
        sandbox,
        "import os, socket\n"
        "os.makedirs('a/b')\n"
        "os.mkdir('empty')\n"
        "open('a/b/c.txt', 'w').write('12345')\n"
        "os.utime('a/b/c.txt', (0, 1_700_000_000))\n"
        "os.symlink('/etc/passwd', 'link')\n"
        "os.symlink('/etc', 'linked')\n"
        "os.mkfifo('fifo')\n"
        "socket.socket(socket.AF_UNIX).bind('socket')\n"
        "open(b'not \\xff unicode', 'w').close()\n"
        "open('new\\nline \\U0001f600', 'w').close()",
    )
    listed = await sandbox.list_files()
    assert [(file.path, file.size_bytes) for file in listed.files] == [("a/b/c.txt", 5), ("new\nline \U0001f600", 0)]
    assert listed.files[0].modified_at == 1_700_000_000
    assert not listed.complete  # The name that is not Unicode.
    os_error = await run(sandbox, "os.unlink(b'not \\xff unicode')")
    assert os_error == ""
    assert (await sandbox.list_files()).complete


async def test_a_deleted_file_is_gone(shared: Sandbox) -> None:
    await shared.write_file("gone/file", b"x")
    await shared.delete_file("gone/file")
    assert await run(shared, "import os; print(os.listdir('gone'))") == "[]\n"
    with pytest.raises(FileNotFound, match="'gone/file': there is no such file"):
        await shared.delete_file("gone/file")


@pytest.mark.usefixtures("impatient")
async def test_they_work_while_code_runs_that_lets_nothing_else_run(sandbox: Sandbox) -> None:
    async with sandbox.execute("print('running', flush=True)\nsum(range(10**15))") as execution:
        await anext(execution)
        async with asyncio.timeout(SOON_S):
            await sandbox.write_file("busy", b"x")
            assert await content(sandbox, "busy") == b"x"
            assert await paths(sandbox) == ["busy"]
            await sandbox.delete_file("busy")


async def test_many_at_once_do_not_disturb_each_other(shared: Sandbox) -> None:
    names = [f"many/{number}" for number in range(6)]
    await asyncio.gather(*(shared.write_file(name, name.encode() * 1000) for name in names))
    assert await asyncio.gather(*(content(shared, name) for name in names)) == [name.encode() * 1000 for name in names]


async def test_leaving_a_read_early_and_cancelling_a_write_leave_nothing(start: StartSandbox) -> None:
    sandbox = await start()
    await sandbox.write_file("file", b"x" * 5_000_000)
    async with sandbox.read_file("file") as file:
        assert await anext(file)
    never = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"first"
        never.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(sandbox.write_file("file", stuck()))
    await never.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await run(sandbox, "import os\nwhile any(name.endswith('.part') for name in os.listdir()): pass")
    async with sandbox.read_file("file") as file:
        assert file.info.size_bytes == 5_000_000


async def test_what_a_source_raises_is_raised_and_the_old_file_stays(shared: Sandbox) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"new"
        raise OSError("the client has gone")

    await shared.write_file("kept", b"old")
    with pytest.raises(OSError, match="the client has gone"):
        await shared.write_file("kept", failing())
    assert await content(shared, "kept") == b"old"


async def test_a_sandbox_that_is_gone_says_so(sandbox: Sandbox) -> None:
    await sandbox.close()
    with pytest.raises(SandboxGone, match="was closed"):
        await sandbox.list_files()
    with pytest.raises(SandboxGone, match="was closed"):
        sandbox.read_file("x")


# ---- what they refuse --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "a/..", "..", ".", "", "a//b", "a/", "./a", "a\0b", "x" * 256, "\ud800"],
)
async def test_a_path_that_is_not_below_the_workspace_is_refused(shared: Sandbox, path: str) -> None:
    with pytest.raises(FileRefused, match="is not the path of a file in the workspace"):
        async with shared.read_file(path):
            pass
    with pytest.raises(FileRefused):
        await shared.write_file(path, b"x")
    with pytest.raises(FileRefused):
        await shared.delete_file(path)


async def test_no_symbolic_link_is_followed(shared: Sandbox) -> None:
    await run(
        shared,
        "import os\n"
        "os.makedirs('links/real')\n"
        "open('links/real/file', 'w').write('mine')\n"
        "os.symlink('/etc', 'links/etc')\n"
        "os.symlink('real', 'links/inside')\n"
        "os.symlink('/etc/hostname', 'links/hostname')\n"
        "os.symlink('/proc/self/root', 'links/root')",
    )
    for path in ("links/etc/hostname", "links/inside/file", "links/root/etc/hostname"):
        with pytest.raises(FileRefused, match="a symbolic link"):
            await content(shared, path)
        with pytest.raises(FileRefused, match="a symbolic link"):
            await shared.write_file(path, b"x")
        with pytest.raises(FileRefused, match="a symbolic link"):
            await shared.delete_file(path)
    with pytest.raises(FileRefused, match="a symbolic link"):
        await content(shared, "links/hostname")
    with pytest.raises(FileRefused, match="a symbolic link"):
        await shared.write_file("links/hostname", b"x")
    await shared.delete_file("links/hostname")
    assert await run(shared, "print(os.path.exists('/etc/hostname'))") in ("True\n", "False\n")
    assert await paths(shared) == sorted(await paths(shared))
    assert [path for path in await paths(shared) if path.startswith("links")] == ["links/real/file"]


async def test_what_is_no_regular_file_is_refused_without_waiting(shared: Sandbox) -> None:
    await run(
        shared,
        "import os, socket\n"
        "os.makedirs('odd/directory')\n"
        "os.mkfifo('odd/fifo')\n"
        "os.chdir('odd'); socket.socket(socket.AF_UNIX).bind('socket'); os.chdir('..')",
    )
    async with asyncio.timeout(SOON_S):
        for name, problem in {"fifo": "not a regular", "socket": "not a regular", "directory": "a directory"}.items():
            with pytest.raises(FileRefused, match=problem):
                await content(shared, f"odd/{name}")
            with pytest.raises(FileRefused, match=problem):
                await shared.write_file(f"odd/{name}", b"x")
        with pytest.raises(FileRefused, match="a directory"):
            await shared.delete_file("odd/directory")


async def test_a_file_under_a_lease_is_refused_without_waiting(shared: Sandbox) -> None:
    lease = "import fcntl, signal\nopen('leased', 'w').close()\nkept = open('leased', 'r+')\n"
    lease += "signal.signal(signal.SIGIO, signal.SIG_IGN)\n"
    outputs, result = await shared.run(f"{lease}fcntl.fcntl(kept, fcntl.F_SETLEASE, fcntl.F_WRLCK)")
    if result.status != "ok":
        pytest.skip(f"no leases here: {outputs}")
    async with asyncio.timeout(SOON_S):
        with pytest.raises(FileRefused, match="lease"):
            await content(shared, "leased")
    await run(shared, "kept.close()")


async def test_a_link_that_is_swapped_in_meanwhile_leads_nowhere(shared: Sandbox) -> None:
    await run(
        shared,
        "import os, threading\n"
        "os.makedirs('swap/real')\n"
        "open('swap/real/hostname', 'w').write('mine')\n"
        "os.symlink('/etc', 'swap/etc')\n"
        "os.symlink('etc', 'swap/now')\n"
        "stop = False\n"
        "def swap():\n"
        "    while not stop:\n"
        "        for target in ('real', 'etc'):\n"
        "            os.rename('swap/' + target, 'swap/now2')\n"
        "            os.rename('swap/now2', 'swap/' + target)\n"
        "        os.rename('swap/real', 'swap/dir') ; os.symlink('/etc', 'swap/real')\n"
        "        os.unlink('swap/real') ; os.rename('swap/dir', 'swap/real')\n"
        "thread = threading.Thread(target=swap)\n"
        "thread.start()",
    )
    found = set()
    for _ in range(20):
        try:
            found.add(await content(shared, "swap/real/hostname"))
        except (FileRefused, FileNotFound):
            found.add(b"refused")
    await run(shared, "stop = True\nthread.join()")
    assert found <= {b"mine", b"refused"}


# ---- limits ------------------------------------------------------------------------------------------


async def test_a_file_over_the_limit_is_refused_by_its_name(start: StartSandbox) -> None:
    sandbox = await start(replace(SPEC, limits=Limits(file_mb=1)))
    with pytest.raises(FileLimit, match="larger than 1 MB") as caught:
        await sandbox.write_file("big", b"x" * (2**20 + 1))
    assert caught.value.limit == "file_mb"
    await run(sandbox, "import os\nopen('sparse', 'w').truncate(10**12) if os.statvfs('.').f_bsize else 0")
    with pytest.raises(FileLimit, match="larger than 1 MB"):
        await content(sandbox, "sparse")
    await sandbox.write_file("fits", b"x" * 2**20)
    assert len(await content(sandbox, "fits")) == 2**20
    assert await paths(sandbox) == ["fits", "sparse"]


async def test_a_full_workspace_is_named(start: StartSandbox, backend: Backend) -> None:
    if any("workspace_mb" in sentence for sentence in backend.isolation.missing):
        pytest.skip(str(backend.isolation.missing))
    sandbox = await start(replace(SPEC, limits=Limits(workspace_mb=8)))
    with pytest.raises(FileLimit, match="8 MB are full") as caught:
        await sandbox.write_file("big", b"x" * 9 * 2**20)
    assert caught.value.limit == "workspace_mb"
    assert await paths(sandbox) == []


async def test_a_huge_directory_is_listed_up_to_the_limit(start: StartSandbox) -> None:
    sandbox = await start(replace(SPEC, limits=Limits(listed_files=50)))
    await run(sandbox, "for number in range(2_000): open(str(number), 'w').close()")
    listed = await sandbox.list_files()
    assert (len(listed.files), listed.complete) == (50, False)


async def test_a_deep_tree_is_listed_down_to_a_depth(start: StartSandbox) -> None:
    sandbox = await start()
    await run(
        sandbox,
        "import os\nfor depth in range(2_000):\n    open('file', 'w').close()\n    os.mkdir('d')\n    os.chdir('d')\n",
    )
    listed = await sandbox.list_files()
    assert 30 < len(listed.files) < 40
    assert not listed.complete
    # pytest could not remove what a backend would leave of it.
    await sandbox.close()


# ---- a sandbox that lies -----------------------------------------------------------------------------


async def test_a_program_that_the_code_kills_is_an_error_and_nothing_hangs(sandbox: Sandbox, backend: Backend) -> None:
    if backend.name != "docker":
        pytest.skip("the code cannot see it")
    await run(
        sandbox,
        "import os, signal, threading\n"
        "def hunt():\n"
        "    while True:\n"
        "        for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "            try:\n"
        "                if b'files_main' in open(f'/proc/{pid}/cmdline', 'rb').read(): os.kill(int(pid), 9)\n"
        "            except OSError: pass\n"
        "threading.Thread(target=hunt, daemon=True).start()",
    )
    await run(sandbox, "open('file', 'w').truncate(300_000_000)")
    async with asyncio.timeout(SOON_S):
        with pytest.raises(FileError, match="ended the attempt"):
            await content(sandbox, "file")

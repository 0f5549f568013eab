"""What hostile code must not reach on the host: its files, processes, sockets, network and secrets."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from codeact.store import embedded_mongod
from codeact.store.database.uri import socket_uri
from sandbox_pool.backends.base import Backend
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.attacks.conftest import assert_refused, attack
from tests.differences import needs_promise

pytestmark = pytest.mark.anyio


@pytest.fixture
def token() -> str:
    return secrets.token_hex(16)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Path]:
    """The socket of a database like the server's own."""
    async with embedded_mongod(tmp_path) as uri:
        path = tmp_path / "mongodb" / "mongod.sock"
        assert uri.startswith(socket_uri(path).split("?")[0])
        yield path


@pytest.fixture
def listeners(tmp_path: Path, token: str) -> Iterator[dict[str, socket.socket]]:
    """Servers on the host: on loopback, at a path, and with an abstract name."""
    kinds = {"port": socket.AF_INET, "path": socket.AF_UNIX, "abstract": socket.AF_UNIX}
    sockets = {name: socket.socket(family) for name, family in kinds.items()}
    sockets["port"].bind(("0.0.0.0", 0))
    sockets["path"].bind(str(tmp_path / "s"))
    sockets["abstract"].bind(f"\0{token}")
    for listener in sockets.values():
        listener.listen()
        listener.setblocking(False)
    yield sockets
    for listener in sockets.values():
        with closing(listener), pytest.raises(BlockingIOError):
            listener.accept()  # nobody has called


async def test_no_socket_of_the_host_can_be_reached_neither_the_engine_s_nor_the_database_s(
    attacker: Sandbox, listeners: dict[str, socket.socket], database: Path, token: str
) -> None:
    outcomes, _ = await attack(
        attacker,
        "sockets_of_the_host",
        database=str(database),
        listener=listeners["path"].getsockname(),
        abstract=token,
    )
    assert len(outcomes) == 9
    assert_refused(outcomes, "ECONNREFUSED")


async def test_no_file_of_the_host_can_be_read_written_or_found(attacker: Sandbox, tmp_path: Path, token: str) -> None:
    canary = tmp_path / token
    canary.write_text("secret")
    outcomes, _ = await attack(attacker, "files_of_the_host", canary=str(canary))
    assert len(outcomes) == 22
    assert_refused(outcomes)
    assert canary.read_text() == "secret"


async def test_no_process_of_the_host_can_be_seen_or_signalled_and_no_secret_of_the_server_read(
    attacker: Sandbox, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEACT_MODEL_API_KEY", token)
    # The variable of our own process, and one of a process that has it from the start.
    process = await asyncio.create_subprocess_exec("sleep", "600", env={**os.environ, "SECRET": token})
    outcomes, _ = await attack(attacker, "processes_of_the_host", pids=[process.pid, os.getpid()], secret=token)
    assert process.returncode is None
    process.kill()
    await process.wait()
    assert int(outcomes.pop("processes")) < 15
    assert_refused(outcomes, "ESRCH")


async def test_there_is_no_network_no_metadata_address_and_no_port_of_the_server(
    attacker: Sandbox, listeners: dict[str, socket.socket], backend: Backend
) -> None:
    needs_promise(backend, "no network of its own")
    outcomes, _ = await attack(attacker, "network", port=listeners["port"].getsockname()[1])
    assert outcomes.pop("interfaces") == "lo"
    # Without a route there is no address but the sandbox's own: not the cloud's metadata, not the host's.
    assert outcomes.pop("routes") == "0"
    assert outcomes.pop("routes of version 6", "lo") in ("lo", "")
    assert outcomes.pop("neighbours") == "0"
    assert len(outcomes) == 6
    assert_refused(outcomes, "ECONNREFUSED", "EADDRNOTAVAIL")

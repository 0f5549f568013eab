"""Databases that refuse, break or hang: each leads to an error of ours that says what to do, in bounded time."""

import asyncio
import signal
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from types import ModuleType
from typing import Any

import bson
import bson.errors
import pymongo.errors
import pytest
from beanie import exceptions as beanie_errors
from pymongo import MongoClient

from codeact.errors import StoreError, StoreUnavailable
from codeact.store import Store
from codeact.store.database import connection
from codeact.store.database import operation as operation_module
from codeact.store.database.errors import CODES, FOREIGN, explain

pytestmark = pytest.mark.anyio

RunMongod = Callable[..., AbstractContextManager[Any]]

URI = "mongodb://user:s3cret@db.example/app"


ARGUMENTS: dict[type[Exception], tuple[object, ...]] = {
    pymongo.errors.BulkWriteError: ({},),
    pymongo.errors.ClientBulkWriteException: ({}, False),
    pymongo.errors.EncryptionError: (ValueError("the reason"),),
    pymongo.errors.EncryptedCollectionError: (ValueError("the reason"), {}),
}
"""The constructor arguments of errors that take more than a message."""


def errors_of(module: ModuleType) -> list[Exception]:
    """One error of each class that the module exports."""
    kinds = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Exception) and not name.startswith("_")
    ]
    return [kind(*ARGUMENTS.get(kind, ("the reason",))) for kind in kinds]


@pytest.mark.parametrize("module", [pymongo.errors, bson.errors, beanie_errors])
def test_every_error_of_the_database_layer_is_one_of_ours(module: ModuleType) -> None:
    errors = errors_of(module)
    assert len(errors) >= 5
    for error in errors:
        assert isinstance(error, FOREIGN), error
        assert isinstance(explain(error, URI), StoreError), error


def test_what_asking_again_can_help_is_told_from_what_it_cannot() -> None:
    lost = (pymongo.errors.ConnectionFailure, pymongo.errors.WriteConcernError)
    for error in errors_of(pymongo.errors):
        assert explain(error, URI).retryable or not isinstance(error, lost), error
    assert not explain(pymongo.errors.DuplicateKeyError("twice", 11000), URI).retryable
    assert not explain(pymongo.errors.DocumentTooLarge("too large"), URI).retryable


@pytest.mark.parametrize("code", CODES)
def test_a_server_code_says_more_than_its_class(code: int) -> None:
    error = explain(pymongo.errors.OperationFailure("the reason", code), URI)
    assert isinstance(error, StoreUnavailable)
    assert "db.example" in error.message
    assert "s3cret" not in error.message


# ---- connecting --------------------------------------------------------------------------------------


async def refusal(uri: str) -> str:
    """The reason why `uri` cannot be used."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as raised:
        async with Store.connect(uri):
            pass
    assert time.monotonic() - started < 60
    assert "s3c" not in raised.value.message
    assert raised.value.__cause__ is None, "its text could hold a secret"
    return raised.value.message


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "s3cret",
        "mongodb://",
        "postgres://user:s3cret@host/db",
        "mongodb://user:s3c/ret@host/db",
        "mongodb://user:s3c#ret@host/db",
        "mongodb://user:s3cret@host:port/db",
        "mongodb://user:s3cret@host:99999/db",
        "mongodb://user:s3cret%40/",
        "mongodb://host/?tlsCertificateKeyFilePassword=s3cret&tls=false",
        "mongodb://user:s3cret@host/?authMechanism=GSSAPI&authMechanismProperties=s3cret",
        "mongodb://user:s3cret@host/?journal=true&w=0",
        "mongodb://user:s3cret@host/?unknownOption=s3cret",
        "mongodb://user:s3cret@host/?connectTimeoutMS=s3cret",
    ],
)
async def test_a_uri_that_cannot_be_used_names_the_setting_and_no_secret(uri: str) -> None:
    message = await refusal(uri)
    assert message.startswith("CODEACT_MONGODB_URI is not usable: ")


async def test_where_nothing_listens_the_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REACH_TIMEOUT_S", 0.5)
    message = await refusal("mongodb://user:s3cret@127.0.0.1:1/app")
    assert message.startswith("No MongoDB answers at mongodb://127.0.0.1:1/app: ")
    assert "CODEACT_MONGODB_URI" in message


@asynccontextmanager
async def _answering(wire_version: int) -> AsyncIterator[str]:
    """A server that implements just enough of the protocol to report its version."""
    hello = bson.encode({"ismaster": True, "ok": 1, "minWireVersion": 0, "maxWireVersion": wire_version})

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length, request_id, _, _ = struct.unpack("<iiii", await reader.readexactly(16))
                await reader.readexactly(length - 16)
                reply = struct.pack("<ib", 0, 0) + hello  # OP_MSG with one body section
                writer.write(struct.pack("<iiii", 16 + len(reply), 0, request_id, 2013) + reply)
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"mongodb://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_server_that_is_too_old_is_named_as_such() -> None:
    async with _answering(wire_version=6) as uri:
        message = await refusal(uri)
    assert "requires at least" in message
    assert "(MongoDB 4." in message


async def test_users_that_may_not_are_told_so(mongod: RunMongod) -> None:
    with mongod() as running, MongoClient(running.uri) as client:
        for user, role in (("reader", "read"), ("writer", "readWrite")):
            client.codeact.command("createUser", user, pwd="s3cret", roles=[role], writeConcern={"w": 1, "j": True})
    with mongod("--auth") as running:
        assert "refuses us" in await refusal(running.uri)
        assert "no such user or password" in await refusal(login(running.uri, "writer:s3cr3t"))
        message = await refusal(login(running.uri, "reader:s3cret"))
        assert "readWrite" in message
        assert "not authorized" in message
        async with Store.connect(login(running.uri, "writer:s3cret")) as store:
            await store.create_conversation(owner="ann")


def login(uri: str, user: str) -> str:
    return uri.replace("mongodb://", f"mongodb://{user}@").replace("/?", "/?authSource=codeact&")


async def test_a_member_that_takes_no_writes_is_refused(mongod: RunMongod) -> None:
    with mongod("--replSet", "rs") as running:
        assert "takes no writes" in await refusal(running.uri)


# ---- in use ------------------------------------------------------------------------------------------


async def test_a_database_that_goes_away_and_comes_back_works_again(
    mongod: RunMongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation_module, "SILENCE_S", 2.0)
    monkeypatch.setattr(operation_module, "PING_S", 1.0)
    with mongod() as running:
        async with Store.connect(running.uri) as store:
            conversation = await store.create_conversation(owner="ann")
            running.signal(signal.SIGKILL)
            for call in (lambda: store.get_conversation(conversation.id, owner="ann"), store.ping):
                started = time.monotonic()
                with pytest.raises(StoreUnavailable, match="No MongoDB answers"):
                    await call()
                assert time.monotonic() - started < 60
            with mongod():
                assert await store.get_conversation(conversation.id, owner="ann") == conversation


async def test_a_database_that_hangs_is_given_up_in_time(mongod: RunMongod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation_module, "SILENCE_S", 2.0)
    monkeypatch.setattr(operation_module, "PING_S", 1.0)
    with mongod() as running:
        async with Store.connect(running.uri) as store:
            running.signal(signal.SIGSTOP)
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await store.create_conversation(owner="ann")
            assert time.monotonic() - started < 60
            running.signal(signal.SIGCONT)
            await store.create_conversation(owner="ann")

"""Connects to MongoDB and binds the document classes to the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from pymongo.uri_parser import split_options

from codeact.errors import StoreUnavailable
from codeact.store.database.errors import FOREIGN, explain
from codeact.store.database.operation import Operations
from codeact.store.database.uri import is_readable
from codeact.store.documents.documents import Documents

__all__ = ["DATABASE", "Client", "open_client", "open_documents"]

Client = AsyncMongoClient[dict[str, Any]]

DATABASE = "codeact"
"""The database's name if the URI has none."""

SETTLE_S = 0.01
"""How long to wait before closing a client that could not connect.

PyMongo gives up at the moment of its next attempt; closing it right then leaks the socket of that attempt.
"""
REACH_TIMEOUT_S = 5.0
INDEX_TIMEOUT_S = 600.0
CLOSE_S, GOODBYE_S = 8.0, 1.0


@asynccontextmanager
async def open_documents(operations: Operations) -> AsyncIterator[tuple[Client, Documents]]:
    """Connects and creates missing indexes.

    Raises `StoreUnavailable` if the database cannot be reached, is too old, or refuses our writes.
    """
    async with open_client(operations) as client:

        async def bind() -> Documents:
            # Without the driver's deadline: until it expires, the driver would repeat a command that can never succeed.
            with pymongo.timeout(None):
                return await Documents.bind(client.get_default_database(DATABASE))

        try:
            # This creates the indexes, so it fails if we may not write.
            documents = await operations.run(bind, limit_s=INDEX_TIMEOUT_S)
        except FOREIGN as error:
            await anyio.sleep(SETTLE_S)
            raise explain(error, operations.uri) from None
        yield client, documents


@asynccontextmanager
async def open_client(operations: Operations) -> AsyncIterator[Client]:
    """Connects to a database that answers, and changes nothing in it.

    Raises `StoreUnavailable` if it cannot be reached.
    """
    uri = operations.uri
    if not is_readable(uri):
        raise StoreUnavailable(
            "CODEACT_MONGODB_URI is not usable: it must read mongodb://user:password@host:port/database, and an @, "
            "/, ? or # inside of user, password or options must be percent-encoded (%40, %2F, %3F, %23)."
        )
    try:
        client = _client(uri, operations)
    except FOREIGN as error:
        raise explain(error, uri) from None
    except (TypeError, ValueError) as error:  # PyMongo refuses some ports and options with built-in exceptions.
        raise explain(ConfigurationError(str(error)), uri) from None

    async def ping() -> None:
        await client.admin.command("ping")

    try:
        try:
            await operations.run(ping, limit_s=REACH_TIMEOUT_S)
            operations.set_ping(ping)
        except FOREIGN as error:
            await anyio.sleep(SETTLE_S)
            raise explain(error, uri) from None
        yield client
    finally:
        await operations.drain()
        # The driver's deadline bounds this: before it closes, the client tells the server which sessions end, and waits
        # if the server is gone.
        with anyio.move_on_after(CLOSE_S, shield=True), pymongo.timeout(GOODBYE_S):
            await client.close()


class _AnswerListener(CommandListener):
    """Tells `Operations` each time the database has answered."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def started(self, event: CommandStartedEvent) -> None:
        """A command that starts is no sign of life."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self._operations.note_answer()

    def failed(self, event: CommandFailedEvent) -> None:
        """A failed command is no sign of life either: it may have failed because nobody answered."""


def _client(uri: str, operations: Operations) -> Client:
    if options := uri.partition("?")[2]:
        split_options(options)  # Raises for options about which the client itself only warns.
    return AsyncMongoClient(
        uri,
        appname="codeact",
        event_listeners=[_AnswerListener(operations)],
        journal=True,
        # `operation` repeats our calls itself. The driver's retries would overload a mongod that is just starting
        # again.
        retryWrites=False,
        serverSelectionTimeoutMS=int(REACH_TIMEOUT_S * 1000),
        tz_aware=True,
        uuidRepresentation="standard",
    )

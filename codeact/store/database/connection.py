"""Connects to a database, and binds the documents to it."""

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
"""Where the URI names none."""

SETTLE_S = 0.01
"""PyMongo gives up at the very moment of its next attempt, and closing it then leaks that one's socket."""
REACH_TIMEOUT_S = 5.0
INDEX_TIMEOUT_S = 600.0
CLOSE_S, GOODBYE_S = 8.0, 1.0


@asynccontextmanager
async def open_documents(operations: Operations) -> AsyncIterator[tuple[Client, Documents]]:
    """Raises `StoreUnavailable` where the database cannot be reached, or is too old, or takes no writes from us."""
    async with open_client(operations) as client:

        async def bind() -> Documents:
            # Not by the driver's own deadline, under which what can never succeed is tried again until then.
            with pymongo.timeout(None):
                return await Documents.bind(client.get_default_database(DATABASE))

        try:
            # Creates indexes, and so also finds out whether we may write.
            documents = await operations.run(bind, limit_s=INDEX_TIMEOUT_S)
        except FOREIGN as error:
            await anyio.sleep(SETTLE_S)
            raise explain(error, operations.uri) from None
        yield client, documents


@asynccontextmanager
async def open_client(operations: Operations) -> AsyncIterator[Client]:
    """A database that has answered; nothing in it is changed. Raises `StoreUnavailable` where it cannot be reached."""
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
    except (TypeError, ValueError) as error:  # Some ports and options are refused without PyMongo's own errors.
        raise explain(ConfigurationError(str(error)), uri) from None

    async def ping() -> None:
        await client.admin.command("ping")

    try:
        try:
            await operations.run(ping, limit_s=REACH_TIMEOUT_S)
            operations.ask_by(ping)
        except FOREIGN as error:
            await anyio.sleep(SETTLE_S)
            raise explain(error, uri) from None
        yield client
    finally:
        await operations.drain()
        # By the driver's own deadline, since a database that is gone is told of its ended sessions first.
        with anyio.move_on_after(CLOSE_S, shield=True), pymongo.timeout(GOODBYE_S):
            await client.close()


class _Heard(CommandListener):
    """Tells the operations of each answer."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def started(self, event: CommandStartedEvent) -> None:
        """Says nothing of the database."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self._operations.heard()

    def failed(self, event: CommandFailedEvent) -> None:
        """It may have failed for want of an answer."""


def _client(uri: str, operations: Operations) -> Client:
    if options := uri.partition("?")[2]:
        split_options(options)  # Raises for options of which the client itself would only warn.
    return AsyncMongoClient(
        uri,
        appname="codeact",
        event_listeners=[_Heard(operations)],
        journal=True,
        # Ours may all be repeated; the driver would ask a mongod that is just coming back for more than it can do.
        retryWrites=False,
        serverSelectionTimeoutMS=int(REACH_TIMEOUT_S * 1000),
        tz_aware=True,
        uuidRepresentation="standard",
    )

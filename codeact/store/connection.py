"""Opens a database: a URI enters, a client and the documents bound to its database leave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError, ExecutionTimeout
from pymongo.uri_parser import split_options

from codeact.errors import StoreUnavailable
from codeact.store.documents import Documents
from codeact.store.failures import FOREIGN, explain
from codeact.store.uri import is_readable

__all__ = ["DATABASE", "Client", "open_documents"]

Client = AsyncMongoClient[dict[str, Any]]

DATABASE = "codeact"
"""Where the URI names none."""

REACH_TIMEOUT_S = 5.0
INDEX_TIMEOUT_S = 600.0


@asynccontextmanager
async def open_documents(uri: str) -> AsyncIterator[tuple[Client, Documents]]:
    """Raises `StoreUnavailable` where the database cannot be reached, or is too old, or takes no writes from us."""
    if not is_readable(uri):
        raise StoreUnavailable(
            "CODEACT_MONGODB_URI is not usable: it must read mongodb://user:password@host:port/database, and an @, "
            "/, ? or # inside of user, password or options must be percent-encoded (%40, %2F, %3F, %23)."
        )
    try:
        client = _client(uri)
    except FOREIGN as error:
        raise explain(error, uri) from None
    except (TypeError, ValueError) as error:  # Some ports and options are refused without PyMongo's own errors.
        raise explain(ConfigurationError(str(error)), uri) from None
    try:
        try:
            with pymongo.timeout(REACH_TIMEOUT_S):
                await client.admin.command("ping")
            # Not `pymongo.timeout`, under which what can never succeed is tried again until then.
            with anyio.fail_after(INDEX_TIMEOUT_S):
                # Creates indexes, and so also finds out whether we may write.
                documents = await Documents.bind(client.get_default_database(DATABASE))
        except FOREIGN as error:
            # PyMongo gives up at the very moment of its next attempt, and closing it then leaks that one's socket.
            await anyio.sleep(0.01)
            raise explain(error, uri) from None
        except TimeoutError:
            raise explain(ExecutionTimeout(f"no indexes after {INDEX_TIMEOUT_S:.0f} s"), uri) from None
        yield client, documents
    finally:
        await client.close()


def _client(uri: str) -> Client:
    if options := uri.partition("?")[2]:
        split_options(options)  # Raises for options of which the client itself would only warn.
    return AsyncMongoClient(
        uri,
        appname="codeact",
        journal=True,
        # Ours may all be repeated; the driver would ask a mongod that is just coming back for more than it can do.
        retryWrites=False,
        serverSelectionTimeoutMS=int(REACH_TIMEOUT_S * 1000),
        tz_aware=True,
        uuidRepresentation="standard",
    )

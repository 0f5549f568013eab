"""Opens the `Store` that the settings select: the MongoDB at a URI, or the embedded one."""

import importlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from codeact.errors import StoreUnavailable
from codeact.settings import Settings
from codeact.store.database.embedded import embedded_mongod
from codeact.store.database.operation import Operations
from codeact.store.database.uri import describe
from codeact.store.store import Store
from sandbox_pool.extras import install_command, missing_extras
from sandbox_pool.supervision import Supervisor

__all__ = ["chosen", "open_store", "reach"]


@asynccontextmanager
async def open_store(settings: Settings, supervisor: Supervisor | None = None) -> AsyncIterator[Store]:
    """Opens the store at `CODEACT_MONGODB_URI`, or else the embedded one, which is started if it is not running.

    `supervisor` restarts the embedded one when it ends. Raises `StoreUnavailable`, which says what is wrong and what to
    do.
    """
    _check_installed(settings)
    if settings.mongodb_uri is not None:
        async with Store.connect(settings.mongodb_uri.get_secret_value(), lease_s=settings.lease_s) as store:
            yield store
        return
    async with AsyncExitStack() as stack:
        try:
            store = await _embedded(settings, stack, supervisor)
        except StoreUnavailable:
            # The embedded mongod may have answered while it was stopping, because another server was its last user.
            await stack.aclose()
            store = await _embedded(settings, stack, supervisor)
        yield store


def chosen(settings: Settings) -> tuple[str, str, tuple[str, ...]]:
    """Describes for the terminal which database is used, why, and how to use another one."""
    if settings.mongodb_uri is not None:
        return f"MongoDB at {describe(settings.mongodb_uri.get_secret_value())}", "CODEACT_MONGODB_URI names it", ()
    hint = "CODEACT_MONGODB_URI=mongodb://… uses a MongoDB of yours"
    return f"embedded MongoDB in {settings.data_dir}", "no CODEACT_MONGODB_URI is set", (hint,)


async def reach(settings: Settings) -> None:
    """Returns when the database has answered. It creates no indexes and changes nothing in the database.

    Starts the embedded one if it is not running. Raises `StoreUnavailable`, which says what is wrong and what to do.
    """
    _check_installed(settings)
    connection = await anyio.to_thread.run_sync(importlib.import_module, "codeact.store.database.connection")
    async with AsyncExitStack() as stack:
        if settings.mongodb_uri is not None:
            uri = settings.mongodb_uri.get_secret_value()
        else:
            uri = await stack.enter_async_context(embedded_mongod(settings.data_dir))
        operations = await stack.enter_async_context(Operations.open(uri))
        await stack.enter_async_context(connection.open_client(operations))


def _check_installed(settings: Settings) -> None:
    if missing_extras("server"):
        lacking = missing_extras("server", *(("embedded",) if settings.mongodb_uri is None else ()))
        raise StoreUnavailable(f"The database needs packages that are not installed: {install_command(*lacking)}.")


async def _embedded(settings: Settings, stack: AsyncExitStack, supervisor: Supervisor | None) -> Store:
    uri = await stack.enter_async_context(embedded_mongod(settings.data_dir, supervisor))
    return await stack.enter_async_context(Store.connect(uri, lease_s=settings.lease_s))

"""Which database: settings enter, the `Store` over the named or the embedded one leaves."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from codeact.errors import StoreUnavailable
from codeact.settings import Settings
from codeact.store.embedded import embedded_mongod
from codeact.store.store import Store

__all__ = ["open_store"]


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """The store of `CODEACT_MONGODB_URI`, else the embedded one, started where it does not run yet.

    Raises `StoreUnavailable` with cause and remedy.
    """
    if settings.mongodb_uri is not None:
        async with Store.connect(settings.mongodb_uri.get_secret_value()) as store:
            yield store
        return
    async with AsyncExitStack() as stack:
        try:
            store = await _embedded(settings, stack)
        except StoreUnavailable:
            # One that still answered may have been ending: another server's, which was the last to use it.
            await stack.aclose()
            store = await _embedded(settings, stack)
        yield store


async def _embedded(settings: Settings, stack: AsyncExitStack) -> Store:
    uri = await stack.enter_async_context(embedded_mongod(settings.data_dir))
    return await stack.enter_async_context(Store.connect(uri))

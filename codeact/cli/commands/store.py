"""`codeact store reindex`: computes the search fields of all conversations again."""

import anyio
from rich.console import Console

from codeact.settings import Settings
from codeact.store import open_store

__all__ = ["reindex"]


def reindex(settings: Settings) -> None:
    """Recomputes the fields; a server may run meanwhile. Raises `StoreUnavailable`."""

    async def run() -> None:
        async with open_store(settings) as store:
            count = await store.history.reindex(everything=True)
        Console().print(f"{count:,} conversations indexed.")

    anyio.run(run)

"""Records the queries that the driver sends to a collection, and gets their plans from MongoDB."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import AsyncMongoClient, monitoring

__all__ = ["Queries", "explained", "queries_of", "stages"]


class Queries(monitoring.CommandListener):
    """Records the queries of one collection."""

    def __init__(self, collection: str) -> None:
        self.seen: list[dict[str, Any]] = []
        self._collection = collection

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in ("find", "aggregate") and event.command[event.command_name] == self._collection:
            self.seen.append(
                {name: value for name, value in event.command.items() if name[0] not in "$l" or name == "limit"}
            )

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@contextmanager
def queries_of(collection: str) -> Iterator[Queries]:
    """Records the queries of all clients that are created inside of the context."""
    queries = Queries(collection)
    monitoring.register(queries)
    try:
        yield queries
    finally:
        monitoring._LISTENERS.command_listeners.remove(queries)


async def explained(uri: str, query: dict[str, Any]) -> dict[str, Any]:
    """Runs a query and returns its plan with execution statistics."""
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        return await client.get_default_database().command("explain", query, verbosity="executionStats")


def stages(plan: Any) -> set[str]:
    """Returns the names of all stages of a plan."""
    if isinstance(plan, list):
        return set().union(*map(stages, plan))
    if not isinstance(plan, dict):
        return set()
    own = {plan["stage"]} if "stage" in plan else set()
    return own.union(*map(stages, plan.values()))

"""Selects which idle connections to close, so that new ones find room."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator

__all__ = ["PendingConnections"]


class PendingConnections:
    """Limits how many connections may wait, per address and in total.

    A connection waits from its beginning until it has sent a complete request, and again after the answer. Beyond a
    limit, the one that has waited longest is closed: a client that sends its request at once is not affected.
    """

    def __init__(self, *, most: int, most_per_client: int) -> None:
        self._most = most
        self._most_per_client = most_per_client
        self._all: OrderedDict[Hashable, str] = OrderedDict()
        self._by_client: dict[str, OrderedDict[Hashable, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: Hashable, client: str) -> Iterator[Hashable]:
        """Notes that the connection waits from now on. Yields those to close, which no longer count."""
        self.remove(connection)
        self._all[connection] = client
        of_client = self._by_client.setdefault(client, OrderedDict())
        of_client[connection] = None
        if len(of_client) > self._most_per_client:
            oldest = next(iter(of_client))
            self.remove(oldest)
            yield oldest
        if len(self._all) > self._most:
            oldest = next(iter(self._all))
            self.remove(oldest)
            yield oldest

    def remove(self, connection: Hashable) -> None:
        """Notes that the connection no longer waits. Idempotent."""
        client = self._all.pop(connection, None)
        if client is not None:
            of_client = self._by_client[client]
            del of_client[connection]
            if not of_client:
                del self._by_client[client]

"""The other living servers of the database: their names, their addresses, and the time that all of them share."""

import time
from collections.abc import Collection

from codeact.store import Store

__all__ = ["Directory"]


class Directory:
    """Knows the servers that were alive when `beat` was called last. `url` is where they reach this one."""

    def __init__(self, url: str, *, lease_s: float) -> None:
        self.url = url
        self.name = ""
        self._lease_s = lease_s
        self._others: dict[str, str] | None = None
        self._unreachable: set[str] = set()
        self._ahead_s = 0.0

    async def beat(self, store: Store) -> None:
        """Announces this server and reads which others are alive. Raises `StoreError`."""
        began = time.time()
        now, self._others = await store.servers.living(self.url, within_s=self._lease_s)
        # The database's clock was read some time between the two.
        self._ahead_s = now.timestamp() - (began + time.time()) / 2
        self._unreachable.clear()
        self.name = store.leases.holder

    @property
    def has_others(self) -> bool:
        """Whether other servers are alive; True as long as nobody has looked."""
        return self._others is None or bool(self._others)

    async def look(self, store: Store) -> Collection[str]:
        """The names of the other servers that are alive now. Raises `StoreError`."""
        await self.beat(store)
        return list(self._others or ())

    def url_of(self, name: str) -> str | None:
        """Where this server is reached; None if it is not known to be alive."""
        return None if name in self._unreachable else (self._others or {}).get(name)

    def now(self) -> float:
        """The time of the database's clock, in Unix seconds: clocks of servers may differ."""
        return time.time() + self._ahead_s

    def lost(self, name: str) -> None:
        """Notes that nothing answers there; nothing is passed to it until `beat` is called again."""
        self._unreachable.add(name)

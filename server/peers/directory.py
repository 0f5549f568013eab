"""The other living servers of the database: their names, their addresses, and the time that all of them share."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from urllib.parse import urlsplit

from codeact.loopback import is_loopback
from codeact.store import Store
from codeact.store.database.process import has_died, is_here

__all__ = ["Directory"]


class Directory:
    """Knows the servers that were alive when `beat` was called last. `url` is where they reach this one.

    Servers that announce a loopback address are reached only from the machine, or the container, that they run in. Set
    `open_requests`, which returns the requests that are open here for each owner, once this server takes requests.
    """

    def __init__(self, url: str, *, lease_s: float) -> None:
        self.url = url
        self.name = ""
        self._lease_s = lease_s
        self._alive: frozenset[str] = frozenset()
        self._urls: dict[str, str] | None = None
        self._unreachable: set[str] = set()
        self.open_requests: Callable[[], Mapping[str, int]] = dict
        self._open_elsewhere: Counter[str] = Counter()
        self._ahead_s = 0.0
        self._one_has_gone = False

    async def beat(self, store: Store) -> bool:
        """Announces this server and reads which others are alive; returns whether one has gone. Raises `StoreError`."""
        began = time.time()
        now, others = await store.servers.living(self.url, self.open_requests(), within_s=self._lease_s)
        # The database's clock was read some time between the two.
        self._ahead_s = now.timestamp() - (began + time.time()) / 2
        before, self._alive = self._alive, frozenset(name for name in others if not has_died(name))
        urls = {name: others[name].url for name in self._alive}
        self._urls = {name: url for name, url in urls.items() if is_here(name) or not _is_local(url)}
        self._open_elsewhere = sum((Counter(others[name].open_requests) for name in self._alive), Counter())
        self._unreachable.clear()
        self.name = store.leases.holder
        has_gone, self._one_has_gone = self._one_has_gone or not before <= self._alive, False
        return has_gone

    @property
    def has_others(self) -> bool:
        """Whether other servers can be reached; True as long as nobody has looked."""
        return self._urls is None or bool(self._urls)

    @property
    def others(self) -> Collection[str]:
        """The names of the other servers that can be reached."""
        return list(self._urls or ())

    async def look(self, store: Store) -> Collection[str]:
        """The names of the other servers that are alive now. Raises `StoreError`."""
        self._one_has_gone |= await self.beat(store)
        return self._alive

    def open_elsewhere(self, owner: str) -> int:
        """How many requests of this owner were open at the other servers, when each of them announced itself last."""
        return self._open_elsewhere[owner]

    def url_of(self, name: str) -> str | None:
        """Where this server is reached; None if it is not known to be alive, or cannot be reached from here."""
        return None if name in self._unreachable else (self._urls or {}).get(name)

    def now(self) -> float:
        """The time of the database's clock, in Unix seconds: clocks of servers may differ."""
        return time.time() + self._ahead_s

    def lost(self, name: str) -> None:
        """Notes that nothing answers there; nothing is passed to it until `beat` is called again."""
        self._unreachable.add(name)


def _is_local(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname)

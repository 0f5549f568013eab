"""Holds values in memory up to a number of bytes: for the process, for each owner, and for one value."""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["BoundedMemory"]

V = TypeVar("V")


@dataclass(slots=True)
class _Held(Generic[V]):
    owner: str
    value: V
    size_bytes: int


class BoundedMemory(Generic[V]):
    """Holds a value for each key. The values that were used longest ago make room.

    An owner has a share of the memory, so that one owner's values do not drop all others.
    """

    def __init__(self, *, most_bytes: int, of_owner_bytes: int, of_value_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._of_owner_bytes = of_owner_bytes
        self._of_value_bytes = of_value_bytes
        self._held: OrderedDict[str, _Held[V]] = OrderedDict()
        self._of_owner: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def size_bytes(self) -> int:
        """How many bytes all values take."""
        return self._of_owner.total()

    def get(self, key: str) -> V | None:
        """Returns the value; None if it is not held."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held.value

    def put(self, key: str, value: V, *, size_bytes: int, owner: str) -> None:
        """Holds this value in place of the key's last one. A value that is empty or too large is not held."""
        self.take(key)
        if not 0 < size_bytes <= self._of_value_bytes:
            return
        self._held[key] = _Held(owner, value, size_bytes)
        self._of_owner[owner] += size_bytes
        if self._of_owner[owner] > self._of_owner_bytes:
            for one in [name for name, held in self._held.items() if held.owner == owner]:
                if self._of_owner[owner] <= self._of_owner_bytes:
                    break
                self.take(one)
        while self.size_bytes > self._most_bytes:
            self.take(next(iter(self._held)))

    def take(self, key: str) -> V | None:
        """Returns the value, which is not held any more; None if it was not held."""
        held = self._held.pop(key, None)
        if held is None:
            return None
        self._of_owner[held.owner] -= held.size_bytes
        if not self._of_owner[held.owner]:
            del self._of_owner[held.owner]
        return held.value

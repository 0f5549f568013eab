"""Bounds the audit entries that strangers can cause, by combining repetitions.

Pure: the caller passes the time.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from codeact.ids import new_object_id
from codeact.store import AuditEntry

__all__ = ["Tally"]

REPEATED_S = 60.0
MOST_KINDS = 200
OTHERS = "others"


@dataclass(slots=True)
class _Kind:
    """Entries that differ only in their time. `count` of them are not written yet."""

    entry: AuditEntry
    count: int
    due_at: float


class Tally:
    """Combines repeated events of one kind (owner, action, subject, status, address).

    The first event becomes an entry at once. Those that follow within a minute become one more entry with their count.
    If there are more than 200 kinds in that time, the others share one entry per action, without subject and address.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, ...], _Kind] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, entry: AuditEntry, *, now: float) -> None:
        """Adds an event. `now` is in seconds of a monotonic clock."""
        key: tuple[str, ...] = (entry.action, entry.owner, entry.subject, str(entry.status), entry.address)
        if key not in self._kinds and len(self._kinds) >= MOST_KINDS:
            entry = replace(entry, owner="", credential_id=None, subject=OTHERS, address="")
            key = (entry.action, OTHERS)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(entry, 0, now)
        kind.count += entry.times

    def due(self, *, now: float) -> Iterable[AuditEntry]:
        """The entries to write now. Forgets kinds without an event in the last minute."""
        for key, kind in list(self._kinds.items()):
            if kind.due_at > now:
                continue
            if not kind.count:
                del self._kinds[key]
                continue
            yield self._entry(kind)
            kind.due_at = now + REPEATED_S

    def rest(self) -> Iterable[AuditEntry]:
        """All entries that are not written yet. Call it at the end."""
        for kind in self._kinds.values():
            if kind.count:
                yield self._entry(kind)

    def _entry(self, kind: _Kind) -> AuditEntry:
        count, kind.count = kind.count, 0
        return replace(kind.entry, at=datetime.now(UTC), times=count, id=new_object_id())

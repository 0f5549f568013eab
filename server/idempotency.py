"""Remembers the `Idempotency-Key`s of completed requests, and their answers."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.responses import Response, StreamingResponse

from codeact.errors import InvalidRequest

__all__ = ["HEADER", "Entry", "IdempotencyKeys"]

HEADER = "Idempotency-Key"
RETENTION_S = 86_400.0
MOST_KEYS, MOST_KEYS_PER_OWNER = 20_000, 2_000
MOST_BYTES = 32_000_000
"""The limit for remembered answers. The oldest ones are dropped."""

Key = tuple[str, str, str]
"""The owner, the path and the header's value."""


@dataclass(slots=True)
class Entry:
    """One request. `response_id` is the response that it began; `answer` is its answer, if that is short."""

    body_hash: bytes
    at: float
    is_done: bool = False
    response_id: str | None = None
    answer: tuple[int, bytes, str | None] | None = None


class IdempotencyKeys:
    """The keys that this server process has seen in the last 24 hours.

    Their number is limited; the oldest are dropped.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._of_owner: dict[str, int] = {}
        self._bytes = 0

    def find(self, key: Key, body_hash: bytes) -> Entry | None:
        """The entry of an earlier request with this key. Raises `InvalidRequest` if that had another body."""
        while self._entries and next(iter(self._entries.values())).at < time.monotonic() - RETENTION_S:
            self.forget(next(iter(self._entries)))
        entry = self._entries.get(key)
        if entry is not None and entry.body_hash != body_hash:
            raise InvalidRequest(
                f"This '{HEADER}' came with another request before; use a new key for a new request.",
                param=HEADER,
                code="idempotency_key_reused",
            )
        return entry

    def begin(self, key: Key, body_hash: bytes) -> Entry:
        """Remembers the key. If there are too many, drops the oldest, preferably of the same owner."""
        owner = key[0]
        if self._of_owner.get(owner, 0) >= MOST_KEYS_PER_OWNER:
            self.forget(next(known for known in self._entries if known[0] == owner))
        if len(self._entries) >= MOST_KEYS:
            self.forget(next(iter(self._entries)))
        entry = self._entries[key] = Entry(body_hash, time.monotonic())
        self._of_owner[owner] = self._of_owner.get(owner, 0) + 1
        return entry

    def end(self, key: Key, response: Response) -> None:
        """Remembers a short answer as long as its key."""
        entry = self._entries.get(key)
        if entry is None:
            return
        entry.is_done = True
        is_short = not isinstance(response, StreamingResponse) and len(response.body) <= MOST_BYTES // 32
        if entry.response_id is None and is_short:
            entry.answer = (response.status_code, bytes(response.body), response.media_type)
            self._bytes += len(response.body)
        for known in list(self._entries) if self._bytes > MOST_BYTES else ():
            if self._bytes <= MOST_BYTES:
                break
            self.forget(known)

    def forget(self, key: Key) -> None:
        """Forgets the key, so that the next request with it is executed."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._bytes -= len(entry.answer[1]) if entry.answer is not None else 0
        self._of_owner[key[0]] -= 1
        if not self._of_owner[key[0]]:
            del self._of_owner[key[0]]

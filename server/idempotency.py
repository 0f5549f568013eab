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
MOST_BYTES, MOST_BYTES_PER_OWNER = 32_000_000, 4_000_000
"""The limits for remembered answers. The oldest ones are dropped, but their requests are not executed again."""
MOST_ANSWER_BYTES = 1_000_000

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
        self._bytes_of_owner: dict[str, int] = {}
        self._bytes = 0

    def find(self, key: Key, body_hash: bytes) -> Entry | None:
        """The entry of an earlier request with this key. Raises `InvalidRequest` if that had another body."""
        while self._entries and next(iter(self._entries.values())).at < time.monotonic() - RETENTION_S:
            self.forget(*next(iter(self._entries.items())))
        entry = self._entries.get(key)
        if entry is not None and entry.body_hash != body_hash:
            raise InvalidRequest(
                f"This '{HEADER}' came with another request before; use a new key for a new request.",
                param=HEADER,
                code="idempotency_key_reused",
            )
        return entry

    def begin(self, key: Key, body_hash: bytes) -> Entry:
        """Remembers the key. If there are too many, forgets the oldest completed one, preferably of the same owner."""
        owner = key[0]
        if self._of_owner.get(owner, 0) >= MOST_KEYS_PER_OWNER:
            self._forget_oldest(owner)
        if len(self._entries) >= MOST_KEYS:
            self._forget_oldest()
        entry = self._entries[key] = Entry(body_hash, time.monotonic())
        self._of_owner[owner] = self._of_owner.get(owner, 0) + 1
        return entry

    def end(self, key: Key, entry: Entry, response: Response) -> None:
        """Remembers a short answer as long as its key."""
        entry.is_done = True
        if self._entries.get(key) is not entry or entry.response_id is not None:
            return
        if isinstance(response, StreamingResponse) or len(response.body) > MOST_ANSWER_BYTES:
            return
        owner, size = key[0], len(response.body)
        self._drop_answers(MOST_BYTES_PER_OWNER - size, owner)
        self._drop_answers(MOST_BYTES - size)
        entry.answer = (response.status_code, bytes(response.body), response.media_type)
        self._bytes += size
        self._bytes_of_owner[owner] = self._bytes_of_owner.get(owner, 0) + size

    def forget(self, key: Key, entry: Entry) -> None:
        """Forgets the key, so that the next request with it is executed."""
        if self._entries.get(key) is not entry:
            return
        del self._entries[key]
        self._drop_answer(key, entry)
        self._of_owner[key[0]] -= 1
        if not self._of_owner[key[0]]:
            del self._of_owner[key[0]]

    def _forget_oldest(self, owner: str | None = None) -> None:
        """Forgets one key, if possible one whose request is not under way: that one would be executed twice."""
        found = [(key, entry) for key, entry in self._entries.items() if owner is None or key[0] == owner]
        self.forget(*next((each for each in found if each[1].is_done), found[0]))

    def _drop_answers(self, most_bytes: int, owner: str | None = None) -> None:
        """Drops the oldest answers until those of the owner (or of all) have at most this size."""
        for key, entry in self._entries.items():
            if (self._bytes if owner is None else self._bytes_of_owner.get(owner, 0)) <= most_bytes:
                return
            if owner is None or key[0] == owner:
                self._drop_answer(key, entry)

    def _drop_answer(self, key: Key, entry: Entry) -> None:
        if entry.answer is None:
            return
        size, owner, entry.answer = len(entry.answer[1]), key[0], None
        self._bytes -= size
        self._bytes_of_owner[owner] -= size
        if not self._bytes_of_owner[owner]:
            del self._bytes_of_owner[owner]

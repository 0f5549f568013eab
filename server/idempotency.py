"""Remembers the `Idempotency-Key`s of completed requests, and their answers."""

import time
from collections import OrderedDict
from dataclasses import dataclass, field

from starlette.responses import Response, StreamingResponse

from codeact.errors import InvalidRequest
from codeact.ids import new_id

__all__ = ["HEADER", "Entry", "IdempotencyKeys", "Key", "reused", "short_body"]

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
    """One request. `response_id` is the response that it began; `answer` is its answer, if that is short.

    `wanted_id` is the id for that response, so that servers of one database do not begin it twice.
    """

    body_hash: bytes
    at: float
    is_done: bool = False
    wanted_id: str = field(default_factory=lambda: new_id("resp"))
    response_id: str | None = None
    answer: tuple[int, bytes, str | None] | None = None


def reused() -> InvalidRequest:
    """The error for a key that came with another request before."""
    return InvalidRequest(
        f"This '{HEADER}' came with another request before; use a new key for a new request.",
        param=HEADER,
        code="idempotency_key_reused",
    )


def short_body(response: Response) -> bytes | None:
    """The body of an answer that is short enough to be remembered."""
    is_short = not isinstance(response, StreamingResponse) and len(response.body) <= MOST_ANSWER_BYTES
    return bytes(response.body) if is_short else None


class IdempotencyKeys:
    """The keys that this server process has seen in the last 24 hours.

    Their number is limited; the oldest are dropped. Where servers share a database, `store.repeatable` has all keys.
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
            raise reused()
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
        if (content := short_body(response)) is None:
            return
        owner, size = key[0], len(content)
        self._drop_answers(MOST_BYTES_PER_OWNER - size, owner)
        self._drop_answers(MOST_BYTES - size)
        entry.answer = (response.status_code, content, response.media_type)
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

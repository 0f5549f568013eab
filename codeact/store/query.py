"""What the history is asked for: a `HistoryQuery` enters, conditions for MongoDB and cursors leave. Pure.

The query language is in docs/history.md.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from codeact.errors import InvalidRequest
from codeact.store.words import asked_words

__all__ = ["HistoryQuery", "Place", "Term", "ranges", "terms"]

MOST_TERMS = 20

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """None: any. Times bound the last activity, `since` inclusive and `until` not; sums are of the whole conversation.

    `query` is what the user typed. `status` is that of the latest response; a model, an exception or a rating
    has to occur somewhere in the conversation (`none`: no rating does).
    """

    query: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    since: Time | None = None
    until: Time | None = None
    model: str | None = None
    status: Literal["in_progress", "completed", "incomplete", "failed", "cancelled"] | None = None
    exception: str | None = None
    tag: str | None = None
    rating: Literal["up", "down", "none"] | None = None
    has_error: bool | None = None
    has_image: bool | None = None
    pinned: bool | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    min_cost_usd: float | None = None
    max_cost_usd: float | None = None
    min_duration_s: float | None = None
    max_duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """Something that a conversation has or not: a label, a word, or words that begin with `value` (`prefix`)."""

    field: Literal["labels", "words"]
    value: str
    prefix: bool = False
    wanted: bool = True

    @property
    def condition(self) -> dict[str, Any]:
        value: Any = {"$gte": self.value, "$lt": self.value + "\U0010ffff"} if self.prefix else {"$eq": self.value}
        # An array has to have one element within both bounds, not one for each.
        holds = {"$elemMatch": value} if self.prefix else value
        return {self.field: holds} if self.wanted else {self.field: {"$not": holds}}


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list: between which conversations the next page begins. It stays right when one is deleted."""

    updated_at: datetime
    conversation_id: str

    def __str__(self) -> str:
        encoded = msgspec.json.encode([self.updated_at, self.conversation_id])
        return base64.urlsafe_b64encode(encoded).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> "Place":
        """Raises `InvalidRequest` for what no `str` of a place is."""
        try:
            decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return cls(*msgspec.json.decode(decoded, type=tuple[datetime, str]))
        except (binascii.Error, ValueError):
            raise InvalidRequest(
                "'after' must be the id of a conversation, or the 'codeact:next' of the page before.", param="after"
            ) from None

    def beyond(self, *, newest_first: bool) -> dict[str, Any]:
        """What comes after this place. The bound beside the `$or` is what the index can use."""
        past, upto = ("$lt", "$lte") if newest_first else ("$gt", "$gte")
        return {
            "updated_at": {upto: self.updated_at},
            "$or": [
                {"updated_at": {past: self.updated_at}},
                {"updated_at": self.updated_at, "_id": {past: self.conversation_id}},
            ],
        }


def terms(query: HistoryQuery) -> list[Term]:
    """What the conversation must have and must not. Raises `InvalidRequest` for a text without any word."""
    named = {"model": query.model, "status": query.status, "exception": query.exception, "tag": query.tag}
    found = [Term("labels", f"{name}:{value}") for name, value in named.items() if value is not None]
    flags = {"error": query.has_error, "image": query.has_image, "pinned": query.pinned}
    found += [Term("labels", f"has:{name}", wanted=flag) for name, flag in flags.items() if flag is not None]
    if query.rating == "none":
        found += [Term("labels", f"rating:{rating}", wanted=False) for rating in ("up", "down")]
    elif query.rating is not None:
        found.append(Term("labels", f"rating:{query.rating}"))
    words = _words(query.query)
    if query.query.strip() and not words:
        raise InvalidRequest("'query' holds no word of two letters or more.", param="query")
    if len(words) > MOST_TERMS:
        raise InvalidRequest(f"'query' holds {len(words)} words; {MOST_TERMS} are the most.", param="query")
    return found + words


def ranges(query: HistoryQuery) -> list[dict[str, Any]]:
    """The query's ranges, as conditions that all have to hold."""
    bounds = (
        ("updated_at", "$gte", query.since),
        ("updated_at", "$lt", query.until),
        ("facets.tokens", "$gte", query.min_tokens),
        ("facets.tokens", "$lte", query.max_tokens),
        ("facets.cost_usd", "$gte", query.min_cost_usd),
        ("facets.cost_usd", "$lte", query.max_cost_usd),
        ("facets.duration_s", "$gte", query.min_duration_s),
        ("facets.duration_s", "$lte", query.max_duration_s),
    )
    return [{field: {operator: value}} for field, operator, value in bounds if value is not None]


def _words(text: str) -> list[Term]:
    found: dict[Term, None] = {}
    for given in text.split():
        wanted = re.match(r"-\w", given) is None
        words = asked_words(given)
        for word in words:
            prefix = given.endswith("*") and word == words[-1]
            found[Term("words", word, prefix=prefix, wanted=wanted)] = None
    return list(found)

"""Turns a `HistoryQuery` into conditions for MongoDB, and encodes and decodes cursors. Pure.

docs/history.md describes the query language.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from codeact.errors import InvalidRequest
from codeact.store.search.search_terms import query_words
from codeact.store.values import bounded_time

__all__ = ["Cursor", "HistoryQuery", "Term", "beginnings", "terms", "times"]

MOST_WORDS = 20

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The filters of the history; None: no filter.

    `since` (inclusive) and `until` (exclusive) bound the last activity; sums are over the whole conversation. `query`
    is the text that the user typed. `status` is that of the latest response. A model, an exception or a rating must
    occur somewhere in the conversation (`none`: no rating does).
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
    min_tokens: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    min_cost_usd: float | None = None
    max_cost_usd: float | None = None
    min_duration_s: float | None = None
    max_duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """A condition: something that a conversation must have, or must not have (`wanted` is False).

    `found` is the condition in the form that the index named `index` serves. `checked` is the same condition in a form
    that no index serves, so that MongoDB does not look up a common term when a rare one is available. `ordered`: the
    index returns its matches in the order of the list.
    """

    index: Literal["labels", "words", "tokens", "cost", "duration"]
    found: dict[str, Any]
    checked: dict[str, Any]
    ordered: bool = True
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the list, between two conversations. It stays valid when a conversation is deleted."""

    updated_at: datetime
    conversation_id: str

    def __str__(self) -> str:
        encoded = msgspec.json.encode([self.updated_at, self.conversation_id])
        return base64.urlsafe_b64encode(encoded).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> "Cursor":
        """Decodes the text of a cursor. Raises `InvalidRequest` if it is not one."""
        try:
            decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            updated_at, conversation_id = msgspec.json.decode(decoded, type=tuple[Time, str])
            return cls(bounded_time(updated_at), conversation_id)
        except (binascii.Error, ValueError):
            raise InvalidRequest(
                "'after' must be the id of a conversation, or the 'codeact:next' of the page before.", param="after"
            ) from None

    def beyond(self, *, newest_first: bool) -> dict[str, Any]:
        """The condition for what comes after this position.

        The bound outside of the `$or` is the one that the index can use.
        """
        past, upto = ("$lt", "$lte") if newest_first else ("$gt", "$gte")
        return {
            "updated_at": {upto: self.updated_at},
            "$or": [
                {"updated_at": {past: self.updated_at}},
                {"updated_at": self.updated_at, "_id": {past: self.conversation_id}},
            ],
        }


def terms(query: HistoryQuery) -> list[Term]:
    """The conditions of the query. Raises `InvalidRequest` for a text without any word."""
    named = {"model": query.model, "status": query.status, "exception": query.exception, "tag": query.tag}
    found = [_has("labels", f"{name}:{value}") for name, value in named.items() if value is not None]
    flags = {"error": query.has_error, "image": query.has_image, "pinned": query.pinned}
    found += [_has("labels", f"has:{name}", wanted=flag) for name, flag in flags.items() if flag is not None]
    if query.rating == "none":
        found += [_has("labels", f"rating:{rating}", wanted=False) for rating in ("up", "down")]
    elif query.rating is not None:
        found.append(_has("labels", f"rating:{query.rating}"))
    sums: tuple[tuple[Literal["tokens", "cost", "duration"], str, float | None, float | None], ...] = (
        ("tokens", "facets.tokens", query.min_tokens, query.max_tokens),
        ("cost", "facets.cost_usd", query.min_cost_usd, query.max_cost_usd),
        ("duration", "facets.duration_s", query.min_duration_s, query.max_duration_s),
    )
    for index, path, low, high in sums:
        if bounds := {name: value for name, value in (("$gte", low), ("$lte", high)) if value is not None}:
            found.append(Term(index, {"deleted": False, path: bounds}, {path: bounds}, ordered=False))
    return found + _words(query.query)


def times(query: HistoryQuery) -> list[dict[str, Any]]:
    """The bounds of the last activity, which every index of the history serves."""
    bounds = (("$gte", query.since), ("$lt", query.until))
    return [{"updated_at": {operator: bounded_time(value)}} for operator, value in bounds if value is not None]


def beginnings(text: str) -> list[str]:
    """The words that the query wants, whole or the beginnings of words. For showing where they stand."""
    wanted = [typed for typed in text.split() if re.match(r"-\w", typed) is None]
    return list(dict.fromkeys(word for typed in wanted for word in query_words(typed, shortest=1)))[:MOST_WORDS]


def _words(text: str) -> list[Term]:
    wanted_words: dict[tuple[str, bool, bool], None] = {}
    for typed in text.split():
        wanted = re.match(r"-\w", typed) is None
        words = query_words(typed) or (query_words(typed, shortest=1) if typed.endswith("*") else [])
        wanted_words.update({(word, typed.endswith("*") and word == words[-1], wanted): None for word in words})
    if text.strip() and not wanted_words:
        raise InvalidRequest("'query' contains no word of at least two letters.", param="query")
    if len(wanted_words) > MOST_WORDS:
        raise InvalidRequest(f"'query' holds {len(wanted_words)} words; {MOST_WORDS} are the most.", param="query")
    return [
        _begins(word, wanted=wanted) if prefix else _has("words", word, wanted=wanted)
        for word, prefix, wanted in wanted_words
    ]


def _has(field: Literal["labels", "words"], value: str, *, wanted: bool = True) -> Term:
    return Term(field, {field: value}, _checked({"$in": [{"$literal": value}, f"${field}"]}, wanted), wanted=wanted)


def _begins(value: str, *, wanted: bool) -> Term:
    """Matches a word with this prefix. `$elemMatch` makes one word meet both bounds, instead of one word each."""
    found = {"words": {"$elemMatch": {"$gte": value, "$lt": value + "\U0010ffff"}}}
    begins = {"$eq": [{"$indexOfCP": ["$$this", {"$literal": value}]}, 0]}
    one_begins = {"$anyElementTrue": [{"$map": {"input": "$words", "in": begins}}]}
    return Term("words", found, _checked(one_begins, wanted), ordered=False, wanted=wanted)


def _checked(expression: dict[str, Any], wanted: bool) -> dict[str, Any]:
    return {"$expr": expression if wanted else {"$not": [expression]}}

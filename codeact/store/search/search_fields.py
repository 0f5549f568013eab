"""Computes the fields by which the history finds a conversation without reading it: facets, labels and words.

Pure. The writer adds each response when it begins and when it ends; a rebuild adds all of them again, with the same
result.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel

from codeact.events import CodeInterpreterCall, ImageOutput, InputMessage, Item, Message, Response
from codeact.store.search.search_terms import words_of

__all__ = ["VERSION", "SearchFields", "begun", "blobs_in", "ended", "is_warm_up", "labels_of", "more_words", "title_of"]

VERSION = 2
"""Increase it when a rebuild would give other values. The next start then rebuilds older conversations."""

MOST_WORDS = 1_000
"""The limit per conversation. Every change of a conversation rewrites its index entries, at about 9 µs per word."""

MOST_NAMES = 50
MOST_BLOBS = 10_000
NAME_CHARS = 200
TITLE_CHARS, TITLE_FROM_CHARS = 80, 10_000
BLOBS = (re.compile(rb"blob:([0-9a-f]{64})"), re.compile(rb'"file_id":"([0-9a-f]{64})'))
"""Two expressions, because each can search for its literal prefix: six times as fast as one for both."""


class SearchFields(BaseModel):
    """The facets of a conversation. Sums are over all of its responses; `status` is that of its latest one, or None.

    `blobs` are the SHA-256 sums of the blobs to which its items refer.
    """

    status: str | None = None
    responses: int = 0
    models: list[str] = []
    exceptions: list[str] = []
    has_error: bool = False
    has_image: bool = False
    tokens: int = 0
    cost_usd: float = 0.0
    duration_s: float = 0.0
    blobs: list[str] = []


def title_of(messages: Sequence[InputMessage]) -> str | None:
    """The first line of the user's first text, shortened at a space; None if there is no text."""
    texts = (text for message in messages if message.role == "user" for text in _texts(message))
    line = next((line for text in texts for line in text[:TITLE_FROM_CHARS].splitlines() if line.strip()), "")
    line = " ".join(line[: 10 * TITLE_CHARS].split())
    if len(line) <= TITLE_CHARS:
        return line or None
    return line[: TITLE_CHARS - 1].rsplit(" ", 1)[0] + "…"


def begun(facets: SearchFields, words: list[str], response: Response, messages: Sequence[InputMessage]) -> list[str]:
    """Adds what is known of a response when it begins; returns the conversation's words. May be repeated."""
    facets.status = response.status
    _add(facets.models, [response.model])
    facets.has_image |= any(part.get("type") == "input_image" for message in messages for part in message.content)
    _add(facets.blobs, blobs_in(messages), most=MOST_BLOBS)
    spoken = (message for message in messages if message.role in ("user", "assistant"))
    return more_words(words, (text for message in spoken for text in _texts(message)))


def ended(facets: SearchFields, words: list[str], response: Response) -> list[str]:
    """Adds what is known of a response when it has ended; returns the conversation's words. Call it once: it sums."""
    if is_warm_up(response):
        facets.status = response.status if facets.responses else None
        return words
    calls = [item for item in response.output if isinstance(item, CodeInterpreterCall)]
    results = [call.result for call in calls if call.result is not None]
    facets.status = response.status
    facets.responses += 1
    _add(facets.exceptions, [result.error.ename for result in results if result.error is not None])
    facets.has_error |= response.error is not None
    facets.has_error |= any(result.status in ("error", "timeout", "died") for result in results)
    facets.has_image |= any(isinstance(output, ImageOutput) for call in calls for output in call.outputs or ())
    if response.usage is not None:
        facets.tokens = min(facets.tokens + response.usage.total_tokens, 2**53)
        facets.cost_usd += response.usage.cost_usd or 0.0
    facets.duration_s += response.ledger.total_s or 0.0
    _add(facets.blobs, blobs_in([response.environment, *response.output]), most=MOST_BLOBS)
    return more_words(words, (text for item in response.output for text in _searched(item)))


def is_warm_up(response: Response) -> bool:
    """Whether this only prepared a sandbox (`generate: false`): it asked no model, so that nothing was used."""
    used = response.usage.total_tokens if response.usage is not None else 0
    return response.status == "completed" and not used and not response.output


def more_words(words: list[str], texts: Iterable[str]) -> list[str]:
    """Adds the words of the texts to `words`, up to the limit of a conversation."""
    known = dict.fromkeys(words)
    if len(known) < MOST_WORDS:
        known.update(dict.fromkeys(words_of(texts, limit=MOST_WORDS)))
    return list(known)[:MOST_WORDS]


def blobs_in(items: Sequence[Any]) -> list[str]:
    """The SHA-256 sums of the blobs to which inputs or items refer, in order, each once."""
    text = msgspec.json.encode(items)
    found = sorted((match.start(), match[1]) for pattern in BLOBS for match in pattern.finditer(text))
    return list(dict.fromkeys(sha256.decode() for _, sha256 in found))


def labels_of(facets: SearchFields, *, pinned: bool, tags: Iterable[str], ratings: Iterable[str]) -> list[str]:
    """All yes-or-no filters of the history, as one list, so that one index serves them."""
    labels = [f"status:{facets.status}"] if facets.status else []
    labels += [f"model:{model}" for model in facets.models]
    labels += [f"exception:{name}" for name in facets.exceptions]
    labels += [f"tag:{tag}" for tag in tags]
    labels += [f"rating:{rating}" for rating in ratings]
    flags = {"error": facets.has_error, "image": facets.has_image, "pinned": pinned}
    return labels + [f"has:{flag}" for flag, is_set in flags.items() if is_set]


def _add(known: list[str], names: Iterable[str], *, most: int = MOST_NAMES) -> None:
    for name in names:
        name = name[:NAME_CHARS]
        if name not in known and len(known) < most:
            known.append(name)


def _texts(message: InputMessage) -> list[str]:
    return [part["text"] for part in message.content if isinstance(part.get("text"), str)]


def _searched(item: Item) -> list[str]:
    match item:
        case Message():
            return [part.text for part in item.content]
        case CodeInterpreterCall():
            error = item.result.error if item.result is not None else None
            return [item.code, *((error.ename, error.evalue) if error is not None else ())]
    return []

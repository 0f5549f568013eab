"""Marks up to where a provider may cache a prompt (`cache_control`), for providers that require such marks.

Claude reads prompts from its cache up to a mark. A mark is not part of the prompt, so moving it costs nothing. The
system message is marked, and the newest two messages that answer the model: at the older one the previous call wrote
the cache, at the newer one the next call will read it.
"""

from collections.abc import Sequence
from typing import Any

__all__ = ["takes_cache_marks", "with_cache_marks"]

PROVIDERS = frozenset({"anthropic", "bedrock", "bedrock_converse", "databricks", "openrouter", "vertex_ai"})
MARK = {"type": "ephemeral"}
NEWEST = 2


def takes_cache_marks(provider: str, model: str) -> bool:
    """Whether this is Claude at a provider that accepts marks."""
    return provider in PROVIDERS and (provider == "anthropic" or "claude" in model.casefold())


def with_cache_marks(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Marks at most three messages of a request; Anthropic accepts four marks."""
    answering = [place for place, message in enumerate(messages) if message["role"] in ("user", "tool")]
    marked = {
        *answering[-NEWEST:],
        *(place for place, message in enumerate(messages[:1]) if message["role"] == "system"),
    }
    return [_marked(message) if place in marked else message for place, message in enumerate(messages)]


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if message["role"] == "tool":
        return {**message, "cache_control": MARK}
    if isinstance(content, list) and content:
        return {**message, "content": [*content[:-1], {**content[-1], "cache_control": MARK}]}
    return {**message, "content": [{"type": "text", "text": content, "cache_control": MARK}]} if content else message

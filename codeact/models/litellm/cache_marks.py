"""Marks up to where a provider may keep a prompt in its cache (`cache_control`), for providers that need it said.

Claude's prompts are read from the cache up to a mark; a mark is no part of the prompt, so moving it costs nothing. The
system's text is marked, and the newest two messages that answer the model: the older one is what the call before wrote
into the cache, the newer one is what the next call will read.
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
    told = [place for place, message in enumerate(messages) if message["role"] in ("user", "tool")]
    marked = {*told[-NEWEST:], *(place for place, message in enumerate(messages[:1]) if message["role"] == "system")}
    return [_marked(message) if place in marked else message for place, message in enumerate(messages)]


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if message["role"] == "tool":
        return {**message, "cache_control": MARK}
    if isinstance(content, list) and content:
        return {**message, "content": [*content[:-1], {**content[-1], "cache_control": MARK}]}
    return {**message, "content": [{"type": "text", "text": content, "cache_control": MARK}]} if content else message

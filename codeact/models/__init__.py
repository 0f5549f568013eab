"""The seam to language models: chat messages enter, a stream of deltas and one usage leave.

An implementation is a `Model`: one method. Errors are the `ModelError` tree of `codeact.errors`; each
adapter maps its library's errors in one table.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

__all__ = ["ChatMessage", "Finish", "Model", "ModelEvent", "ReasoningDelta", "Sampling", "TextDelta", "Usage"]


class ChatMessage(msgspec.Struct, frozen=True):
    """One message in the Chat Completions sense. `content` is text, or a list of content parts with images."""

    role: Literal["system", "user", "assistant"]
    content: str | list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Sampling:
    """None leaves the choice to the model's server. `max_output_tokens` is for this one call."""

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    reasoning_effort: str | None = None


class TextDelta(msgspec.Struct, frozen=True):
    text: str


class ReasoningDelta(msgspec.Struct, frozen=True):
    """Thinking that the provider sends apart from the answer. Text inside `<think>` is the parser's to tell."""

    text: str


class Finish(msgspec.Struct, frozen=True):
    """Why the stream ended by itself; absent when we closed it."""

    reason: Literal["stop", "length", "content_filter"]


class Usage(msgspec.Struct, kw_only=True):
    """Tokens of one call, or a sum of calls. `cost_usd` is None when the price is unknown.

    `estimated`: we counted, since the stream was closed before the provider said.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    estimated: bool = False

    def __add__(self, other: "Usage") -> "Usage":
        costs = [usage.cost_usd for usage in (self, other) if usage.cost_usd is not None]
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cost_usd=sum(costs) if costs else None,
            estimated=self.estimated or other.estimated,
        )


ModelEvent = TextDelta | ReasoningDelta | Finish | Usage


class Model(Protocol):
    """Safe for concurrent calls."""

    name: str

    def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        """Deltas as they arrive, at most one `Finish`, at most one `Usage`. Empty deltas are never yielded.

        Consume it under `contextlib.aclosing`: closing it, or cancelling the consumer, closes the
        connection to the provider at once. Raises `ModelError`. Retries happen inside, and only
        before the first delta.
        """
        ...

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        """Usage of a call that was closed before the provider told it (`estimated` is True)."""
        ...

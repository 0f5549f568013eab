"""Reads litellm's streams: the raw body of an OpenAI-compatible server, or litellm's chunks for other providers."""

from typing import Any

from codeact.model import ModelEvent, ReasoningDelta, TextDelta, Usage
from codeact.models.openai_compatible.answer import Answer
from codeact.models.openai_compatible.errors import StreamBroken
from codeact.models.shared.chunks import Call, Called, Chunk
from codeact.models.shared.reading import Reading
from codeact.models.shared.reasoning_fields import FIELDS

__all__ = ["Body", "Chunks", "with_signatures"]

SIGNATURES = "thought_signatures"
"""litellm's name for the signatures that Gemini attaches to its texts."""


class Body:
    """The raw body of an OpenAI-compatible server, read like in the direct adapter: litellm drops
    many of its fields.
    """

    def __init__(self, response: Any) -> None:
        self.usage: Usage | None = None
        self._answer = Answer()
        self._pieces = response.aiter_bytes()

    async def next(self) -> list[ModelEvent] | None:
        """The events in the next piece; None at the end."""
        import httpx

        if self._answer.is_over:
            return None
        try:
            piece = await anext(self._pieces, None)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise StreamBroken(str(error) or "The connection broke.") from None
        return None if piece is None else self._answer.feed(piece)

    def finish(self) -> list[ModelEvent]:
        events = self._answer.finish()
        self.usage = next((event for event in events if isinstance(event, Usage)), None)
        return [event for event in events if event is not self.usage]


class Chunks:
    """litellm's chunks of another provider's stream."""

    def __init__(self, stream: Any) -> None:
        self.usage: Usage | None = None
        self._stream = stream
        self._reading = Reading()

    async def next(self) -> list[ModelEvent] | None:
        """The events in the next chunk; None at the end."""
        chunk = await anext(self._stream, None)
        if chunk is None:
            return None
        if (usage := getattr(chunk, "usage", None)) is not None:
            self.usage = _counted(usage, self._stream.chunks)
        return self._reading.read(_chunk(chunk))

    def finish(self) -> list[ModelEvent]:
        return [] if self._reading.finished else self._reading.end()


def _chunk(chunk: Any) -> Chunk:
    if not chunk.choices:
        return Chunk()
    choice = chunk.choices[0]
    delta = choice.delta
    deltas: list[TextDelta | ReasoningDelta] = []
    if isinstance(thought := getattr(delta, "reasoning_content", None), str) and thought:
        deltas.append(ReasoningDelta(thought))
    deltas += [
        TextDelta(text)
        for text in (getattr(delta, "content", None), getattr(delta, "refusal", None))
        if isinstance(text, str) and text
    ]
    calls = [
        Call(call.index, Called(call.function.name, call.function.arguments), getattr(call, "id", None))
        for call in getattr(delta, "tool_calls", None) or ()
    ]
    kept = {name: _plain(pieces) for name in FIELDS if (pieces := getattr(delta, name, None))}
    own = getattr(delta, "provider_specific_fields", None)
    if isinstance(own, dict) and isinstance(signatures := own.get(SIGNATURES), list):
        kept[SIGNATURES] = [{"signature": signature} for signature in signatures]
    return Chunk(deltas, calls, choice.finish_reason or None, kept=kept)


def with_signatures(message: dict[str, Any]) -> dict[str, Any]:
    """Moves Gemini's text signatures to where litellm expects them."""
    if not isinstance(kept := message.get(SIGNATURES), list):
        return message
    signatures = [entry["signature"] for entry in kept]
    rest = {name: value for name, value in message.items() if name != SIGNATURES}
    return {**rest, "provider_specific_fields": {SIGNATURES: signatures}}


def _plain(pieces: Any) -> list[Any]:
    """litellm returns some of them as pydantic models."""
    return [piece.model_dump() if hasattr(piece, "model_dump") else piece for piece in pieces]


def _counted(usage: Any, chunks: list[Any]) -> Usage:
    """The usage that litellm reports.

    If the provider reported none, litellm counted by itself: then it is an estimate.
    """
    cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
    reasoning = getattr(getattr(usage, "completion_tokens_details", None), "reasoning_tokens", None)
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_tokens=cached or 0,
        reasoning_tokens=reasoning or 0,
        estimated=not any(getattr(chunk, "usage", None) for chunk in chunks[-5:]),
    )

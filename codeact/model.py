"""The protocol that a language model implements: it takes chat messages, and streams deltas and one usage.

An implementation is a `Model`. Errors are the `ModelError` tree of `codeact.errors`; each
adapter maps its library's errors in one table.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

__all__ = [
    "AnswerFormat",
    "ChatMessage",
    "Finish",
    "Model",
    "ModelEvent",
    "PastCall",
    "ReasoningDelta",
    "ReasoningKept",
    "Sampling",
    "TextDelta",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
]


class PastCall(msgspec.Struct, frozen=True):
    """A call that the model made: `arguments` is JSON text, or plain text for a `custom` tool."""

    id: str
    name: str
    arguments: str
    custom: bool = False


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message in the Chat Completions sense. `content` is text, or a list of content parts with images.

    An assistant's message may hold `tool_calls`; a `tool` message answers the call `tool_call_id`. `reasoning` holds
    the fields in which this model's server wants its own reasoning back.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]]
    tool_calls: tuple[PastCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a call of the model offers. Without `parameters` (JSON Schema) it takes plain text (`custom`)."""

    name: str
    description: str
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """JSON in which a reply is to be; without a `schema` any object."""

    name: str = "answer"
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """What one call asks beside its messages. None leaves the choice to the model's server.

    `max_output_tokens` is for this one call. `stop` are texts before which the server ends the answer. `tools` are
    offered; with `tool_choice` `none` the model may see them and not call them, with `required` it has to.
    `reasoning_summary` asks a server that keeps its model's reasoning to itself for a summary of it. `answer_format`
    holds the text of the reply to a format, where the server can; one that cannot is asked without.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    reasoning_effort: str | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    reasoning_summary: Literal["auto", "concise", "detailed"] | None = None
    answer_format: AnswerFormat | None = None


class TextDelta(msgspec.Struct, frozen=True):
    text: str


class ReasoningDelta(msgspec.Struct, frozen=True):
    """Thinking that the provider sends apart from the answer. Text inside `<think>` is the parser's to tell."""

    text: str


class ReasoningKept(msgspec.Struct, frozen=True):
    """What the provider wants back with the next request, in its own fields, beside the text of the reasoning."""

    fields: dict[str, Any]


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A piece of the `index`th call of the answer, as it is written. `name` and `call_id` come with its first piece."""

    index: int
    arguments: str
    name: str = ""
    call_id: str = ""


class ToolCall(msgspec.Struct, frozen=True):
    """A whole call, once the answer is complete. Its pieces may have come as `ToolCallDelta`s of the same index."""

    name: str
    arguments: str
    call_id: str = ""
    index: int = 0


class Finish(msgspec.Struct, frozen=True):
    """Why the stream ended by itself; absent when we closed it. `error`: the server could not finish the answer."""

    reason: Literal["stop", "length", "content_filter", "error"]


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


ModelEvent = TextDelta | ReasoningDelta | ReasoningKept | ToolCallDelta | ToolCall | Finish | Usage


class Model(Protocol):
    """Safe for concurrent calls.

    An adapter that passes `Sampling.tools` on says so by an attribute `dialects`, the names of the dialects that it can
    speak; one without it is spoken to in tags.
    """

    name: str

    def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        """Asks the model; retries happen inside, and only before the first delta.

        Consume it under `contextlib.aclosing`: closing it, or cancelling the consumer, closes the connection to the
        provider at once.

        Yields:
            Deltas as they arrive, never an empty one; at most one `Finish` and one `Usage`.

        Raises:
            ModelError: The model could not be asked, or its answer broke off.
        """
        ...

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        """Usage of a call that was closed before the provider told it (`estimated` is True)."""
        ...

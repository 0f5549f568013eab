"""The protocol of a language model: it takes chat messages, and streams deltas and one usage.

An implementation is a `Model`. It raises errors of the `ModelError` tree in `codeact.errors`; each adapter maps its
library's errors in one table.
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
    "TokenLogprob",
    "TokenLogprobs",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "TopLogprob",
    "Usage",
]


class PastCall(msgspec.Struct, frozen=True):
    """A call that the model made. `arguments` is JSON text, or plain text for a `custom` tool."""

    id: str
    name: str
    arguments: str
    custom: bool = False


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """One message, like in Chat Completions. `content` is text, or a list of content parts with images.

    An assistant's message may have `tool_calls`; a `tool` message answers the call `tool_call_id`. `reasoning` contains
    the fields in which this model's server expects its own reasoning back.

    Its `__dict__` is for measures of it (`codeact.context`), so that a message in many prompts is measured once.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]]
    tool_calls: tuple[PastCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that is offered to the model. Without `parameters` (JSON Schema), it takes plain text (`custom`)."""

    name: str
    description: str
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The reply must be JSON: matching `schema`, or any object if that is None."""

    name: str = "answer"
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """The parameters of one call besides its messages. None: the model's server decides.

    `max_output_tokens` applies to this one call. The server ends the answer before any of the texts in `stop`. `tools`
    are offered; with `tool_choice` `none` the model may not call them, with `required` it must. `reasoning_summary`
    asks for a summary of the reasoning from a server that does not reveal it. `answer_format` makes the server enforce
    a format of the reply's text; an adapter whose server cannot do that ignores it. The fields from `client_stop`
    on come from the request; only an adapter that names them in its `parameters` gets them. `logprobs` asks for the log
    probability of each token, and of that many alternatives to it.
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
    client_stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    logprobs: int | None = None
    top_k: int | None = None


class TextDelta(msgspec.Struct, frozen=True):
    text: str


class TopLogprob(msgspec.Struct, frozen=True):
    """One of the likeliest tokens at a place, and its natural log probability. `bytes` is its part of the UTF-8."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(msgspec.Struct, frozen=True):
    """A token that the model wrote, its log probability, and the likeliest tokens at its place."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class TokenLogprobs(msgspec.Struct, frozen=True):
    """The next tokens of the reply. They come before their text."""

    tokens: list[TokenLogprob]


class ReasoningDelta(msgspec.Struct, frozen=True):
    """Reasoning that the provider sends separately from the answer. The parser detects text inside `<think>`."""

    text: str


class ReasoningKept(msgspec.Struct, frozen=True):
    """What the provider expects back in the next request, besides the text of the reasoning, in its own fields."""

    fields: dict[str, Any]


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A piece of call number `index` of the answer, while it is written. The first piece has `name` and `call_id`."""

    index: int
    arguments: str
    name: str = ""
    call_id: str = ""


class ToolCall(msgspec.Struct, frozen=True):
    """A complete call, when the answer is complete.

    Its pieces may have arrived before as `ToolCallDelta`s with this index.
    """

    name: str
    arguments: str
    call_id: str = ""
    index: int = 0


class Finish(msgspec.Struct, frozen=True):
    """Why the stream ended; absent if we closed it. `error`: the server could not complete the answer.

    `stopped_by` is the text of `Sampling.stop` or `client_stop` that ended it, from the few servers that say so.
    """

    reason: Literal["stop", "length", "content_filter", "error"]
    stopped_by: str | None = None


class Usage(msgspec.Struct, kw_only=True):
    """The tokens of one call, or of several. `cost_usd` is None if the price is unknown.

    `estimated`: we counted the tokens, because the stream was closed before the provider reported them.
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


ModelEvent = TextDelta | TokenLogprobs | ReasoningDelta | ReasoningKept | ToolCallDelta | ToolCall | Finish | Usage


class Model(Protocol):
    """A language model. Safe for concurrent calls.

    An adapter that passes `Sampling.tools` on has an attribute `dialects`: the names of the dialects that it supports.
    For an adapter without it, the dialect is tags.
    """

    name: str

    def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        """Asks the model. Retries happen inside, and only before the first delta.

        Consume it under `contextlib.aclosing`: closing it, or cancelling the consumer, closes the connection to the
        provider at once.

        Yields:
            Deltas as they arrive, never an empty one; at most one `Finish` and one `Usage`.

        Raises:
            ModelError: The model could not be asked, or its answer broke off.
        """
        ...

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        """The usage of a call that was closed before the provider reported it (`estimated` is True)."""
        ...

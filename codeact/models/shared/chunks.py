"""Parses chunks of a completion, or a whole one, and returns the few fields that matter here.

Servers differ in everything else, so a field that is not needed, or has an odd type, does not lose an answer. The
reference is the official `openai` client: what it reads as an answer is read here as the same answer.
"""

import json
from typing import Any

import msgspec

from codeact.model import ReasoningDelta, TextDelta, Usage
from codeact.models.shared.reasoning_fields import FIELDS
from sandbox_pool import json_size

__all__ = ["Call", "Called", "Chunk", "NoChunk", "decode"]

LENIENT_BYTES = 4_000_000
"""Python's own JSON parser needs many times the memory of its input."""
MAX_PARTS = 10_000
STOP_CHARS = 500
MOST_VALUES, DEEPEST = 50_000, 100
"""Limits for one chunk. A whole answer in one chunk has a few dozen values."""


class NoChunk(Exception):
    """The data is not a JSON object."""


class Called(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    """A part of a function call."""

    index: int | None = None
    function: Called | None = None
    id: str | None = None


class _Delta(msgspec.Struct):
    """Servers use two names for reasoning text."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Called | None = None
    reasoning_details: list[Any] | None = None
    thinking_blocks: list[Any] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    logprobs: Any = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


Delta = TextDelta | ReasoningDelta


class Chunk(msgspec.Struct):
    """What one chunk says. `error` is the server's error; `finish_reason` is in the server's own words.

    `stopped_by` is the text of `stop` that the answer met, if the server says so (vLLM does).
    `logprobs` are the log probabilities of the text's tokens, as the server sent them.
    `thought_field` is the server's name for its reasoning text; `kept` contains its other fields of reasoning.
    """

    deltas: list[Delta] = []
    calls: list[Call] = []
    finish_reason: str | None = None
    usage: Usage | None = None
    error: Any = None
    has_choice: bool = True
    thought_field: str | None = None
    kept: dict[str, list[Any]] = {}
    stopped_by: str | None = None
    logprobs: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


def decode(data: bytes) -> Chunk:
    """Parses one chunk. Raises `NoChunk`."""
    try:
        json_size.check(data, most=MOST_VALUES, depth=DEEPEST)
    except json_size.TooComplex as error:
        raise NoChunk(f"An event arrived that is not a chunk of a completion: {error}.") from None
    try:
        chunk = _decode(data)
    except (ValueError, RecursionError):  # Also for invalid UTF-8 and too deep nesting.
        chunk = _leniently(data)
    if (text := _plain_text(chunk)) is not None:
        return Chunk([TextDelta(text)])
    usage = None if chunk.usage is None else _usage(chunk.usage)
    if not chunk.choices:
        return Chunk(usage=usage, error=chunk.error or None, has_choice=False)
    choice = chunk.choices[0]
    delta = choice.delta or choice.message
    deltas: list[Delta] = []
    calls: list[Call] = []
    thought_field = None
    kept: dict[str, list[Any]] = {}
    if delta is not None:
        if thought := delta.reasoning_content or delta.reasoning:
            deltas.append(ReasoningDelta(thought))
            thought_field = "reasoning_content" if delta.reasoning_content else "reasoning"
        kept = {name: pieces for name in FIELDS if (pieces := getattr(delta, name))}
        if text := delta.content:
            deltas += [TextDelta(text)] if isinstance(text, str) else text
        if delta.refusal:
            deltas.append(TextDelta(delta.refusal))
        if delta.tool_calls:
            calls = delta.tool_calls
        if delta.function_call is not None:
            calls = [Call(0, delta.function_call)]
    # A chunk of reasoning or of a call has the tokens of that.
    is_text = any(isinstance(piece, TextDelta) for piece in deltas) or not (deltas or calls)
    return Chunk(
        deltas,
        calls,
        choice.finish_reason or None,
        usage,
        chunk.error or None,
        thought_field=thought_field,
        kept=kept,
        stopped_by=choice.stop_reason[:STOP_CHARS] if isinstance(choice.stop_reason, str) else None,
        logprobs=choice.logprobs.get("content") if is_text and isinstance(choice.logprobs, dict) else None,
    )


def _plain_text(chunk: _Chunk) -> str | None:
    """The text of a chunk that has text alone, as nearly all have; None for any other chunk."""
    if not chunk.choices or chunk.usage is not None or chunk.error is not None:
        return None
    choice = chunk.choices[0]
    delta = choice.delta
    if delta is None or choice.finish_reason is not None or choice.stop_reason is not None or choice.logprobs:
        return None
    return (
        delta.content if delta == _Delta(delta.content) and isinstance(delta.content, str) and delta.content else None
    )


def _usage(usage: _Usage) -> Usage:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_tokens=(prompt and prompt.cached_tokens) or 0,
        reasoning_tokens=(completion and completion.reasoning_tokens) or 0,
    )


def _leniently(data: bytes) -> _Chunk:
    """Parses each field separately and ignores fields with odd types. Raises `NoChunk`."""
    if len(data) > LENIENT_BYTES:
        raise NoChunk(f"An odd event of over {LENIENT_BYTES:,} bytes came.")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoChunk(f"An event arrived that is not a chunk of a completion: {error}.") from None
    if value is None:
        return _Chunk()
    if not isinstance(value, dict):
        raise NoChunk("An event arrived that is not a chunk of a completion: it is not a JSON object.")
    choices = [_choice(choice) for choice in _list(value.get("choices"))[:1] if isinstance(choice, dict)]
    usage = _dict(value.get("usage"))
    counted = _Usage(
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        _Details(cached_tokens=_count(_dict(usage.get("prompt_tokens_details")).get("cached_tokens"))),
        _Details(reasoning_tokens=_count(_dict(usage.get("completion_tokens_details")).get("reasoning_tokens"))),
    )
    return _Chunk(choices, counted if usage else None, value.get("error"))


def _choice(choice: dict[str, Any]) -> _Choice:
    delta = choice.get("delta") or choice.get("message")
    if not isinstance(delta, dict):
        return _Choice(finish_reason=_text(choice.get("finish_reason")))
    content, reasoning = delta.get("content"), delta.get("reasoning_content") or delta.get("reasoning")
    calls = [call for call in _list(delta.get("tool_calls")) if isinstance(call, dict)]
    called = _dict(delta.get("function_call"))
    delta = _Delta(
        content=_parts(content) if isinstance(content, list) else _text(content),  # type: ignore[arg-type]
        reasoning_content="".join(part.text for part in _parts(reasoning)) or None,
        refusal=_text(delta.get("refusal")),
        tool_calls=[
            Call(_count(call.get("index")), _called(call.get("function")), _text(call.get("id"))) for call in calls
        ],
        function_call=_called(called) if called else None,
        reasoning_details=_list(delta.get("reasoning_details")),
        thinking_blocks=_list(delta.get("thinking_blocks")),
    )
    return _Choice(delta, finish_reason=_text(choice.get("finish_reason")), logprobs=choice.get("logprobs"))


def _parts(content: Any) -> list[Delta]:
    """The parts of a content list: text, and the reasoning that some servers send among it."""
    if isinstance(content, str):
        return [TextDelta(content)]
    deltas: list[Delta] = []
    for part in _list(content)[:MAX_PARTS]:
        if isinstance(part, str):
            deltas.append(TextDelta(part))
        elif isinstance(part, dict) and isinstance(thinking := part.get("thinking"), str | list):
            deltas += [ReasoningDelta(piece.text) for piece in _texts(thinking)]
        elif isinstance(part, dict):
            deltas += _texts([part])
    return [piece for piece in deltas if piece.text]


def _texts(parts: Any) -> list[Delta]:
    if isinstance(parts, str):
        return [TextDelta(parts)]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts[:MAX_PARTS]]
    texts = [text.get("value") if isinstance(text, dict) else text for text in texts]
    return [TextDelta(text) for text in texts if isinstance(text, str)]


def _called(function: Any) -> Called:
    function = _dict(function)
    arguments = function.get("arguments")
    if isinstance(arguments, dict | list):
        arguments = json.dumps(arguments)
    return Called(_text(function.get("name")), _text(arguments))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    """A number of tokens, which some servers send as a float; None if it is not a plausible number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return int(value)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

"""Assembles one answer from a server's chunks and yields the model's events. All adapters use it."""

from dataclasses import dataclass, field

from codeact.model import (
    Finish,
    ModelEvent,
    ReasoningDelta,
    ReasoningKept,
    TextDelta,
    TokenLogprobs,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from codeact.models.shared.chunks import Call, Chunk
from codeact.models.shared.logprobs import MOST_ALTERNATIVES, read_tokens
from codeact.models.shared.reasoning_fields import ReasoningFields

__all__ = ["ERRORS", "Reading", "finish"]

MAX_CALLS = 20
MAX_ARGUMENTS_CHARS = 1_000_000
NAME_CHARS = 200
ID_CHARS = 20_000
"""Long, because some providers put data that they need back into call ids, such as the signature of a thought."""

_LENGTH = {"length", "max_tokens", "model_length", "max_output_tokens", "max_length", "token_limit", "limit"}
_FILTERED = {
    "blocklist",
    "content_filter",
    "content_filtered",
    "guardrail_intervened",
    "moderation",
    "prohibited_content",
    "recitation",
    "safety",
    "sensitive",
    "spii",
}
ERRORS = {
    "abort",
    "aborted",
    "cancelled",
    "canceled",
    "engine_error",
    "error",
    "failed",
    "failure",
    "insufficient_system_resource",
    "internal_error",
    "malformed_function_call",
    "network_error",
    "server_error",
    "timeout",
}
"""Finish reasons of answers that the server could not complete."""


def finish(reason: str, stopped_by: str | None = None) -> Finish:
    """Maps a server's finish reason, for which every server has its own words."""
    reason = reason.casefold()
    if reason in _LENGTH:
        return Finish("length")
    if reason in _FILTERED:
        return Finish("content_filter")
    return Finish("error") if reason in ERRORS else Finish("stop", stopped_by)


@dataclass(slots=True)
class _Call:
    name: str = ""
    call_id: str = ""
    pieces: list[str] = field(default_factory=list)


class Reading:
    """Reads one answer. `finished`: the server has said that the answer is complete.

    `usage` is the latest one it sent.
    """

    def __init__(self) -> None:
        self.finished = False
        self.usage: Usage | None = None
        self._halves = {TextDelta: "", ReasoningDelta: "", ToolCallDelta: ""}
        self._calls: dict[int, _Call] = {}
        self._arguments_chars = 0
        self._kept = ReasoningFields()

    def read(self, chunk: Chunk) -> list[ModelEvent]:
        """The events of one chunk.

        Calls arrive in pieces; each is sent once more as a whole when the answer is complete.
        """
        events: list[ModelEvent] = []
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.kept or chunk.thought_field == "reasoning":
            self._keep(chunk)
        if chunk.logprobs and (tokens := read_tokens(chunk.logprobs, MOST_ALTERNATIVES)):
            events.append(TokenLogprobs(tokens))
        for delta in chunk.deltas:
            if isinstance(delta, TextDelta):
                events += self._end_of_thought()
            if delta.text.isascii() and not self._halves[type(delta)]:
                events.append(delta)
            elif text := self._joined(type(delta), delta.text):
                events.append(type(delta)(text))
        for call in chunk.calls:
            events += [*self._end_of_thought(), *self._add(call)]
        if chunk.finish_reason is not None:
            events += self.end()
            events.append(finish(chunk.finish_reason, chunk.stopped_by))
        return events

    def end(self) -> list[ModelEvent]:
        """Call it when the stream is complete; returns the events that were held back."""
        self.finished = True
        calls, self._calls = self._calls, {}
        whole = [ToolCall(call.name, "".join(call.pieces), call.call_id, index) for index, call in calls.items()]
        return [*self._end_of_thought(), *whole]

    def _keep(self, chunk: Chunk) -> None:
        if chunk.thought_field == "reasoning":
            self._kept.name(chunk.thought_field)
        for name, pieces in chunk.kept.items():
            self._kept.add(name, pieces)

    def _end_of_thought(self) -> list[ModelEvent]:
        fields = self._kept.take()
        return [] if fields is None else [ReasoningKept(fields)]

    def _joined(self, kind: type[TextDelta | ReasoningDelta | ToolCallDelta], text: str) -> str:
        """Joins surrogate halves.

        JSON may escape a character as two halves, and a server may split them across chunks.
        """
        text = self._halves[kind] + text
        half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        self._halves[kind] = half
        return _whole(text.removesuffix(half))

    def _add(self, part: Call) -> list[ModelEvent]:
        function = part.function
        if function is None:
            return []
        at = part.index if part.index is not None else self._place(function.name)
        if at not in self._calls and len(self._calls) >= MAX_CALLS:
            return []
        call = self._calls.setdefault(at, _Call())
        call.name = call.name or _whole((function.name or "")[:NAME_CHARS])
        call.call_id = call.call_id or _whole((part.id or "")[:ID_CHARS])
        piece = ""
        if function.arguments and self._arguments_chars < MAX_ARGUMENTS_CHARS:
            self._arguments_chars += len(function.arguments)
            piece = self._joined(ToolCallDelta, function.arguments)
            call.pieces.append(piece)
        return [ToolCallDelta(at, piece, call.name, call.call_id)]

    def _place(self, name: str | None) -> int:
        """The index for a piece without one: a name begins a new call, anything else continues the last one."""
        last = max(self._calls, default=-1)
        return last + 1 if name or last < 0 else last


def _whole(text: str) -> str:
    """The text with a replacement character for each half of a character that stands alone."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

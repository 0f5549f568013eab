"""Parses the stream of one response of the Responses API, or a whole response, into the model's events. No I/O.

Fields that are not needed are ignored. A server may omit deltas and send whole items, or only the whole response at the
end. Items of a kind that has not appeared before are then taken from there.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from codeact.model import ModelEvent, ReasoningDelta, ReasoningKept, TextDelta, Usage
from codeact.models.openai_compatible.errors import Refused, StreamBroken
from codeact.models.responses_api.fields import (
    ID_CHARS,
    decoded,
    id_of,
    refused,
    refused_by,
    text_of,
    thought_of,
    tokens_of,
    usage_of,
)
from codeact.models.responses_api.request import may_go_back
from codeact.models.shared.chat_messages import ITEMS
from codeact.models.shared.chunks import Call, Called, Chunk
from codeact.models.shared.reading import Reading

__all__ = ["ResponsesReading"]

MAX_ITEMS = 200
MAX_REASONING_CHARS = 1_000_000
"""The limit for the reasoning of one reply that is sent back."""
MAX_ERROR_BYTES = 100_000
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""The types of calls, and the field that holds their arguments."""


@dataclass(slots=True)
class _Item:
    """One item of the output. `sent` counts the characters that were passed on; `part` is the latest of its summary."""

    kind: str
    call: int = -1
    sent: int = 0
    done: bool = False
    part: int | None = None


class ResponsesReading:
    """See `BodyReading`. Reasoning items are passed on as `ReasoningKept` as soon as it is known what follows them.

    `ReasoningKept.fields[ITEMS]` contains entries with: `item`, as the server sent it; `at`, which is 0 before the
    reply's text, or else the number of the call that follows it; and the `phase` of that text, if the server has
    phases.
    """

    def __init__(self) -> None:
        self._reading = Reading()
        self._items: dict[tuple[int | str, str], _Item] = {}
        self._thoughts: list[dict[str, Any]] = []
        self._reasoning_chars = 0
        self._calls = 0
        self.response_id: str | None = None

    @property
    def finished(self) -> bool:
        return self._reading.finished

    @property
    def usage(self) -> Usage | None:
        return self._reading.usage

    def event(self, data: bytes) -> list[ModelEvent]:
        """See `BodyReading.event`."""
        try:
            event = decoded(data)
        except (ValueError, RecursionError) as error:
            raise StreamBroken(f"An event arrived that is not an event of a response: {error}.") from None
        if event is None:
            return []
        if not isinstance(event, dict):
            raise StreamBroken("An event arrived that is not an event of a response: it is not a JSON object.")
        return self._take(event)

    def whole(self, body: bytes) -> list[ModelEvent]:
        """See `BodyReading.whole`."""
        try:
            answer = decoded(body)
        except (ValueError, RecursionError):
            raise Refused(200, body[:MAX_ERROR_BYTES]) from None
        if not isinstance(answer, dict) or not isinstance(answer.get("output"), list):
            raise Refused(200, body[:MAX_ERROR_BYTES])
        return self._end_of_response(answer)

    def end(self) -> list[ModelEvent]:
        """See `BodyReading.end`."""
        self._thoughts = []  # Nothing follows them.
        return self._reading.end()

    def _take(self, event: dict[str, Any]) -> list[ModelEvent]:
        kind = event.get("type")
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                return self._text(self._item(event, "message"), event.get("delta"), event.get("logprobs"))
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                item = self._item(event, "function_call" if "function" in kind else "custom_tool_call")
                return self._arguments(item, event.get("delta"))
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                return self._thought(event)
            case "response.output_item.added":
                return self._added(event)
            case "response.created" | "response.queued" | "response.in_progress":
                self.response_id = id_of(event)
            case "response.output_item.done":
                return self._done(event)
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled":
                response = event.get("response")
                if not isinstance(response, dict):
                    response = {}
                self.response_id = id_of(event)
                return self._end_of_response({"status": kind.removeprefix("response."), **response})
            case "error":
                raise refused_by(event)
        return []

    # ---- items -----------------------------------------------------------------------------------------

    def _item(self, event: dict[str, Any], kind: str) -> _Item:
        """Finds the item of an event; creates it if the server has not announced it."""
        place = (_place(event), kind)
        item = self._items.get(place)
        if item is None and isinstance(place[0], str) and "item" not in event:
            item = next((last for last in reversed(self._items.values()) if last.kind == kind and not last.done), None)
        if item is None:
            if len(self._items) >= MAX_ITEMS:
                raise StreamBroken(f"A response of over {MAX_ITEMS} items came.")
            item = self._items[place] = _Item(kind)
        return item

    def _added(self, event: dict[str, Any]) -> list[ModelEvent]:
        announced = event.get("item")
        if not isinstance(announced, dict):
            return []
        item = self._item(event, _kind(announced))
        if item.kind in _CALLS:
            return self._begin_call(item, announced)
        if item.kind == "message":
            return self._end_of_thought(0, announced.get("phase"))
        return []

    def _done(self, event: dict[str, Any]) -> list[ModelEvent]:
        """Reads a whole item; returns the events for the part that did not arrive as deltas."""
        given = event.get("item")
        if not isinstance(given, dict):
            return []
        kind = _kind(given)
        item = self._item(event, kind)
        if item.done:
            return []
        item.done = True
        if kind == "reasoning":
            return self._reasoned(item, given)
        if kind == "message":
            events = self._end_of_thought(0, given.get("phase"))
            tokens = None if item.sent else tokens_of(given)
            return [*events, *self._text(item, text_of(given)[item.sent :], tokens)]
        if kind in _CALLS:
            events = self._begin_call(item, given)
            whole = given.get(_CALLS[kind])
            return [*events, *self._arguments(item, whole[item.sent :] if isinstance(whole, str) else "")]
        return []

    def _begin_call(self, item: _Item, given: dict[str, Any]) -> list[ModelEvent]:
        if item.call >= 0:
            return []
        item.call, self._calls = self._calls, self._calls + 1
        name, call_id = given.get("name"), given.get("call_id") or given.get("id")
        called = Called(name if isinstance(name, str) else "", "")
        call = Call(item.call, called, call_id if isinstance(call_id, str) else "")
        return [*self._end_of_thought(self._calls), *self._reading.read(Chunk(calls=[call]))]

    def _arguments(self, item: _Item, delta: Any) -> list[ModelEvent]:
        if not isinstance(delta, str) or not delta:
            return []
        events = self._begin_call(item, {})
        item.sent += len(delta)
        return [*events, *self._reading.read(Chunk(calls=[Call(item.call, Called(None, delta))]))]

    def _text(self, item: _Item, delta: Any, logprobs: Any = None) -> list[ModelEvent]:
        if not isinstance(delta, str) or not delta:
            return []
        events = self._end_of_thought(0)
        item.sent += len(delta)
        return [*events, *self._reading.read(Chunk([TextDelta(delta)], logprobs=logprobs))]

    # ---- reasoning -------------------------------------------------------------------------------------

    def _thought(self, event: dict[str, Any]) -> list[ModelEvent]:
        """A delta of the reasoning text, or of its summary, whose parts are separated as paragraphs."""
        item = self._item(event, "reasoning")
        delta, part = event.get("delta"), event.get("summary_index")
        if not isinstance(delta, str) or not delta:
            return []
        if isinstance(part, int) and part != item.part:
            if item.part is not None:
                delta = f"\n\n{delta}"
            item.part = part
        item.sent += len(delta)
        return self._reading.read(Chunk([ReasoningDelta(delta)]))

    def _reasoned(self, item: _Item, given: dict[str, Any]) -> list[ModelEvent]:
        """A reasoning item is complete. It is held back until it is known what follows."""
        events: list[ModelEvent] = []
        if not item.sent and (text := thought_of(given)):
            events = self._reading.read(Chunk([ReasoningDelta(text)]))
        opaque = {name: value for name, value in given.items() if name != "status" and value is not None}
        if may_go_back(opaque):
            try:
                self._reasoning_chars += len(msgspec.json.encode(opaque))
            except (ValueError, OverflowError):  # No request can hold it, for example half a character.
                return events
            if self._reasoning_chars <= MAX_REASONING_CHARS:
                self._thoughts.append(opaque)
        return events

    def _end_of_thought(self, at: int, phase: Any = None) -> list[ModelEvent]:
        """Passes on the reasoning items that were held back: what follows them has come."""
        thoughts, self._thoughts = self._thoughts, []
        if not thoughts:
            return []
        more = {"phase": phase[:50]} if isinstance(phase, str) else {}
        return [ReasoningKept({ITEMS: [{"at": at, "item": item, **more} for item in thoughts]})]

    # ---- the end ---------------------------------------------------------------------------------------

    def _end_of_response(self, response: dict[str, Any]) -> list[ModelEvent]:
        status, error = response.get("status"), response.get("error")
        self._reading.usage = usage_of(response.get("usage")) or self._reading.usage
        if status == "failed" or (isinstance(error, dict) and error):
            raise refused(error if isinstance(error, dict) else {"message": "The response failed."})
        events: list[ModelEvent] = []
        output = response.get("output")
        came = {item.kind for item in self._items.values() if item.sent or item.done}
        for index, item in enumerate(output[:MAX_ITEMS] if isinstance(output, list) else ()):
            if isinstance(item, dict) and _kind(item) not in came:
                events += self._done({"output_index": index, "item": item})
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        if status == "incomplete":
            finish = reason if isinstance(reason, str) else "max_output_tokens"
        else:
            finish = "cancelled" if status == "cancelled" else "stop"
        return [*events, *self._reading.read(Chunk(finish_reason=finish))]


def _kind(item: dict[str, Any]) -> str:
    """The type of an item; empty if it has none."""
    kind = item.get("type")
    return kind[:ID_CHARS] if isinstance(kind, str) else ""


def _place(event: dict[str, Any]) -> int | str:
    """The key of an event's item: its number, or else its id."""
    index, item = event.get("output_index"), event.get("item")
    if isinstance(index, int):
        return index
    name = event.get("item_id") or (item.get("id") or item.get("call_id") if isinstance(item, dict) else None)
    return name[:ID_CHARS] if isinstance(name, str) else -1

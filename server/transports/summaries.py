"""Shows reasoning as its summary to clients whose request has `reasoning.summary`, as the Responses API does.

Stored items and events hold the text in `content`. Each event about it becomes one event about the summary, so numbers
and positions stay as they are. Clients that ask for our own events get the text in `content`.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from codeact import events as e

__all__ = ["item_with_summary", "response_with_summaries", "wants_summary", "with_summaries"]

SUMMARY_TEXT = "summary_text"
EVENTS = {
    "response.reasoning_text.delta": "response.reasoning_summary_text.delta",
    "response.reasoning_text.done": "response.reasoning_summary_text.done",
    "response.content_part.added": "response.reasoning_summary_part.added",
    "response.content_part.done": "response.reasoning_summary_part.done",
}
"""The events about a text of reasoning, and what they are called for a summary. Messages have content parts, too."""


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _Item(msgspec.Struct):
    type: str
    content: list[_Part] = []


class _Type(msgspec.Struct):
    type: str


_type = msgspec.json.Decoder(_Type)
_part = msgspec.json.Decoder(_Part)
_reasoning = msgspec.json.Decoder(_Item)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])


def wants_summary(reasoning: e.ReasoningConfig | None) -> bool:
    """Whether the request with this `reasoning` asks for a summary."""
    return reasoning is not None and reasoning.summary is not None


def response_with_summaries(response: e.Response) -> e.Response:
    """A copy of the response whose reasoning is in the summaries of its items."""
    return msgspec.structs.replace(response, output=[item_with_summary(item) for item in response.output])


def item_with_summary(item: e.Item) -> e.Item:
    """A copy of an item of reasoning with its text as the summary. Other items are returned as they are."""
    if not isinstance(item, e.Reasoning):
        return item
    return msgspec.structs.replace(item, summary=[_summary(part.text) for part in item.content], content=[])


async def with_summaries(stream: AsyncGenerator[list[str], None]) -> AsyncGenerator[list[str], None]:
    """The events with reasoning in summaries. Passes on an empty list of frames. Closing the result closes `stream`."""
    async with aclosing(stream):
        async for frames in stream:
            yield [_frame(frame) for frame in frames]


def _frame(frame: str) -> str:
    event = _fields.decode(frame)
    kind = msgspec.json.decode(event["type"], type=str)
    if kind in EVENTS:
        if "part" in event:
            part = _part.decode(event["part"])
            if part.type != "reasoning_text":
                return frame
            event["part"] = _raw(_summary(part.text))
        event["type"] = _raw(EVENTS[kind])
        event = {"summary_index" if name == "content_index" else name: value for name, value in event.items()}
    elif "response" in event:
        response = _fields.decode(event["response"])
        if "output" not in response:
            return frame
        response["output"] = _raw([_item(item) for item in _items.decode(response["output"])])
        event["response"] = _raw(response)
    elif "item" in event:
        event["item"] = _item(event["item"])
    else:
        return frame
    return msgspec.json.encode(event).decode()


def _item(item: msgspec.Raw) -> msgspec.Raw:
    """The item with its text as the summary, if it is reasoning. Others are not decoded: they may be large."""
    if _type.decode(item).type != "reasoning":
        return item
    summary = [_summary(part.text) for part in _reasoning.decode(item).content]
    return _raw(_fields.decode(item) | {"summary": _raw(summary), "content": _raw([])})


def _summary(text: str) -> dict[str, Any]:
    return {"type": SUMMARY_TEXT, "text": text}


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))

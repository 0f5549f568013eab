"""Leaves items of code out of streams and responses, for clients that know only the five types of Open Responses.

Open Responses has messages, function calls, their outputs, reasoning and compactions; a client that parses answers by
its schema fails at `code_interpreter_call`. `codeact.server.requests.code_items` says which requests get these items.
Requests for a summary of the reasoning get it here, too: see `summaries`.
"""

from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from typing import Any

import msgspec

from codeact import events as e
from codeact.server.requests.code_items import CodeItems, gets_code
from codeact.server.transports.standard_events import gets_ours, of_the_standard
from codeact.server.transports.summaries import item_with_summary, wants_summary, with_summaries

__all__ = ["fitting", "shown_items", "without_code", "without_code_items"]

CODE = "code_interpreter_call"


def shown_items(setting: CodeItems, include: Collection[str] | None) -> Callable[[e.Response, e.Item], e.Item | None]:
    """A function that returns an item as a response that is read with this `include` has it; None if it has not."""
    known: dict[str, bool] = {}

    def shown(response: e.Response, item: e.Item) -> e.Item | None:
        if isinstance(item, e.Reasoning) and wants_summary(response.reasoning) and not gets_ours(include):
            return item_with_summary(item)
        if not isinstance(item, e.CodeInterpreterCall):
            return item
        if response.id not in known:
            known[response.id] = gets_code(setting, response.tools, include, store=response.store)
        return item if known[response.id] else None

    return shown


def without_code_items(response: e.Response) -> e.Response:
    """A copy of the response without its items of code."""
    output = [item for item in response.output if not isinstance(item, e.CodeInterpreterCall)]
    return msgspec.structs.replace(response, output=output)


async def fitting(
    stream: AsyncGenerator[list[str], None],
    setting: CodeItems,
    include: Collection[str] | None,
    *,
    starting_after: int = -1,
) -> AsyncGenerator[list[str], None]:
    """The standard's events for a request with this `include`, after the number `starting_after`.

    The stream must begin with a response's first event: its tools say whether items of code are among the events, and
    its `reasoning` whether reasoning is shown as a summary.
    Passes on an empty list of frames, which means that no event has come for a while.
    """
    async with aclosing(stream):
        async for frames in stream:
            if not frames:
                yield frames
                continue
            response = _head.decode(frames[0]).response or _Response()
            shows = gets_code(setting, response.tools, include, store=response.store)
            select = of_the_standard if shows else without_code
            chosen_frames = select(_with_first(frames, stream), starting_after=starting_after)
            if wants_summary(response.reasoning):
                chosen_frames = with_summaries(chosen_frames)
            async with aclosing(chosen_frames) as selected:
                async for chosen in selected:
                    yield chosen


async def _with_first(first: list[str], rest: AsyncGenerator[list[str], None]) -> AsyncGenerator[list[str], None]:
    yield first
    async for frames in rest:
        yield frames


async def without_code(
    stream: AsyncGenerator[list[str], None], *, starting_after: int = -1
) -> AsyncGenerator[list[str], None]:
    """The standard's events after the number `starting_after`, without those about items of code.

    The stream must begin with a response's first event. The numbers of events and items are reduced by the number of
    those left out before them. Passes on an empty list of frames, which means that no event has come for a while.
    """
    hidden: list[int] = []  # Items begin in the order of their indices.
    dropped = 0
    async with aclosing(stream):
        async for frames in stream:
            kept = []
            for frame in frames:
                head, event = _head.decode(frame), _fields.decode(frame)
                if _is_left_out(head, hidden):
                    dropped += 1
                    continue
                number = head.sequence_number - dropped
                event["sequence_number"] = _raw(number)
                if head.output_index is not None:
                    event["output_index"] = _raw(head.output_index - bisect_left(hidden, head.output_index))
                if "response" in event:
                    event["response"] = _without_items(event["response"])
                if number > starting_after:
                    kept.append(msgspec.json.encode(event).decode())
            if kept or not frames:
                yield kept


class _Item(msgspec.Struct):
    type: str = ""


class _Response(msgspec.Struct):
    tools: list[dict[str, Any]] = []
    store: bool = True
    reasoning: e.ReasoningConfig | None = None


class _Head(msgspec.Struct):
    """What is looked at in an event. What code displayed stays undecoded: as objects it takes 25 times its bytes."""

    type: str
    sequence_number: int
    output_index: int | None = None
    item: _Item | None = None
    response: _Response | None = None


_head = msgspec.json.Decoder(_Head)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_item = msgspec.json.Decoder(_Item)


def _is_left_out(event: _Head, hidden: list[int]) -> bool:
    """Whether clients do not get this event. Notes the index of an item of code that begins."""
    if event.type.startswith("codeact:"):
        return True
    if event.output_index is None:
        return False
    at = bisect_left(hidden, event.output_index)
    is_known = at < len(hidden) and hidden[at] == event.output_index
    if not is_known and event.item is not None and event.item.type == CODE:
        hidden.insert(at, event.output_index)
        return True
    return is_known


def _without_items(response: msgspec.Raw) -> msgspec.Raw:
    """The response without its items of code."""
    fields = _fields.decode(response)
    kept = [item for item in _items.decode(fields["output"]) if _item.decode(item).type != CODE]
    return msgspec.Raw(msgspec.json.encode(fields | {"output": _raw(kept)}))


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))

"""Leaves items of code out of streams and responses, for clients that know only the five types of Open Responses.

Open Responses has messages, function calls, their outputs, reasoning and compactions; a client that parses answers by
its schema fails at `code_interpreter_call`. With `CODEACT_CODE_ITEMS=asked`, only a request that names the tool
`code_interpreter`, its outputs or our own events gets these items.
"""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Any

import msgspec

from codeact import events as e

__all__ = ["CODE", "asks_for_code", "without_code", "without_code_items"]

CODE = "code_interpreter_call"
ASKING = frozenset({"codeact:events", "code_interpreter_call.outputs"})
"""The values of `include` that ask for items of code."""


def asks_for_code(tools: Collection[Any], include: Collection[str] | None) -> bool:
    """Whether a request with these tools and this `include` gets the items of code."""
    kinds = (tool.get("type") if isinstance(tool, dict) else None for tool in msgspec.to_builtins(list(tools)))
    return not ASKING.isdisjoint(include or ()) or "code_interpreter" in kinds


def without_code_items(response: e.Response) -> e.Response:
    """A copy of the response without its items of code."""
    output = [item for item in response.output if not isinstance(item, e.CodeInterpreterCall)]
    return msgspec.structs.replace(response, output=output)


async def without_code(
    stream: AsyncGenerator[list[str], None], include: Collection[str] | None, *, starting_after: int = -1
) -> AsyncGenerator[list[str], None]:
    """The standard's events after the number `starting_after`, without those about items of code.

    The stream must begin with a response's first event, which says whether the request asked for code. The numbers of
    events and items are reduced by the number of those left out before them. Passes on an empty list of frames, which
    means that no event has come for a while.
    """
    hidden: set[int] = set()
    dropped, asked = 0, asks_for_code((), include)
    async with aclosing(stream):
        async for frames in stream:
            kept = []
            for frame in frames:
                event = msgspec.json.decode(frame)
                response = event.get("response")
                if event["type"] == "response.created":
                    asked = asked or asks_for_code(response["tools"], include)
                if _is_left_out(event, hidden, asked=asked):
                    dropped += 1
                    continue
                event["sequence_number"] -= dropped
                if "output_index" in event:
                    event["output_index"] -= sum(index < event["output_index"] for index in hidden)
                if response is not None and not asked:
                    response["output"] = [item for item in response["output"] if item["type"] != CODE]
                if event["sequence_number"] > starting_after:
                    kept.append(msgspec.json.encode(event).decode())
            if kept or not frames:
                yield kept


def _is_left_out(event: dict[str, Any], hidden: set[int], *, asked: bool) -> bool:
    """Whether clients do not get this event. Notes the index of an item of code that begins."""
    if event["type"].startswith("codeact:"):
        return True
    if asked:
        return False
    index = event.get("output_index")
    if index is not None and event.get("item", {}).get("type") == CODE:
        hidden.add(index)
    return index in hidden

"""The WebSocket mode of the scripted server's Responses API: frames `response.create`, the same steps as over HTTP.

A socket keeps its newest response: `previous_response_id` goes on from it. What the model then reads (the kept items
and the new ones) is the `input` of the request that the test sees.
"""

import json
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from tests.responses_server import refusal_of

__all__ = ["Answers", "serve"]

Message = dict[str, Any]
Write = Callable[[Message], Awaitable[None]]
Answers = Callable[[Message, bool, str, Write], Awaitable[list[Message]]]
"""Writes the events of an answer to a body, which continues or not, under an id; gives the items of its output."""
_IDS = count(1)


async def serve(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]], answer: Answers, keeps: bool
) -> None:
    """One accepted socket, until the client leaves. `keeps`: it goes on from its newest response."""
    newest, transcript = "", list[Message]()

    async def write(event: Message) -> None:
        await send({"type": "websocket.send", "text": json.dumps(event)})

    while (message := await receive())["type"] == "websocket.receive":
        body = json.loads(message["text"])
        if (kind := body.pop("type")) == "response.cancel":
            continue  # The client ends the socket with it.
        assert kind == "response.create"
        assert "stream" not in body
        previous = body.pop("previous_response_id", None)
        refusal, code = refusal_of(body), "invalid_request_error"
        if previous is not None and not (keeps and previous == newest):
            refusal, code = f"Previous response with id '{previous}' not found.", "previous_response_not_found"
        if refusal is not None:
            await write({"type": "error", "status": 400, "error": {"code": code, "message": refusal}})
            continue
        body["input"] = [*(transcript if previous is not None else ()), *body["input"]]
        newest = f"resp_{next(_IDS)}"
        output = await answer(body, previous is not None, newest, write)
        transcript = [*body["input"], *map(as_input, output)]


def as_input(item: Message) -> Message:
    """An item of an output as a client gives it back."""
    if item["type"] == "message":
        text = "".join(part["text"] for part in item["content"])
        return {"type": "message", "role": "assistant", "content": text}
    left_out = ("status",) if item["type"] == "reasoning" else ("status", "id")
    return {name: value for name, value in item.items() if name not in left_out}

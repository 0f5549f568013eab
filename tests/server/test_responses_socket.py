"""Our own server asked by our own client of the Responses API over a WebSocket: one codeact behind another."""

from collections.abc import Sequence
from contextlib import aclosing

import pytest

from codeact.model import ChatMessage, Finish, ModelEvent, Sampling, TextDelta, Usage
from codeact.models.responses_api.socket_client import ResponsesSocketModel
from tests.model_server import Gate, ModelServer
from tests.server.conftest import Running

pytestmark = pytest.mark.anyio


async def collect(model: ResponsesSocketModel, messages: Sequence[ChatMessage]) -> list[ModelEvent]:
    async with aclosing(model.stream(messages, Sampling())) as stream:
        return [event async for event in stream]


async def test_a_codeact_server_is_a_model_that_goes_on_from_its_last_response(
    conforming: Running, model_server: ModelServer
) -> None:
    model_server.reset()
    model_server.reply("I set it.\n<execute>\nx = 5\nprint(x * 2)\n</execute>")
    model_server.reply("It is set.", usage={"prompt_tokens": 50, "completion_tokens": 3})
    model_server.reply("Five.")
    question = ChatMessage("user", "Set x.")
    model = ResponsesSocketModel("upstream", model="openai/scripted", api_base=f"{conforming.url}/v1", retries=0)
    try:
        events = await collect(model, [question])
        said = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert said.endswith("It is set.")
        assert Finish("stop") in events
        assert isinstance(events[-1], Usage)
        again = await collect(model, [question, ChatMessage("assistant", said), ChatMessage("user", "What is x?")])
    finally:
        await model.close()
    assert TextDelta("Five.") in again
    # The client never saw what the code printed: the server still had it.
    assert any("10" in str(message["content"]) for message in model_server.requests[-1].messages[1:-1])


async def test_leaving_stops_the_response_behind_it(conforming: Running, model_server: ModelServer) -> None:
    model_server.reset()
    model_server.reply("I begin.", Gate())
    model = ResponsesSocketModel("upstream", model="openai/scripted", api_base=f"{conforming.url}/v1", retries=0)
    try:
        async with aclosing(model.stream([ChatMessage("user", "Go.")], Sampling())) as stream:
            assert await anext(stream) == TextDelta("I begin.")
    finally:
        await model.close()
    # The server would wait for the next token for minutes.
    assert model_server.requests[0].ended.result(timeout=60) == "disconnected"

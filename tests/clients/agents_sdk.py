"""The OpenAI Agents SDK, as its documentation uses it: python agents_sdk.py BASE_URL. Prints what it got, as JSON."""

import asyncio
import json
import sys
from importlib.metadata import version

from agents import (
    Agent,
    CodeInterpreterTool,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

asked: list[str] = []


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    asked.append(city)
    return "sunny"


async def main(base_url: str) -> None:
    set_tracing_disabled(True)
    model = OpenAIResponsesModel(model="codeact", openai_client=AsyncOpenAI(base_url=base_url, api_key="none"))
    plain = await Runner.run(Agent(name="plain", model=model), "plain")
    streamed = Runner.run_streamed(Agent(name="streamed", model=model), "streamed")
    deltas = [
        event.data.delta
        async for event in streamed.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    weather = await Runner.run(Agent(name="weather", model=model, tools=[get_weather]), "weather")
    tool = CodeInterpreterTool(tool_config={"type": "code_interpreter", "container": {"type": "auto"}})
    code = await Runner.run(Agent(name="code", model=model, tools=[tool]), "code")
    session = SQLiteSession("chat")
    chat = Agent(name="chat", model=model)
    await Runner.run(chat, "one", session=session)
    second = await Runner.run(chat, "two", session=session)
    print(
        json.dumps(
            {
                "version": version("openai-agents"),
                "plain": plain.final_output,
                "streamed": "".join(deltas),
                "weather": weather.final_output,
                "asked": asked,
                "code": code.final_output,
                "items": [item.raw_item.type for item in code.new_items],
                "second": second.final_output,
            }
        )
    )


asyncio.run(main(sys.argv[1]))

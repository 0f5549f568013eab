"""LangChain's OpenAI chat model over both APIs: python langchain_chat.py BASE_URL. Prints what it got, as JSON."""

import json
import sys
from importlib.metadata import version

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return "sunny"


def main(base_url: str) -> None:
    responses = ChatOpenAI(model="codeact", base_url=base_url, api_key="none", use_responses_api=True)
    completions = ChatOpenAI(model="codeact", base_url=base_url, api_key="none", use_responses_api=False)
    plain = responses.invoke("plain").text
    streamed = "".join(chunk.text for chunk in responses.stream("streamed"))
    completed = completions.invoke("completed").text
    completed_live = "".join(chunk.text for chunk in completions.stream("completed live"))

    history = [HumanMessage("weather")]
    with_tools = responses.bind_tools([get_weather])
    answer = with_tools.invoke(history)
    asked = [call["args"]["city"] for call in answer.tool_calls]
    history += [answer, *(ToolMessage("sunny", tool_call_id=call["id"]) for call in answer.tool_calls)]
    weather = with_tools.invoke(history).text
    print(
        json.dumps(
            {
                "version": version("langchain-openai"),
                "plain": plain,
                "streamed": streamed,
                "completed": completed,
                "completed_live": completed_live,
                "asked": asked,
                "weather": weather,
            }
        )
    )


main(sys.argv[1])

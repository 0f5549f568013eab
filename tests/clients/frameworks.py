"""Frameworks in Python, each as its documentation uses it: python frameworks.py BASE_URL NAME. Prints JSON."""

import json
import sys
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel

asked: list[str] = []


class City(BaseModel):
    name: str


def get_weather(city: str) -> str:
    """The weather of a city."""
    asked.append(city)
    return "sunny"


def pydantic_ai(base_url: str) -> dict[str, Any]:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=base_url, api_key="none")
    responses = OpenAIResponsesModel("codeact", provider=provider)
    return {
        "version": version("pydantic-ai-slim"),
        "plain": Agent(responses).run_sync("plain").output,
        "chat": Agent(OpenAIChatModel("codeact", provider=provider)).run_sync("chat").output,
        "weather": Agent(responses, tools=[get_weather]).run_sync("weather").output,
        "asked": asked,
    }


def instructor(base_url: str) -> dict[str, Any]:
    import instructor
    from openai import OpenAI

    client = OpenAI(base_url=base_url, api_key="none")
    messages: Any = [{"role": "user", "content": "Which city?"}]
    found: dict[str, Any] = {"version": version("instructor")}
    for mode in ("MD_JSON", "JSON", "JSON_SCHEMA", "TOOLS"):
        patched = instructor.from_openai(client, mode=instructor.Mode[mode])
        found[mode] = patched.chat.completions.create(
            model="codeact", messages=messages, response_model=City, max_retries=0
        ).name
    return found


def llama_index(base_url: str) -> dict[str, Any]:
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai import OpenAI, OpenAIResponses

    responses = OpenAIResponses(model="gpt-4o", api_base=base_url, api_key="none", max_retries=0)
    chat = OpenAI(model="gpt-4o", api_base=base_url, api_key="none", max_retries=0)
    return {
        "version": version("llama-index-llms-openai"),
        "plain": responses.chat([ChatMessage("plain")]).message.content,
        "chat": chat.chat([ChatMessage("chat")]).message.content,
        "streamed": "".join(part.delta or "" for part in responses.stream_chat([ChatMessage("streamed")])),
    }


CLIENTS = {"pydantic_ai": pydantic_ai, "instructor": instructor, "llama_index": llama_index}
print(json.dumps(CLIENTS[sys.argv[2]](sys.argv[1])))

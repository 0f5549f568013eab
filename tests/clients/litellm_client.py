"""litellm as a client of this server: python litellm_client.py BASE_URL. Prints what it got, as JSON."""

import json
import os
import sys
from importlib.metadata import version

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def main(base_url: str) -> None:
    server = {"model": "openai/codeact", "api_base": base_url, "api_key": "none"}
    plain = litellm.completion(messages=[{"role": "user", "content": "plain"}], **server)
    pieces = litellm.completion(messages=[{"role": "user", "content": "streamed"}], stream=True, **server)
    streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    messages = [{"role": "user", "content": "weather"}]
    answer = litellm.completion(messages=messages, tools=[TOOL], **server).choices[0].message
    asked = [json.loads(call.function.arguments)["city"] for call in answer.tool_calls]
    messages.append(answer.model_dump())
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in answer.tool_calls]
    weather = litellm.completion(messages=messages, tools=[TOOL], **server).choices[0].message.content
    responses = litellm.responses(input="responses", **server)
    text = "".join(part.text for item in responses.output if item.type == "message" for part in item.content)
    printed = {"version": version("litellm"), "plain": plain.choices[0].message.content, "streamed": streamed}
    print(json.dumps({**printed, "asked": asked, "weather": weather, "responses": text}))


main(sys.argv[1])

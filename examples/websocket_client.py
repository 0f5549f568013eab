"""The wire by hand, with nothing but `websockets`. Run it: .venv/bin/python examples/websocket_client.py [URL]"""

import asyncio
import json
import sys

import websockets


async def main(url: str) -> None:
    question = "What is the 100th Fibonacci number?"
    async with websockets.connect(url, max_size=None) as socket:
        # The live output of code comes in events that the standard does not have: `include` asks for them.
        await socket.send(json.dumps({"type": "response.create", "input": question, "include": ["codeact:events"]}))
        async for frame in socket:
            event = json.loads(frame)
            match event["type"]:
                case "response.output_text.delta" | "response.code_interpreter_call_code.delta":
                    print(event["delta"], end="", flush=True)
                case "codeact:code_interpreter_call.output":
                    print("\n[output]", event["output"])
                case "response.output_item.done":
                    print()
                case "error":
                    raise SystemExit(event["error"]["message"])
                case "response.completed" | "response.incomplete" | "response.failed":
                    print(f"[{event['response']['status']}]")
                    return


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8000/v1/responses"))

"""The official client, unchanged: HTTP, SSE and WebSocket. Run it: .venv/bin/python examples/openai_client.py [URL]"""

import sys

from openai import OpenAI

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000/v1"
client = OpenAI(base_url=base_url, api_key="not-needed-on-loopback")

# Streamed over HTTP (SSE).
for event in client.responses.create(input="What is the 100th Fibonacci number?", stream=True):
    if event.type in ("response.output_text.delta", "response.code_interpreter_call_code.delta"):
        print(event.delta, end="", flush=True)
    if event.type == "response.completed":
        response = event.response
print()

# The conversation goes on over a WebSocket; the kernel still has its variables.
with client.responses.connect() as connection:
    connection.response.create(input="Count to 3, slowly.", previous_response_id=response.id)
    for event in connection:
        if event.type in ("response.output_text.delta", "response.code_interpreter_call_code.delta"):
            print(event.delta, end="", flush=True)
        if event.type == "response.completed":
            break
print()

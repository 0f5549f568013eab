"""Measures the CPU time of each adapter for one token of a model's stream, against a bare reader of the same bytes.

A server in another process sends the same answer as fast as it is read: text, or one call whose JSON holds as much. The
adapters read it in turns, `ROUNDS` times, in this process; each figure is the median.

    bare_ADAPTER_DIALECT_us    a plain reader with the same client library, which decodes each event and does no more
    ADAPTER_DIALECT_us         the adapter
    ADAPTER_DIALECT_ratio      the adapter over its bare reader
"""

import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import uvloop
from aiohttp import web
from websockets.asyncio.client import connect

from benchmarks.prefix_cache import ADAPTERS
from codeact.dialect.tool_call import ToolCalls
from codeact.model import ChatMessage, Sampling, TextDelta, ToolCallDelta
from codeact.models.litellm.client import close as close_litellm
from codeact.models.openai_compatible.client import DirectModel

__all__ = ["measure"]

TOKENS, ROUNDS = 2_000, 3
MESSAGES = [ChatMessage("user", "Go.")]
Reader = Callable[[], Awaitable[None]]


async def measure(sandbox: str) -> dict[str, float]:
    """Runs everything, in about half a minute. No sandbox is used."""
    async with _serving() as base:
        readers: dict[str, Reader] = {}
        models = {name: make(base) for name, make in ADAPTERS.items()}
        for name, model in models.items():
            for dialect in ("tags", "tool_call"):
                readers[f"bare_{name}_{dialect}"] = _bare(name, dialect, base)
                readers[f"{name}_{dialect}"] = _adapter(model, dialect)
        times: dict[str, list[float]] = {name: [] for name in readers}
        for turn in range(ROUNDS + 1):
            for name, read in readers.items():
                begun = time.process_time()
                await read()
                if turn:  # The first one imports and connects.
                    times[name].append((time.process_time() - begun) / TOKENS * 1e6)
        for model in models.values():
            if isinstance(model, DirectModel):
                await model.close()
        await close_litellm()
    figures = {name: statistics.median(each) for name, each in times.items()}
    ratios = {f"{name}_ratio": us / figures[f"bare_{name}"] for name, us in figures.items() if "bare" not in name}
    return {name: round(value, 2) for name, value in ({f"{n}_us": us for n, us in figures.items()} | ratios).items()}


def _adapter(model: Any, dialect: str) -> Reader:
    sampling = Sampling(tools=ToolCalls().tools if dialect == "tool_call" else ())

    async def read() -> None:
        async with aclosing(model.stream(MESSAGES, sampling)) as events:
            chars = 0
            async for event in events:
                if isinstance(event, TextDelta):
                    chars += len(event.text)
                elif isinstance(event, ToolCallDelta):
                    chars += len(event.arguments)
        assert chars >= TOKENS

    return read


def _bare(name: str, dialect: str, base: str) -> Reader:
    """Reads and decodes the events of the adapter's server with the client library that the adapter uses."""
    body = json.dumps({"stream": True, "input": [], "tools": [{}] if dialect == "tool_call" else []})

    async def over_http() -> None:
        path = "responses" if name == "responses" else "chat/completions"
        async with aiohttp.ClientSession() as session, session.post(f"{base}/{path}", data=body) as response:
            rest = b""
            while piece := await response.content.readany():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        json.loads(line[6:])

    async def over_a_socket() -> None:
        async with connect(f"ws{base.removeprefix('http')}/responses", compression=None, max_size=None) as socket:
            await socket.send(body)
            while json.loads(await socket.recv(decode=False))["type"] != "response.completed":
                pass

    return over_a_socket if name == "socket" else over_http


# ---- the server ----------------------------------------------------------------------------------------


@asynccontextmanager
async def _serving() -> AsyncIterator[str]:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{await asyncio.to_thread(mine.recv)}/v1"
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Any) -> None:
    uvloop.run(_listen(pipe))


async def _listen(pipe: Any) -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _chat)
    app.router.add_post("/v1/responses", _responses)
    app.router.add_get("/v1/responses", _socket)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    pipe.send(runner.addresses[0][1])
    await asyncio.Event().wait()


async def _chat(request: web.Request) -> Any:
    calls = bool((await request.json()).get("tools"))
    return await _stream(request, [*_chunks(calls=calls), "[DONE]"])


async def _responses(request: web.Request) -> Any:
    calls = bool((await request.json()).get("tools"))
    return await _stream(request, _events(calls=calls, response_id="r"))


async def _stream(request: web.Request, events: list[str]) -> Any:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        await response.write(f"data: {event}\n\n".encode())
    return response


async def _socket(request: web.Request) -> Any:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    number = 0
    async for message in socket:
        number += 1
        for event in _events(calls=bool(json.loads(message.data).get("tools")), response_id=f"r{number}"):
            await socket.send_str(event)
    return socket


def _pieces(*, calls: bool) -> list[str]:
    words = ["word "] * TOKENS
    return ['{"code": "', *words[:-2], '"}'] if calls else words


def _chunks(*, calls: bool) -> list[str]:
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in _pieces(calls=False)]
    if calls:
        arguments = [{"arguments": piece} for piece in _pieces(calls=True)]
        first = {"index": 0, "id": "c", "type": "function", "function": {"name": "python", **arguments[0]}}
        rest = [{"index": 0, "function": each} for each in arguments[1:]]
        deltas = [{"tool_calls": [call]} for call in (first, *rest)]
    chunks = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    chunks.append({"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"})
    about = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    return [json.dumps({**about, "choices": [chunk]}) for chunk in chunks]


def _events(*, calls: bool, response_id: str) -> list[str]:
    item = {"type": "message", "id": "i", "role": "assistant", "content": []}
    if calls:
        item = {"type": "function_call", "id": "i", "call_id": "c", "name": "python", "arguments": ""}
    kind = "function_call_arguments" if calls else "output_text"
    place = {"item_id": "i", "output_index": 0}
    response = {"id": response_id, "status": "completed", "output": []}
    events = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", **place, "item": item},
        *({"type": f"response.{kind}.delta", **place, "delta": piece} for piece in _pieces(calls=calls)),
        {"type": "response.completed", "response": response},
    ]
    return [json.dumps({**event, "sequence_number": number}) for number, event in enumerate(events)]

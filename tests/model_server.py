"""A scripted OpenAI-compatible model server: replies enter, real HTTP on loopback leaves.

    with ModelServer() as server:
        gate = Gate()
        server.reply("Hello", gate, " world", Thought("hm"), usage={...})
        server.reply(status=429, headers={"Retry-After": "1"}, error={"message": "slow down"})
        …
        server.requests[0].body["messages"]
        await outcome(server.requests[0].ended)  # "finished" or "disconnected"

Each request takes the next reply. Nothing sleeps: a `Gate` is where the server waits until the test opens it;
one that is never opened is a model that hangs. Runs in a thread of its own, so that it serves synchronous
and asynchronous tests; replies may be added from any thread.
"""

import asyncio
import json
import queue
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

import uvicorn

__all__ = ["DROP", "Gate", "ModelServer", "Request", "Thought", "outcome"]

Message = dict[str, Any]
T = TypeVar("T")
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Gate:
    """Where a reply waits. `reached` is done once the server stands there."""

    def __init__(self) -> None:
        self.reached: Future[None] = Future()
        self._opened: Future[None] = Future()

    def open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    async def wait(self) -> None:
        if not self.reached.done():
            self.reached.set_result(None)
        await asyncio.shield(asyncio.wrap_future(self._opened))


@dataclass(frozen=True)
class Thought:
    """A chunk of `reasoning_content`."""

    text: str


class _Drop:
    """The connection breaks here."""


DROP = _Drop()

Step = str | Thought | Gate | _Drop


@dataclass(frozen=True)
class _Reply:
    steps: tuple[Step, ...]
    usage: dict[str, Any] | None
    finish: str
    status: int
    error: Any
    headers: dict[str, str]


@dataclass(frozen=True)
class Request:
    """One request for a completion, as it came."""

    body: dict[str, Any]
    headers: dict[str, str]
    ended: Future[Literal["finished", "disconnected"]] = field(default_factory=Future)

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.body["messages"]
        return messages


async def outcome(future: Future[T], timeout_s: float = 10.0) -> T:
    """The result of a gate's `reached` or a request's `ended`."""
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(future)


class ModelServer:
    """`base_url` is what `CODEACT_MODEL_API_BASE` takes; `models` what `/v1/models` and Ollama's `/api/tags` list."""

    def __init__(self, *, models: tuple[str, ...] = ("scripted",), owned_by: str = "tests") -> None:
        self.requests: list[Request] = []
        self.models = models
        self.owned_by = owned_by
        self._replies: queue.SimpleQueue[_Reply] = queue.SimpleQueue()
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            self._app, interface="asgi3", lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()

    def reply(
        self,
        *steps: Step,
        usage: dict[str, Any] | None = None,
        finish: str = "stop",
        status: int = 200,
        error: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """The next reply: steps to stream, or, with another `status` than 200, the error to answer."""
        self._replies.put(_Reply(steps, usage, finish, status, error, headers or {}))

    def reset(self) -> None:
        """Forgets requests and replies."""
        self.requests.clear()
        while not self._replies.empty():
            self._replies.get_nowait()

    async def _app(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if scope["path"] == "/v1/models":
            listed = [{"id": name, "object": "model", "owned_by": self.owned_by} for name in self.models]
            await _respond(send, 200, {"object": "list", "data": listed})
        elif scope["path"] == "/api/tags":
            await _respond(send, 200, {"models": [{"name": name} for name in self.models]})
        elif scope["path"] == "/v1/chat/completions":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            request = Request(json.loads(body), headers)
            self.requests.append(request)
            await self._complete(request, receive, send)
        else:
            await _respond(send, 404, {"error": {"message": f"no {scope['path']} here"}})

    async def _complete(self, request: Request, receive: Receive, send: Send) -> None:
        try:
            reply = self._replies.get_nowait()
        except queue.Empty:
            await _respond(send, 500, {"error": {"message": "the script has no reply left"}})
            request.ended.set_result("finished")
            return
        streaming = asyncio.create_task(_stream(reply, request.body, send))
        leaving = asyncio.create_task(_disconnected(receive))
        await asyncio.wait({streaming, leaving}, return_when=asyncio.FIRST_COMPLETED)
        request.ended.set_result("finished" if streaming.done() else "disconnected")
        streaming.cancel()
        leaving.cancel()
        if streaming.done():
            streaming.result()


async def _stream(reply: _Reply, body: dict[str, Any], send: Send) -> None:
    if reply.status != 200:
        await _respond(send, reply.status, {"error": reply.error}, reply.headers)
        return
    started = False
    for step in reply.steps:
        if isinstance(step, Gate):
            await step.wait()
            continue
        if not started:
            await _start(send, 200, {"content-type": "text/event-stream", **reply.headers})
            await _chunk(send, {"role": "assistant", "content": ""})
            started = True
        match step:
            case str():
                await _chunk(send, {"content": step})
            case Thought():
                await _chunk(send, {"reasoning_content": step.text})
            case _Drop():
                raise ConnectionResetError("scripted")
    if not started:
        await _start(send, 200, {"content-type": "text/event-stream", **reply.headers})
    await _chunk(send, {}, finish=reply.finish)
    if reply.usage is not None and body.get("stream_options", {}).get("include_usage"):
        await _chunk(send, None, usage=reply.usage)
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _chunk(
    send: Send, delta: dict[str, Any] | None, *, finish: str | None = None, usage: dict[str, Any] | None = None
) -> None:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "scripted",
        "choices": choices,
        "usage": usage,
    }
    data = f"data: {json.dumps(chunk)}\n\n".encode()
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _respond(send: Send, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    await _start(send, status, {"content-type": "application/json", **(headers or {})})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

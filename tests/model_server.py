"""A scripted OpenAI-compatible model server, with real HTTP on loopback.

    with ModelServer() as server:
        gate = Gate()
        server.reply(CallPiece('{"code": "1"}', name="python", call_id="call_1"), finish="tool_calls")
        server.reply("Hello", gate, " world", Thought("hm"), usage={...})
        server.reply(status=429, headers={"Retry-After": "1"}, error={"message": "slow down"})
        …
        server.requests[0].body["messages"]
        await outcome(server.requests[0].ended)  # "finished" or "disconnected"

Each request takes the next reply. At a `Gate`, the server waits until the test opens it; a gate that is never opened
simulates a model that hangs. The server runs in its own thread, so that it works with synchronous and asynchronous
tests; any thread may add replies.
"""

import asyncio
import json
import socket
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

import uvicorn

from tests.provider_streams import AnthropicStream, GeminiStream, refusal_by_anthropic, refusal_by_gemini
from tests.responses_server import ResponseStream, refusal_of, tokens_of
from tests.responses_socket import serve

__all__ = ["DROP", "CallPiece", "Gate", "Kept", "ModelServer", "Request", "Thought", "outcome"]

Message = dict[str, Any]
T = TypeVar("T")
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Gate:
    """A point at which a reply waits until the test calls `open`. `reached` resolves when the server gets there."""

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


@dataclass(frozen=True)
class CallPiece:
    """A chunk of `tool_calls`. `name` and `call_id` come with the first piece of a call."""

    arguments: str
    name: str | None = None
    call_id: str | None = None
    index: int = 0


@dataclass(frozen=True)
class Kept:
    """A chunk with other fields of a delta, such as `reasoning_details`."""

    fields: dict[str, Any]


class _Drop:
    """Breaks the connection."""


DROP = _Drop()

Step = str | Thought | CallPiece | Kept | Gate | _Drop


@dataclass(frozen=True)
class _Reply:
    steps: tuple[Step, ...]
    usage: dict[str, Any] | None
    finish: str
    stopped_by: str | None
    status: int
    error: Any
    headers: dict[str, str]
    page: str | None


@dataclass(frozen=True)
class Request:
    """One received request for a completion. `continues`: it named a response that its socket had kept."""

    body: dict[str, Any]
    headers: dict[str, str]
    ended: Future[Literal["finished", "disconnected"]] = field(default_factory=Future)
    api: str = "chat/completions"
    continues: bool = False

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.body["messages"]
        return messages


async def outcome(future: Future[T], timeout_s: float = 60.0) -> T:
    """Waits for a gate's `reached` or a request's `ended`. Raises `TimeoutError`."""
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(future)


class ModelServer:
    """The server. `base_url` is for `CODEACT_MODEL_API_BASE`; `/v1/models` and Ollama's `/api/tags` list `models`.

    `routes` maps further paths to functions, which get the JSON of a request and return a status and JSON. `upgrade` is
    the status that refuses a WebSocket, 101 for none; `keeps`: a socket continues from its newest response; `sockets`
    counts the sockets that were opened.
    """

    def __init__(self, *, models: tuple[str, ...] = ("scripted",), owned_by: str = "tests") -> None:
        self.requests: list[Request] = []
        self.models = models
        self.owned_by = owned_by
        self.routes: dict[str, Callable[[Any], tuple[int, Any]]] = {}
        self.upgrade, self.keeps, self.sockets = 101, True, 0
        self._replies: deque[_Reply] = deque()
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
        stopped_by: str | None = None,
        status: int = 200,
        error: Any = None,
        headers: dict[str, str] | None = None,
        page: str | None = None,
    ) -> None:
        """Adds a reply: steps to stream, an `error` with a `status` other than 200, or a `page` of HTML.

        `stopped_by` is the text of `stop` that ended the stream, as vLLM says it.
        A stream of the Responses API ends with the `error`, if given.
        """
        self._replies.append(_Reply(steps, usage, finish, stopped_by, status, error, headers or {}, page))

    def reset(self) -> None:
        """Removes all requests, replies and further paths; sockets are accepted again, and counted from 0."""
        self.requests.clear()
        self.upgrade, self.keeps, self.sockets = 101, True, 0
        self.routes.clear()
        self._replies.clear()

    async def _app(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket_app(scope, receive, send)
            return
        body = await _body(receive)
        if scope["path"] in self.routes:
            await _respond(send, *self.routes[scope["path"]](json.loads(body) if body else None))
        elif scope["path"] == "/v1/models":
            listed = [{"id": name, "object": "model", "owned_by": self.owned_by} for name in self.models]
            await _respond(send, 200, {"object": "list", "data": listed})
        elif scope["path"] == "/api/tags":
            await _respond(send, 200, {"models": [{"name": name} for name in self.models]})
        elif (api := _api(scope["path"])) is not None:
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            request = Request(json.loads(body), headers, api=api)
            self.requests.append(request)
            await self._complete(request, receive, send)
        else:
            await _respond(send, 404, {"error": {"message": f"no {scope['path']} here"}})

    async def _socket_app(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status = self.upgrade if _api(scope["path"]) == "responses" else 404
        if self._replies and self._replies[0].page is not None:
            status = 200
        await receive()
        if status != 101:
            await send({"type": "websocket.http.response.start", "status": status, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"no"})
            return
        self.sockets += 1
        await send({"type": "websocket.accept"})
        early: list[Message] = []

        async def watch() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive":
                early.append(message)  # The client asks again before we have seen that the answer is over.
            return message

        async def take() -> Message:
            return early.pop(0) if early else await receive()

        async def answer(
            body: dict[str, Any], continues: bool, response_id: str, write: Callable[[Message], Awaitable[None]]
        ) -> list[Message]:
            request = Request(body, headers, api="responses", continues=continues)
            self.requests.append(request)
            reply = self._replies.popleft()
            output: list[Message] = []

            async def play() -> None:
                if reply.status != 200:
                    about = {"error": reply.error, "headers": reply.headers}
                    await write({"type": "error", "status": reply.status, **about})
                    return
                custom = any(tool["type"] == "custom" for tool in body.get("tools", ()))
                about = {"custom": custom, "usage": reply.usage, "response_id": response_id, "asked": body}
                stream = ResponseStream(write, body["model"], **about)
                await _play(reply, stream)
                output.extend(stream.output)

            await _until_left(request, play(), watch)
            return output

        await serve(take, send, answer, self.keeps)

    async def _complete(self, request: Request, receive: Receive, send: Send) -> None:
        try:
            reply = self._replies.popleft()
        except IndexError:
            await _respond(send, 500, {"error": {"message": "the script has no reply left"}})
            request.ended.set_result("finished")
            return
        streaming = (
            _stream(reply, request.body, send)
            if request.api == "chat/completions"
            else _stream_items(reply, request.body, send, api=request.api)
        )
        await _until_left(request, streaming, receive)


async def _until_left(request: Request, streaming: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Streams until the end, or until the client leaves, and says which of both it was."""
    task = asyncio.create_task(streaming)
    leaving = asyncio.create_task(_disconnected(receive))
    await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
    request.ended.set_result("finished" if task.done() else "disconnected")
    task.cancel()
    leaving.cancel()
    if task.done():
        task.result()


async def _stream(reply: _Reply, body: dict[str, Any], send: Send) -> None:
    if reply.status != 200:
        await _respond(send, reply.status, {"error": reply.error}, reply.headers)
        return
    if reply.page is not None:
        await _start(send, 200, {"content-type": "text/html; charset=utf-8"})
        await send({"type": "http.response.body", "body": reply.page.encode()})
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
                await _chunk(send, {"content": step}, logprobs=_logprobs(step, body))
            case Thought():
                await _chunk(send, {"reasoning_content": step.text})
            case CallPiece():
                named = {"name": step.name} if step.name is not None else {}
                call: dict[str, Any] = {"index": step.index, "function": {**named, "arguments": step.arguments}}
                if step.call_id is not None:
                    call |= {"id": step.call_id, "type": "function"}
                await _chunk(send, {"tool_calls": [call]})
            case Kept():
                await _chunk(send, step.fields)
            case _Drop():
                raise ConnectionResetError("scripted")
    if not started:
        await _start(send, 200, {"content-type": "text/event-stream", **reply.headers})
    await _chunk(send, {}, finish=reply.finish, stopped_by=reply.stopped_by)
    if reply.usage is not None and body.get("stream_options", {}).get("include_usage"):
        await _chunk(send, None, usage=reply.usage)
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


def _api(path: str) -> str | None:
    """Returns the API to which this path belongs, or None."""
    if path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
        return path.removeprefix("/v1/")
    return "gemini" if path.endswith(":streamGenerateContent") else None


async def _stream_items(reply: _Reply, body: dict[str, Any], send: Send, *, api: str) -> None:
    """Streams the steps as events of an API whose answers consist of items or blocks."""
    refusals = {"responses": refusal_of, "messages": refusal_by_anthropic, "gemini": refusal_by_gemini}
    if (refusal := refusals[api](body)) is not None:
        error = {"type": "invalid_request_error", "message": refusal}
        await _respond(send, 400, {"type": "error", "error": error})
        return
    if reply.status != 200 or reply.page is not None:
        await _stream(reply, body, send)
        return

    async def write(event: dict[str, Any]) -> None:
        name = f"event: {event['type']}\n" if "type" in event else ""
        data = f"{name}data: {json.dumps(event)}\n\n".encode()
        await send({"type": "http.response.body", "body": data, "more_body": True})

    stream: ResponseStream | AnthropicStream | GeminiStream
    if api == "responses":
        custom = any(tool["type"] == "custom" for tool in body.get("tools", ()))
        stream = ResponseStream(write, body["model"], custom=custom, usage=reply.usage, asked=body)
    else:
        stream = (AnthropicStream if api == "messages" else GeminiStream)(write, body.get("model", ""), reply.usage)
    await _play(reply, stream, lambda: _start(send, 200, {"content-type": "text/event-stream", **reply.headers}))
    await send({"type": "http.response.body", "body": b""})


async def _play(
    reply: _Reply,
    stream: ResponseStream | AnthropicStream | GeminiStream,
    start: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """The steps as events. Nothing is sent before the first step that is no gate."""
    started = False
    for step in (*reply.steps, None):
        if isinstance(step, Gate):
            await step.wait()
            continue
        if not started:
            if start is not None:
                await start()
            await stream.begin()
            started = True
        match step:
            case str():
                await stream.text(step)
            case Thought():
                await stream.thought(step.text)
            case CallPiece():
                await stream.call(step.index, step.arguments, step.name, step.call_id)
            case Kept():
                await stream.kept(step.fields)
            case _Drop():
                raise ConnectionResetError("scripted")
    if reply.error is not None and isinstance(stream, ResponseStream):
        await stream.fail(reply.error)
    else:
        await stream.end(reply.finish)


def _logprobs(text: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """The log probabilities of a piece of text, if the request asks for them."""
    return {"content": tokens_of(text, body.get("top_logprobs", 0))} if body.get("logprobs") else None


async def _chunk(
    send: Send,
    delta: dict[str, Any] | None,
    *,
    finish: str | None = None,
    stopped_by: str | None = None,
    usage: dict[str, Any] | None = None,
    logprobs: dict[str, Any] | None = None,
) -> None:
    choices: list[dict[str, Any]] = []
    if delta is not None:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish, "stop_reason": stopped_by}]
        choices[0] |= {} if logprobs is None else {"logprobs": logprobs}
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
    while not (await receive())["type"].endswith(".disconnect"):
        pass

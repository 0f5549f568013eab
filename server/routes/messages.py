"""`/v1/messages`, Anthropic's Messages API: answers with its content blocks, whole or over SSE, and counts tokens."""

import math
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from codeact import events as e
from codeact.errors import CodeActError, InvalidRequest, NotFound
from codeact.runs.streams import read_events
from codeact.runs.unread_events import UnreadEvents
from codeact.server.auth.caller import caller_of
from codeact.server.documents import document_response
from codeact.server.errors import json_response, message_envelope, raised
from codeact.server.openapi import operation
from codeact.server.peers.passed_run import Answer
from codeact.server.request_ids import request_id_of
from codeact.server.requests.create import CreateRequest
from codeact.server.requests.messages import (
    CountBody,
    MessagesBody,
    ThinkingAdaptive,
    ThinkingEnabled,
    parse_count,
    parse_messages,
)
from codeact.server.requests.parameters import parameters_named, read_json, read_parameters
from codeact.server.requests.tools import Tool
from codeact.server.routes.idempotency import idempotent
from codeact.server.services import Services
from codeact.server.transports.message_blocks import MessageBlocks
from codeact.server.transports.messages import as_create, message_id, shows_thinking
from codeact.server.transports.sse import KEEP_ALIVE_S, SSE_HEADERS

__all__ = ["routes"]

NAMES = {"input": "messages", "stop": "stop_sequences"}
"""What this API calls parameters of the Responses API, where an error may name them."""
VERSIONS = ("2023-06-01", "2026-10-21")
"""The versions of the API that have the shapes of this module."""
PING = {"type": "ping"}
STOPPED = {"max_output_tokens": "max_tokens", "content_filter": "refusal", "steered": "pause_turn"}


class _Query(msgspec.Struct):
    """`beta`: the official client's `client.beta` sends it; the body says what is wanted."""

    beta: bool | None = None


class Usage(msgspec.Struct, kw_only=True):
    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0
    output_tokens_details: dict[str, int] = {}
    service_tier: str = "standard"


class MessageObject(msgspec.Struct, kw_only=True):
    """The answer. `container` is set if code ran."""

    id: str
    model: str
    content: list[dict[str, Any]] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    container: dict[str, Any] | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
    type: str = "message"
    role: str = "assistant"


class CountObject(msgspec.Struct):
    input_tokens: int


@operation(MessageObject, body=MessagesBody, query=_Query, streams=True)
@idempotent()
async def create(request: Request) -> Response:
    """Answers `messages`. Code and its outputs are the blocks `server_tool_use` and `code_execution_tool_result`."""
    services: Services = request.app.state.codeact
    read_parameters(request, _Query)
    _check_version(request)
    body = parse_messages(await read_json(request, services.settings.max_message_bytes))
    with parameters_named(NAMES):
        asked = as_create(body)
        if asked.previous_response_id is not None:
            await _complete(asked, services, owner=caller_of(request).owner)
        run = await services.service.create(asked, caller=caller_of(request))
    answer = _Answer(services, body, run, request_id_of(request.scope))
    if body.stream:
        return StreamingResponse(answer.events(), media_type="text/event-stream", headers=SSE_HEADERS)
    return await document_response(await answer.whole())


@operation(CountObject, body=CountBody, query=_Query)
async def count_tokens(request: Request) -> Response:
    """Counts the tokens of the prompt that the request would become, and answers nothing."""
    services: Services = request.app.state.codeact
    read_parameters(request, _Query)
    _check_version(request)
    body = parse_count(await read_json(request, services.settings.max_message_bytes))
    with parameters_named(NAMES):
        tokens = await services.service.input_tokens(as_create(body), caller=caller_of(request))
    return json_response(CountObject(tokens))


async def _complete(asked: CreateRequest, services: Services, *, owner: str) -> None:
    """Takes what a continued thread keeps from the request of its last message. Raises `NotFound`."""
    response_id = asked.previous_response_id or ""
    try:
        run = services.runs.find(response_id, owner=owner)
        store = await services.store.get()
        response = run.response if run else (await store.get_response(response_id, owner=owner)).response
    except NotFound:
        raise NotFound(
            f"There is no message '{message_id(response_id)}' to continue.",
            param="thread.previous_message_id",
            code="thread_not_found",
        ) from None
    asked.instructions = asked.instructions or response.instructions
    # Code has its container, with what was asked of that, anyway; secrets and archives of skills are not stored.
    tools = [tool for tool in response.tools if tool.get("type") != "code_interpreter"]
    asked.tools = asked.tools or msgspec.convert(tools, list[Tool])


def _check_version(request: Request) -> None:
    version = request.headers.get("anthropic-version", VERSIONS[-1])
    if version not in VERSIONS:
        raise InvalidRequest(
            f"This server speaks the versions {' and '.join(VERSIONS)} of the Messages API, not '{version[:100]}'.",
            param="anthropic-version",
        )


class _Answer:
    """One run as a message."""

    def __init__(self, services: Services, body: MessagesBody, run: Answer, request_id: str) -> None:
        self._services = services
        self._run = run
        self._request_id = request_id
        self._stop_sequences = body.stop_sequences or ()
        run.log.unread = UnreadEvents()
        thinking = body.thinking
        omits = isinstance(thinking, ThinkingEnabled | ThinkingAdaptive) and thinking.display == "omitted"
        self._blocks = MessageBlocks(thinking=shows_thinking(body), omits=omits)

    async def whole(self) -> MessageObject:
        """The message. Raises `CodeActError` if the response failed."""
        async for _ in self._block_events():
            pass
        if (failed := self._failure()) is not None:
            raise failed
        message = self._message()
        message.content = self._blocks.content
        message.stop_reason = self._stop_reason()
        message.stop_sequence = self._stop_sequence()
        message.container = self._container()
        message.usage = self._usage()
        return message

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events; `ping` while nothing happens. A failure is the event `error`, the last one then."""
        yield _sse({"type": "message_start", "message": msgspec.to_builtins(self._message())})
        yield _sse(PING)
        async for event in self._block_events():
            yield _sse(event)
        if (failed := self._failure()) is not None:
            yield _sse(message_envelope(failed, self._request_id))
            return
        delta = {
            "stop_reason": self._stop_reason(),
            "stop_sequence": self._stop_sequence(),
            "container": self._container(),
        }
        usage = msgspec.to_builtins(self._usage())
        del usage["service_tier"]
        yield _sse({"type": "message_delta", "delta": delta, "usage": usage})
        yield _sse({"type": "message_stop"})

    async def _block_events(self) -> AsyncIterator[dict[str, Any]]:
        async with aclosing(read_events(self._run.log, idle_s=KEEP_ALIVE_S)) as batches:
            async for events in batches:
                if not events:
                    yield PING
                for event in events:
                    for made in self._blocks.feed(event):
                        yield made
        for made in self._blocks.finish():
            yield made

    def _failure(self) -> CodeActError | None:
        error = self._run.response.error
        return None if error is None else raised(error)

    def _message(self) -> MessageObject:
        response = self._run.response
        return MessageObject(id=message_id(response.id), model=response.model)

    def _stop_reason(self) -> str:
        if any(block["type"] == "tool_use" for block in self._blocks.content):
            return "tool_use"
        details = self._run.response.incomplete_details
        ended = "end_turn" if self._stop_sequence() is None else "stop_sequence"
        return STOPPED.get((details and details.reason) or "", ended)

    def _stop_sequence(self) -> str | None:
        """The text of the request's `stop_sequences` that ended the answer, if the model's server says so."""
        stopped_by = self._run.response.stopped_by
        return stopped_by if isinstance(stopped_by, str) and stopped_by in self._stop_sequences else None

    def _container(self) -> dict[str, Any] | None:
        codes = [item for item in self._run.response.output if isinstance(item, e.CodeInterpreterCall)]
        if not codes:
            return None
        expires_at = datetime.now(UTC) + timedelta(seconds=math.floor(self._services.settings.idle_timeout_s))
        return {"id": codes[-1].container_id, "expires_at": expires_at.isoformat(timespec="seconds"), "skills": None}

    def _usage(self) -> Usage:
        usage = self._run.response.usage or e.ResponseUsage()
        cached, written = usage.input_tokens_details.cached_tokens, usage.input_tokens_details.cache_write_tokens
        return Usage(
            input_tokens=max(0, usage.input_tokens - cached - written),
            cache_creation_input_tokens=written,
            cache_read_input_tokens=cached,
            output_tokens=usage.output_tokens,
            output_tokens_details={"thinking_tokens": usage.output_tokens_details.reasoning_tokens},
        )


def _sse(event: dict[str, Any]) -> str:
    return f"event: {event['type']}\ndata: {msgspec.json.encode(event).decode()}\n\n"


routes = [
    Route("/v1/messages", create, methods=["POST"]),
    Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
]

"""`/v1/chat/completions`: answers a chat as one JSON object, or as chunks over SSE."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from codeact import events as e
from codeact.errors import CodeActError, NotFound
from codeact.model import TokenLogprob
from codeact.runs.streams import read_events
from codeact.runs.unread_events import UnreadEvents
from codeact.server.auth.caller import caller_of
from codeact.server.documents import document_response
from codeact.server.errors import envelope, raised
from codeact.server.openapi import operation
from codeact.server.peers.passed_run import Answer
from codeact.server.requests.parameters import parameters_named, read_json
from codeact.server.routes.idempotency import idempotent
from codeact.server.services import Services
from codeact.server.transports.chat_completions import ChatBody, ChatTextFormat, as_create, lines_of, parse_chat
from codeact.server.transports.chat_text import ChatText
from codeact.server.transports.sse import DONE, KEEP_ALIVE, KEEP_ALIVE_S, SSE_HEADERS

__all__ = ["routes"]

NAMES = {"include": "logprobs", "input": "messages"}
"""What this API calls parameters of the Responses API, where an error may name them."""
FINISHED = {"max_output_tokens": "length", "content_filter": "content_filter"}


@operation(dict[str, Any], body=ChatBody, streams=True)
@idempotent()
async def create(request: Request) -> Response:
    """Answers a chat. Code, its printed output and its images are part of the answer's text."""
    services: Services = request.app.state.codeact
    caller = caller_of(request)
    body = await read_json(request, services.settings.max_message_bytes)
    chat = parse_chat(body)
    known = await services.chats.find(lines_of(chat), owner=caller.owner)
    with parameters_named(NAMES):
        try:
            run = await services.service.create(as_create(chat, known), caller=caller)
        except NotFound:
            if known is None:
                raise
            run = await services.service.create(as_create(chat, None), caller=caller)
    images = (services.settings.public_url or str(request.base_url)).rstrip("/")
    shows_code = chat.response_format is None or isinstance(chat.response_format, ChatTextFormat)
    answer = _Answer(services, chat, run, ChatText(images=images, shows_code=shows_code))
    if chat.stream:
        return StreamingResponse(answer.chunks(), media_type="text/event-stream", headers=SSE_HEADERS)
    return await document_response(await answer.whole())


class _Answer:
    """One run as a chat completion."""

    def __init__(self, services: Services, chat: ChatBody, run: Answer, text: ChatText) -> None:
        self._services = services
        self._chat = chat
        self._run = run
        run.log.unread = UnreadEvents()
        self._text = text
        self._texts: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._tokens: list[TokenLogprob] = []

    async def whole(self) -> dict[str, Any]:
        """The completion. Raises `CodeActError` if the response failed."""
        thoughts = [delta.get("reasoning_content", "") async for delta, _ in self._deltas()]
        if (failed := self._failure()) is not None:
            raise failed
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._texts), "refusal": None}
        if any(thoughts):
            message["reasoning_content"] = "".join(thoughts)
        if self._calls:
            message["tool_calls"] = self._calls
        logprobs = {"content": self._tokens, "refusal": None} if self._chat.logprobs else None
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": self._finish_reason()}
        return self._object("chat.completion", [choice]) | {"usage": self._usage()}

    async def chunks(self) -> AsyncIterator[str]:
        """Server-sent events, `[DONE]` last. A failure is sent as an event `{"error": …}` before it.

        A comment is sent now and then while nothing happens.
        """
        yield self._chunk({"role": "assistant", "content": ""})
        async for delta, tokens in self._deltas():
            yield self._chunk(delta, tokens) if delta else KEEP_ALIVE
        if (failed := self._failure()) is not None:
            yield f"data: {msgspec.json.encode(envelope(failed)).decode()}\n\n"
        else:
            yield self._chunk({}, finish_reason=self._finish_reason())
            if self._chat.stream_options is not None and self._chat.stream_options.include_usage:
                last = self._object("chat.completion.chunk", []) | {"usage": self._usage()}
                yield f"data: {msgspec.json.encode(last).decode()}\n\n"
        yield DONE

    async def _deltas(self) -> AsyncIterator[tuple[dict[str, Any], list[TokenLogprob]]]:
        """The deltas as they arrive: the answer's text, the model's reasoning, and calls of the client's functions.

        With each come the tokens of its prose and their log probabilities, if the chat asks for them.

        An empty one means that nothing has arrived for a while.
        """
        async with aclosing(read_events(self._run.log, idle_s=KEEP_ALIVE_S)) as batches:
            async for events in batches:
                if not events:
                    yield {}, []
                for event in events:
                    if text := self._text.feed(event):
                        self._texts.append(text)
                        tokens = event.logprobs if isinstance(event, e.OutputTextDelta) else []
                        self._tokens += tokens
                        yield {"content": text}, tokens
                    match event:
                        case e.ReasoningTextDelta(delta=thought):
                            yield {"reasoning_content": thought}, []
                        case e.OutputItemDone(item=e.FunctionCall() | e.CustomToolCall() as item):
                            self._calls.append(_called(item))
                            yield {"tool_calls": [{"index": len(self._calls) - 1} | self._calls[-1]]}, []
        if self._failure() is None and self._run.response.store:
            answer = "".join(self._texts)
            remember = self._services.chats.remember
            await remember(lines_of(self._chat), answer, self._run.response, owner=self._run.owner)

    def _failure(self) -> CodeActError | None:
        error = self._run.response.error
        return None if error is None else raised(error)

    def _finish_reason(self) -> str:
        if self._calls:
            return "tool_calls"
        details = self._run.response.incomplete_details
        return FINISHED.get((details and details.reason) or "", "stop")

    def _usage(self) -> dict[str, Any]:
        usage = self._run.response.usage or e.ResponseUsage()
        return {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.input_tokens_details.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.output_tokens_details.reasoning_tokens},
        }

    def _chunk(
        self, delta: dict[str, Any], tokens: Sequence[TokenLogprob] = (), *, finish_reason: str | None = None
    ) -> str:
        logprobs = {"content": tokens, "refusal": None} if tokens else None
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return f"data: {msgspec.json.encode(self._object('chat.completion.chunk', [choice])).decode()}\n\n"

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self._run.id}",
            "object": kind,
            "created": int(self._run.response.created_at),
            "model": self._run.response.model,
            "choices": choices,
        }


def _called(item: e.FunctionCall | e.CustomToolCall) -> dict[str, Any]:
    if isinstance(item, e.CustomToolCall):
        return {"id": item.call_id, "type": "custom", "custom": {"name": item.name, "input": item.input}}
    function = {"name": item.name, "arguments": item.arguments}
    return {"id": item.call_id, "type": "function", "function": function}


routes = [Route("/v1/chat/completions", create, methods=["POST"])]

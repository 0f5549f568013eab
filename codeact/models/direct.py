"""A model at an OpenAI-compatible address: chat messages enter, deltas and the usage of one call leave.

Speaks `POST /chat/completions` with SSE by itself, at a small part of what litellm needs for a token.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import msgspec

from codeact.models import ChatMessage, Finish, ModelEvent, ReasoningDelta, Sampling, TextDelta, Usage
from codeact.models.attempts import Pace, guessed, retried
from codeact.models.direct_errors import Refused, StreamBroken, failure
from codeact.models.failures import Asked

__all__ = ["DirectModel"]

CLOSE_DEADLINE_S = 5.0
MAX_LINE_BYTES = 16_000_000
MAX_ERROR_BYTES = 100_000
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Delta(msgspec.Struct):
    """Servers name a model's thinking in two ways."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class DirectModel:
    """One model. Each timeout is for one attempt; `retries` attempts follow a failed one, before the first delta.

    `name` is what it is called here, `model` what its server calls it. Bound to one event loop; `close` it there.
    """

    def __init__(
        self,
        name: str,
        *,
        model: str,
        api_base: str,
        api_key: str | None = None,
        first_token_timeout_s: float = 120.0,
        token_timeout_s: float = 30.0,
        retries: int = 2,
    ) -> None:
        self.name = name
        self._model = model
        self._url = f"{api_base.rstrip('/')}/chat/completions"
        self._asked = Asked(name, api_base, has_key=api_key is not None)
        self._key = api_key or "none"
        self._pace = Pace(name, first_token_timeout_s, token_timeout_s)
        self._retries = retries
        self._client: httpx.AsyncClient | None = None

    async def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        """See `Model.stream`."""
        body = self._body(messages, sampling)
        attempts = retried(
            lambda: self._attempt(body), lambda error: failure(error, self._asked), retries=self._retries
        )
        async with aclosing(attempts) as events:
            async for event in events:
                yield event

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        """See `Model.estimate`. By length: the server's tokenizer is its own."""
        return guessed([str(message.content) for message in messages], output)

    async def close(self) -> None:
        """Closes the connections that are kept open. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _body(self, messages: Sequence[ChatMessage], sampling: Sampling) -> bytes:
        body = {
            "model": self._model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_output_tokens,
            "reasoning_effort": sampling.reasoning_effort,
        }
        return msgspec.json.encode({name: value for name, value in body.items() if value is not None})

    def _open(self, body: bytes) -> Any:
        if self._client is None:
            # No proxy stands between us and a model on this machine. Timeouts are ours: they name their setting.
            local = urlsplit(self._url).hostname in LOOPBACK
            self._client = httpx.AsyncClient(timeout=None, trust_env=not local, follow_redirects=False)  # noqa: S113
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
        }
        return self._client.build_request("POST", self._url, content=body, headers=headers)

    async def _attempt(self, body: bytes) -> AsyncGenerator[ModelEvent, None]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._pace.first_token_timeout_s
        request = self._open(body)
        started = finished = False
        usage: _Usage | None = None
        response: httpx.Response | None = None
        assert self._client is not None
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._client.send(request, stream=True)
                if response.status_code != 200:
                    raise Refused(response.status_code, await _beginning(response), response.headers.get("retry-after"))
            pieces = response.aiter_raw()
            lines = _Lines()
            while True:
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces, None)
                if piece is None:
                    break
                for line in lines.feed(piece):
                    if line == b"[DONE]":
                        finished = True
                        continue
                    chunk = _chunk(line)
                    usage = chunk.usage or usage
                    for event in _events(chunk):
                        started = True
                        finished = finished or isinstance(event, Finish)
                        yield event
                if started:
                    deadline = clock() + self._pace.token_timeout_s
        except TimeoutError:
            raise self._pace.too_slow(started=started) from None
        finally:
            if response is not None:
                with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True):
                    await response.aclose()
        if not finished:
            raise StreamBroken("The stream ended before the answer did.")
        if usage is not None:
            yield _as_usage(usage)


class _Lines:
    """Pieces of a stream of server-sent events enter; the `data` of each line leaves."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise StreamBroken(f"An event of over {MAX_LINE_BYTES:,} bytes came.")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]


def _chunk(line: bytes) -> _Chunk:
    try:
        chunk = _decode(line)
    except (ValueError, RecursionError) as error:  # Also what is no UTF-8, or nested too deeply.
        raise StreamBroken(f"An event came that is no chunk of a completion: {error}.") from None
    if chunk.error is not None:
        raise Refused.of_event(chunk.error)
    return chunk


def _events(chunk: _Chunk) -> list[ModelEvent]:
    if not chunk.choices:
        return []
    choice = chunk.choices[0]
    events: list[ModelEvent] = []
    if choice.delta is not None:
        if thought := choice.delta.reasoning_content or choice.delta.reasoning:
            events.append(ReasoningDelta(thought))
        if text := choice.delta.content:
            events.append(TextDelta(text))
    match choice.finish_reason:
        case "length" | "content_filter" as reason:
            events.append(Finish(reason))
        case str():
            events.append(Finish("stop"))
    return events


def _as_usage(usage: _Usage) -> Usage:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_tokens=(prompt and prompt.cached_tokens) or 0,
        reasoning_tokens=(completion and completion.reasoning_tokens) or 0,
    )


async def _beginning(response: httpx.Response) -> bytes:
    """What an error says, bounded."""
    body = b""
    pieces: AsyncIterator[bytes] = response.aiter_raw()
    async for piece in pieces:
        body += piece
        if len(body) > MAX_ERROR_BYTES:
            break
    return body

"""A model at an OpenAI-compatible address: chat messages enter, deltas and the usage of one call leave.

Speaks `POST /chat/completions` with SSE by itself, at a small part of what litellm needs for a token.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgspec

from codeact.models import ChatMessage, Finish, ModelEvent, ReasoningDelta, Sampling, TextDelta, Usage
from codeact.models.attempts import Pace, guessed, retried
from codeact.models.direct_errors import Refused, StreamBroken, failure
from codeact.models.failures import Asked

if TYPE_CHECKING:
    import aiohttp  # Where it is used it is imported there: a server listens 90 ms earlier.

__all__ = ["DirectModel"]

LOOK_S = 0.05
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
        self._session: aiohttp.ClientSession | None = None

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
        session, self._session = self._session, None
        if session is not None:
            await session.close()

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

    async def _post(self, body: bytes) -> "aiohttp.ClientResponse":
        import aiohttp

        if self._session is None:
            # No proxy stands between us and a model on this machine. Timeouts are ours: they name their setting.
            local = urlsplit(self._url).hostname in LOOPBACK
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                trust_env=not local,
            )
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
        }
        return await self._session.post(self._url, data=body, headers=headers, allow_redirects=False)

    async def _attempt(self, body: bytes) -> AsyncGenerator[ModelEvent, None]:
        clock = asyncio.get_running_loop().time
        first_token_at = clock() + self._pace.first_token_timeout_s
        started = finished = False
        usage: _Usage | None = None
        try:
            async with asyncio.timeout_at(first_token_at):
                response = await self._post(body)
                if response.status != 200:
                    async with response:
                        words = await _beginning(response)
                    raise Refused(response.status, words, response.headers.get("retry-after"))
        except TimeoutError:
            raise self._pace.too_slow(started=False) from None
        lines = _Lines()
        with _Patience(response, first_token_at) as patience:
            while piece := await patience.read():
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
                    patience.until(clock() + self._pace.token_timeout_s)
            if patience.is_over:
                raise self._pace.too_slow(started=started)
        if not finished:
            raise StreamBroken("The stream ended before the answer did.")
        if usage is not None:
            yield _as_usage(usage)


class _Patience:
    """Reads a response and closes it when the next piece is overdue. A timeout around each read would cost more.

    Leaving closes the response, unless it was read to its end.
    """

    def __init__(self, response: "aiohttp.ClientResponse", deadline: float) -> None:
        self.is_over = False
        self._response = response
        self._deadline = deadline
        self._reads = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_at(deadline, self._look)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if not self._response.content.at_eof():
            self._response.close()

    def until(self, deadline: float) -> None:
        """Moves the deadline, in the loop's time. What is spent between two reads is the reader's own."""
        self._deadline = deadline
        if deadline < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._look)

    async def read(self) -> bytes:
        """What has come since; nothing at the end, also at one that we made."""
        from aiohttp import ClientError

        self._reads = True
        try:
            return await self._response.content.readany()
        except ClientError:
            if self.is_over:
                return b""
            raise
        finally:
            self._reads = False

    def _look(self) -> None:
        now = self._loop.time()
        if self._reads and now >= self._deadline:
            self.is_over = True
            self._response.close()
        else:
            self._timer = self._loop.call_at(max(self._deadline, now + LOOK_S), self._look)


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


async def _beginning(response: "aiohttp.ClientResponse") -> bytes:
    """What an error says, bounded."""
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_ERROR_BYTES:
            break
    return body

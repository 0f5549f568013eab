"""A model at an OpenAI-compatible address, called with our own HTTP client.

It uses `POST /chat/completions` with SSE directly, at a small part of the CPU time that litellm needs per token.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from codeact import telemetry
from codeact.loopback import is_loopback
from codeact.model import ChatMessage, ModelEvent, Sampling, Usage
from codeact.models.openai_compatible.answer import Answer, Answering
from codeact.models.openai_compatible.errors import Refused, failure
from codeact.models.openai_compatible.timed_reader import TimedReader
from codeact.models.openai_compatible.tokenizer import ANSWER_BYTES, Tokenizer
from codeact.models.openai_compatible.window import of_models, of_props
from codeact.models.shared.errors import Endpoint
from codeact.models.shared.fallbacks import AS_IT_IS
from codeact.models.shared.joining import joined
from codeact.models.shared.ollama import DEFAULT_TOKENS, of_ps, of_show
from codeact.models.shared.retry import Retries, StreamTimeouts, estimated_usage
from codeact.thread_imports import import_in_thread
from sandbox_pool import json_size

if TYPE_CHECKING:
    import aiohttp  # Imported at the first use, so that a server listens 90 ms earlier.

__all__ = ["DirectModel"]

UNKNOWN = -1
WINDOW_TIMEOUT_S = 2.0
MOST_VALUES, DEEPEST = 50_000, 100
"""Limits for an answer about a model. A list of several hundred models is smaller."""

MAX_ERROR_BYTES = 100_000


class DirectModel:
    """One model. Each timeout is for one attempt. An attempt that fails before its first delta is repeated, at most
    `retries` times.

    `name` is our name for the model, `model` the server's; `key_names` are environment variables that may hold its key.
    An instance belongs to one event loop; call `close` there.
    """

    dialects: frozenset[str] = frozenset({"tags", "tool_call"})
    parameters: frozenset[str] = frozenset(
        {"stop", "seed", "top_k", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs"}
    )
    path = "/chat/completions"

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
        key_names: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self._model = model
        self._base = api_base.rstrip("/")
        if f".{urlsplit(api_base).hostname}".endswith(".api.openai.com"):
            self.parameters -= {"top_k"}
        self._url = f"{self._base}{self.path}"
        self._endpoint = Endpoint(name, api_base, key_names=key_names, has_key=api_key is not None)
        self._key = api_key or "none"
        self._timeouts = StreamTimeouts(name, first_token_timeout_s, token_timeout_s)
        self._retries = retries
        self._form = AS_IT_IS
        self._session: aiohttp.ClientSession | None = None
        self._window: int | None = UNKNOWN
        self._tokenizer: Tokenizer | None = None

    async def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        """See `Model.stream`. Attempts and events share one generator: a further one costs time per token."""
        clock = asyncio.get_running_loop().time
        retries = Retries(
            lambda error: failure(error, self._endpoint),
            retries=self._retries,
            adapt=self._adapt,
            loading_s=self._timeouts.first_token_timeout_s,
        )
        while True:
            started = False
            first_token_at = clock() + self._timeouts.first_token_timeout_s
            try:
                opened, answer = await self._open(messages, sampling, first_token_at)
                with opened as reader:
                    while piece := await reader.read():
                        for event in joined(answer.feed(piece)):
                            started = True
                            yield event
                        if answer.is_over:
                            break
                        if started:
                            reader.until(clock() + self._timeouts.token_timeout_s)
                    if reader.is_over:
                        raise self._timeouts.too_slow(started=started)
                for event in answer.finish():
                    started = True
                    yield event
                return
            except Exception as error:
                await retries.wait_after(error, started=started)

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        """See `Model.estimate`. Estimated from the length, since we do not have the server's tokenizer."""
        return estimated_usage([str(message.content) for message in messages], output)

    async def close(self) -> None:
        """Closes the open connections. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _adapt(self, words: str) -> bool:
        """Changes the form of requests if the server's error text refuses it; returns whether to try again."""
        form = self._form.after(words)
        self._form = form or self._form
        return form is not None

    def _body(self, messages: Sequence[ChatMessage], sampling: Sampling) -> bytes:
        body = {"model": self._model, **self._form.request(messages, sampling)}
        return msgspec.json.encode({name: value for name, value in body.items() if value is not None})

    def _answer(self) -> Answering:
        """Makes the parser for the body of one response."""
        return Answer()

    async def window_tokens(self) -> int | None:
        """The model's context window in tokens, as its server reports it; None if it does not.

        The answer is cached. Each request takes at most `WINDOW_TIMEOUT_S`. Never raises.
        """
        if self._window == UNKNOWN:
            listed = await self._look(f"{self._base}/models")
            window = of_models(listed, self._model) or of_props(await self._look(f"{self._root}/props"))
            if window is None and listed is not None:
                window, is_certain = await self._ollama_window()
                if window is not None and not is_certain:
                    return window  # Not cached: the exact size is known when the model runs.
            if listed is None and window is None:
                return None  # Not cached: the server may be starting.
            self._window = window
        return self._window

    async def count_tokens(self, text: str) -> int | None:
        """Counts the text's tokens with the server's tokenizer; None if it offers none. Never raises."""
        if self._tokenizer is None:
            self._tokenizer = Tokenizer(self._root, self._model, self._posted)
        return await self._tokenizer.count(text)

    @property
    def _root(self) -> str:
        return self._base.removesuffix("/v1")

    @property
    def _is_local(self) -> bool:
        """No proxy stands between us and a model on this machine."""
        return is_loopback(urlsplit(self._url).hostname)

    async def _ollama_window(self) -> tuple[int | None, bool]:
        """Ollama's context length for the model, and whether it is exact (not the default); None if
        it is not Ollama.
        """
        shown = await self._posted(f"{self._root}/api/show", {"model": self._model})
        answer = _decoded(shown[1]) if shown is not None and shown[0] == 200 else None
        if answer is None:
            return None, False
        running = of_ps(await self._look(f"{self._root}/api/ps"), self._model)
        chosen, longest = of_show(answer)
        return running or chosen or min(longest or DEFAULT_TOKENS, DEFAULT_TOKENS), bool(running or chosen)

    async def _look(self, url: str) -> Any:
        """A small JSON answer; None if there is none."""
        answer = await self._asked("GET", url)
        return _decoded(answer[1]) if answer is not None and answer[0] == 200 else None

    async def _posted(self, url: str, body: dict[str, Any]) -> tuple[int, bytes] | None:
        return await self._asked("POST", url, msgspec.json.encode(body))

    async def _asked(self, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes] | None:
        """Status and body of an answer about the model; None if there is none in time."""
        session = await self._opened()
        import aiohttp

        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            async with asyncio.timeout(WINDOW_TIMEOUT_S):
                request = session.request(method, url, data=body, headers=headers, allow_redirects=False)
                async with request as response:
                    return response.status, await _beginning(response, ANSWER_BYTES)
        except (aiohttp.ClientError, OSError, ValueError):
            return None

    async def _opened(self) -> "aiohttp.ClientSession":
        await import_in_thread("aiohttp")
        import aiohttp

        if self._session is None:
            # We use our own timeouts, whose errors name the setting.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                trust_env=not self._is_local,
            )
        return self._session

    async def _post(self, body: bytes) -> "aiohttp.ClientResponse":
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            **telemetry.headers(),
        }
        session = await self._opened()
        return await session.post(self._url, data=body, headers=headers, allow_redirects=False)

    async def _open(
        self, messages: Sequence[ChatMessage], sampling: Sampling, deadline: float
    ) -> tuple[TimedReader, Answering]:
        """Sends the request; returns a reader and a parser of its answer. Raises the errors of `_respond`."""
        response = await self._respond(self._body(messages, sampling), deadline)

        def leave() -> None:
            if not response.content.at_eof():
                response.close()

        reader = TimedReader(response.content.readany, close=response.close, leave=leave, deadline=deadline)
        return reader, self._answer()

    async def _respond(self, body: bytes, deadline: float) -> "aiohttp.ClientResponse":
        """Posts the request; returns the response with its body unread. Raises `Refused` for an error response."""
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._post(body)
                if response.status != 200:
                    async with response:
                        words = await _beginning(response)
                    raise Refused(response.status, words, response.headers.get("retry-after"))
        except TimeoutError:
            raise self._timeouts.too_slow(started=False) from None
        return response


def _decoded(body: bytes) -> Any:
    """Decodes a small answer; None if it is not valid JSON or too complex."""
    try:
        json_size.check(body, most=MOST_VALUES, depth=DEEPEST)
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None


async def _beginning(response: "aiohttp.ClientResponse", most_bytes: int = MAX_ERROR_BYTES) -> bytes:
    """The beginning of a body: an error or a short answer."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most_bytes:
            break
    return bytes(body)

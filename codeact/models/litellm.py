"""Any provider that litellm knows: chat messages enter, deltas and the usage of one call leave.

The first call waits for litellm's import, which `preload` starts early.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import anyio

from codeact.models import (
    ChatMessage,
    Finish,
    ModelEvent,
    ReasoningDelta,
    Sampling,
    TextDelta,
    Usage,
)
from codeact.models.attempts import Pace, guessed, retried
from codeact.models.failures import Asked
from codeact.models.litellm_errors import bad_name, failure
from codeact.models.litellm_loading import CLOSE_DEADLINE_S, close, preload

__all__ = ["LiteLLMModel", "close", "preload"]


class LiteLLMModel:
    """One model. Each timeout is for one attempt; `retries` attempts follow a failed one, before the first delta.

    With `api_base`, a name whose prefix is no provider is the name of a model at an OpenAI-compatible server.
    """

    def __init__(
        self,
        name: str,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        first_token_timeout_s: float = 120.0,
        token_timeout_s: float = 30.0,
        retries: int = 2,
    ) -> None:
        self.name = name
        self._api_base = api_base
        self._api_key = api_key
        self._pace = Pace(name, first_token_timeout_s, token_timeout_s)
        self._retries = retries

    async def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        """See `Model.stream`."""
        litellm = await asyncio.wrap_future(preload())
        model, provider = self._resolve(litellm)
        request = self._request(model, provider, messages, sampling)
        attempts = retried(
            lambda: self._attempt(litellm, request),
            lambda exception: failure(exception, self._asked(litellm, model, provider)),
            retries=self._retries,
        )
        async with aclosing(attempts) as events:
            async for event in events:
                yield event

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        """See `Model.estimate`. Counted with the tokenizer litellm has for the model, else by length."""
        litellm = await asyncio.wrap_future(preload())
        return await asyncio.to_thread(self._estimate, litellm, _as_dicts(messages), output)

    def _resolve(self, litellm: Any) -> tuple[str, str]:
        """The name as litellm takes it, and its provider."""
        prefix, slash, _ = self.name.partition("/")
        known = bool(slash) and prefix in {str(getattr(p, "value", p)) for p in litellm.provider_list}
        model = self.name if known or self._api_base is None else f"openai/{self.name}"
        try:
            return model, str(litellm.get_llm_provider(model)[1])
        except Exception:
            raise bad_name(self.name) from None

    def _asked(self, litellm: Any, model: str, provider: str) -> Asked:
        missing = litellm.validate_environment(model).get("missing_keys") or ()
        keys = tuple(name for name in missing if name.endswith("_API_KEY")) or tuple(missing)
        has_key = self._api_key is not None or self._api_base is not None or not keys
        return Asked(self.name, self._api_base, provider, keys, has_key)

    def _request(
        self, model: str, provider: str, messages: Sequence[ChatMessage], sampling: Sampling
    ) -> dict[str, Any]:
        key = self._api_key
        if key is None and provider == "openai" and self._api_base is not None:
            key = "none"  # The user's OpenAI key is for OpenAI, not for whoever answers at this address.
        request = {
            "model": model,
            "messages": _as_dicts(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_output_tokens,
            "reasoning_effort": sampling.reasoning_effort,
            "api_base": self._api_base,
            "api_key": key,
            # Longer than ours, which say which setting they are.
            "timeout": 2 * max(self._pace.first_token_timeout_s, self._pace.token_timeout_s),
            "max_retries": 0,
            "drop_params": True,
        }
        return {name: value for name, value in request.items() if value is not None}

    async def _attempt(self, litellm: Any, request: dict[str, Any]) -> AsyncGenerator[ModelEvent, None]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._pace.first_token_timeout_s
        started = False
        stream: Any = None
        try:
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        if stream is None:
                            stream = await litellm.acompletion(**request)
                        chunk = await anext(stream, None)
                except TimeoutError:
                    raise self._pace.too_slow(started=started) from None
                if chunk is None:
                    return
                events = _events(chunk)
                for event in events:
                    started = True
                    yield event
                if not events and (usage := getattr(chunk, "usage", None)):
                    yield await asyncio.to_thread(_usage, litellm, request["model"], usage, stream.chunks)
                if started:
                    deadline = clock() + self._pace.token_timeout_s
        finally:
            if stream is not None:
                with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True):
                    await stream.aclose()

    def _estimate(self, litellm: Any, messages: list[dict[str, Any]], output: str) -> Usage:
        try:
            model, _ = self._resolve(litellm)
            input_tokens = litellm.token_counter(model=model, messages=messages)
            output_tokens = litellm.token_counter(model=model, text=output)
        except Exception:
            return guessed([str(message["content"]) for message in messages], output)
        return Usage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost_usd=_cost_usd(litellm, model, prompt_tokens=input_tokens, completion_tokens=output_tokens),
            estimated=True,
        )


def _as_dicts(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _events(chunk: Any) -> list[ModelEvent]:
    if not chunk.choices:
        return []
    choice = chunk.choices[0]
    events: list[ModelEvent] = []
    if thought := getattr(choice.delta, "reasoning_content", None):
        events.append(ReasoningDelta(thought))
    if text := choice.delta.content:
        events.append(TextDelta(text))
    if reason := choice.finish_reason:
        events.append(Finish(reason if reason in ("length", "content_filter") else "stop"))
    return events


def _usage(litellm: Any, model: str, usage: Any, chunks: list[Any]) -> Usage:
    """What the provider said; litellm counts by itself, and does not tell, where it said nothing."""
    cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
    reasoning = getattr(getattr(usage, "completion_tokens_details", None), "reasoning_tokens", None)
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_tokens=cached or 0,
        reasoning_tokens=reasoning or 0,
        cost_usd=_cost_usd(litellm, model, usage_object=usage),
        estimated=not any(getattr(chunk, "usage", None) for chunk in chunks[-5:]),
    )


def _cost_usd(litellm: Any, model: str, **tokens: Any) -> float | None:
    """None when litellm has no price: it raises a bare Exception then."""
    try:
        input_usd, output_usd = litellm.cost_per_token(model=model, **tokens)
    except Exception:
        return None
    return float(input_usd + output_usd)

"""A model that is called through litellm, for any provider that litellm supports.

The first call waits for litellm's import, which `preload` starts early.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import anyio

from codeact import telemetry
from codeact.model import ChatMessage, ModelEvent, Sampling, Usage
from codeact.models.litellm.cache_marks import takes_cache_marks, with_cache_marks
from codeact.models.litellm.errors import bad_name, failure
from codeact.models.litellm.loading import CLOSE_DEADLINE_S, check_installed, close, preload
from codeact.models.litellm.streams import Body, Chunks, with_signatures
from codeact.models.shared.errors import Endpoint
from codeact.models.shared.fallbacks import AS_IT_IS
from codeact.models.shared.ollama import OllamaWindow
from codeact.models.shared.retry import Retries, StreamTimeouts, estimated_usage, retrying

__all__ = ["LiteLLMModel", "close", "preload"]

TAKES_TOP_K = frozenset({"anthropic", "gemini", "ollama", "ollama_chat"})
"""Providers to which litellm passes `top_k` on."""
FORMATTING = frozenset({"azure", "openai"})
"""Providers that can combine a response format with tools.

For the others, litellm turns the format into a tool, or they refuse it.
"""


class LiteLLMModel:
    """One model. Each timeout is for one attempt. An attempt that fails before its first delta is repeated, at most
    `retries` times.

    With `api_base`, a name whose prefix is not a provider names a model at an OpenAI-compatible server.
    """

    dialects = frozenset({"tags", "tool_call"})

    def __init__(
        self,
        name: str,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        first_token_timeout_s: float = 120.0,
        token_timeout_s: float = 30.0,
        retries: int = 2,
        window_tokens: int | None = None,
    ) -> None:
        self.name = name
        self.parameters = frozenset({"stop", "top_k"} if name.partition("/")[0] in TAKES_TOP_K else {"stop"})
        self._api_base = api_base
        self._api_key = api_key
        self._timeouts = StreamTimeouts(name, first_token_timeout_s, token_timeout_s)
        self._retries = retries
        self._form = AS_IT_IS
        self._set_window = window_tokens
        self._ollama: OllamaWindow | None = None

    async def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        """See `Model.stream`. Raises `ConfigurationError` if litellm is not installed."""
        check_installed(self.name)
        litellm = await asyncio.wrap_future(preload())
        model, provider = self._resolve(litellm)
        num_ctx = await self._num_ctx(model, provider)
        attempts = retrying(
            lambda: self._attempt(litellm, self._request(model, provider, messages, sampling) | num_ctx),
            Retries(
                lambda exception: failure(exception, self._endpoint(litellm, model, provider)),
                retries=self._retries,
                adapt=self._adapt,
                loading_s=self._timeouts.first_token_timeout_s,
            ),
        )
        async with aclosing(attempts) as events:
            async for event in events:
                yield event

    def _adapt(self, words: str) -> bool:
        """Changes the form of requests if the server's error text refuses it; returns whether to try again."""
        form = self._form.after(words)
        self._form = form or self._form
        return form is not None

    async def window_tokens(self) -> int | None:
        """The model's context window as given by Ollama or litellm's table; None if unknown."""
        try:
            litellm = await asyncio.wrap_future(preload())
            model, provider = self._resolve(litellm)
            if num_ctx := await self._num_ctx(model, provider):
                return num_ctx["num_ctx"]
            size = litellm.get_model_info(model).get("max_input_tokens")
        except Exception:  # litellm is not installed, or raises a bare Exception for an unknown model.
            return None
        return size if isinstance(size, int) and size > 0 else None

    async def _num_ctx(self, model: str, provider: str) -> dict[str, int]:
        """The context length to request from Ollama, which silently cuts longer prompts and has a short default."""
        if provider not in ("ollama", "ollama_chat"):
            return {}
        if self._set_window is not None:
            return {"num_ctx": self._set_window}
        self._ollama = self._ollama or OllamaWindow(model.partition("/")[2], self._api_base)
        window = await self._ollama.tokens()
        return {} if window is None else {"num_ctx": window}

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        """See `Model.estimate`. Counted with litellm's tokenizer for the model, or estimated from the length."""
        litellm = await asyncio.wrap_future(preload())
        return await asyncio.to_thread(self._estimate, litellm, AS_IT_IS.messages(messages), output)

    def _resolve(self, litellm: Any) -> tuple[str, str]:
        """The model's name in litellm's form, and its provider."""
        prefix, slash, _ = self.name.partition("/")
        known = bool(slash) and prefix in {str(getattr(p, "value", p)) for p in litellm.provider_list}
        model = self.name if known or self._api_base is None else f"openai/{self.name}"
        try:
            return model, str(litellm.get_llm_provider(model)[1])
        except Exception:
            raise bad_name(self.name) from None

    def _endpoint(self, litellm: Any, model: str, provider: str) -> Endpoint:
        missing = litellm.validate_environment(model).get("missing_keys") or ()
        keys = tuple(name for name in missing if name.endswith("_API_KEY")) or tuple(missing)
        has_key = self._api_key is not None or self._api_base is not None or not keys
        return Endpoint(self.name, self._api_base, provider, keys, has_key)

    def _request(
        self, model: str, provider: str, messages: Sequence[ChatMessage], sampling: Sampling
    ) -> dict[str, Any]:
        key = self._api_key
        if key is None and provider == "openai" and self._api_base is not None:
            key = "none"  # The user's OpenAI key is for OpenAI, not for another server at this address.
        if provider not in FORMATTING:
            sampling = replace(sampling, answer_format=None)
        request = {
            "model": model,
            **self._form.request(messages, sampling),
            "api_base": self._api_base,
            "api_key": key,
            # Longer than our own timeouts, whose errors name the setting.
            "timeout": 2 * max(self._timeouts.first_token_timeout_s, self._timeouts.token_timeout_s),
            "max_retries": 0,
            "drop_params": True,
            "extra_headers": telemetry.headers() or None,
        }
        request["messages"] = [with_signatures(message) for message in request["messages"]]
        if takes_cache_marks(provider, model):
            request["messages"] = with_cache_marks(request["messages"])
        return {name: value for name, value in request.items() if value is not None}

    async def _attempt(self, litellm: Any, request: dict[str, Any]) -> AsyncGenerator[ModelEvent, None]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._timeouts.first_token_timeout_s
        started = False
        stream: Any = None
        answer: Body | Chunks | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        if answer is None:
                            stream = await litellm.acompletion(**request)
                            # Repetition is detected elsewhere, in the same way for all adapters.
                            stream.raise_on_model_repetition = _accept
                            response = getattr(getattr(stream, "completion_stream", None), "response", None)
                            answer = Chunks(stream) if response is None else Body(response)
                        events = await answer.next()
                except TimeoutError:
                    raise self._timeouts.too_slow(started=started) from None
                if events is None:
                    break
                for event in events:
                    started = True
                    yield event
                if started:
                    deadline = clock() + self._timeouts.token_timeout_s
            for event in answer.finish():
                yield event
            if answer.usage is not None:
                yield await asyncio.to_thread(_usage, litellm, request["model"], answer.usage)
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
            return estimated_usage([str(message["content"]) for message in messages], output)
        return Usage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost_usd=_cost_usd(litellm, model, prompt_tokens=input_tokens, completion_tokens=output_tokens),
            estimated=True,
        )


def _accept() -> None:
    """Replaces a check of litellm that we do not want."""


def _usage(litellm: Any, model: str, usage: Usage) -> Usage:
    """Adds the price, if litellm knows one."""
    counted = litellm.Usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        prompt_tokens_details={"cached_tokens": usage.cached_tokens},
    )
    usage.cost_usd = _cost_usd(litellm, model, usage_object=counted)
    return usage


def _cost_usd(litellm: Any, model: str, **tokens: Any) -> float | None:
    """None if litellm has no price for the model: it raises a bare Exception then."""
    try:
        input_usd, output_usd = litellm.cost_per_token(model=model, **tokens)
    except Exception:
        return None
    return float(input_usd + output_usd)

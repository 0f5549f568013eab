"""Finds out how many tokens of a prompt Ollama passes to a model, from `/api/show` and `/api/ps`.

Ollama silently cuts the beginning of longer prompts. `num_ctx` in the model's file decides, or else the server's
default, which the list of running models shows. The model's own context length is the maximum.
"""

import os
import re
from typing import Any

import httpx
import msgspec

from sandbox_pool import json_size

__all__ = ["DEFAULT_TOKENS", "OllamaWindow", "of_ps", "of_show"]

DEFAULT_TOKENS = 4_096
"""Ollama's default."""
WANTED_TOKENS = 8_192
"""What we request if the model's file sets nothing: an agent needs more than the default, but memory is scarce."""
MOST_TOKENS = 100_000_000
MOST_VALUES, DEEPEST = 2_000_000, 100
"""A model's description can contain its whole vocabulary."""
ANSWER_BYTES = 4_000_000
TIMEOUT_S = 2.0
PARAMETERS_CHARS = 20_000
_NUM_CTX = re.compile(r"^[ \t]*num_ctx[ \t]+(\d{1,9})[ \t\r]*$", re.MULTILINE)


class OllamaWindow:
    """Asks Ollama for a model's context length, once, over its own API, where each request may set `num_ctx`.

    `api_base` None: OLLAMA_API_BASE or this machine, like litellm.
    """

    def __init__(self, model: str, api_base: str | None) -> None:
        base = api_base or os.environ.get("OLLAMA_API_BASE") or "http://localhost:11434"
        self._url = f"{base.rstrip('/').removesuffix('/v1')}/api/show"
        self._model = model
        self._tokens: int | None = None

    async def tokens(self) -> int | None:
        """The `num_ctx` in the model's file, or else `WANTED_TOKENS` (at most the model's maximum); None if nobody
        answers.
        """
        if self._tokens is None:
            try:
                async with (
                    httpx.AsyncClient(timeout=TIMEOUT_S) as client,
                    client.stream("POST", self._url, json={"model": self._model}) as response,
                ):
                    answer = json_of(await _bounded(response)) if response.status_code == 200 else None
            except (httpx.HTTPError, OSError, ValueError):
                return None
            chosen, longest = of_show(answer)
            self._tokens = chosen or (min(longest, WANTED_TOKENS) if longest else None)
        return self._tokens


async def _bounded(response: httpx.Response) -> bytes:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > ANSWER_BYTES:
            raise ValueError("the answer is too long")
    return body


def json_of(body: bytes) -> Any:
    """Decodes a small answer; None if it is not valid JSON or too complex."""
    try:
        json_size.check(body, most=MOST_VALUES, depth=DEEPEST)
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None


def of_show(answer: Any) -> tuple[int | None, int | None]:
    """From `/api/show`: the `num_ctx` in the model's file, and the model's maximum context length."""
    if not isinstance(answer, dict):
        return None, None
    parameters, info = answer.get("parameters"), answer.get("model_info")
    found = _NUM_CTX.search(parameters[:PARAMETERS_CHARS]) if isinstance(parameters, str) else None
    lengths = [
        length
        for name, value in (info.items() if isinstance(info, dict) else ())
        if str(name).endswith(".context_length") and (length := _tokens(value)) is not None
    ]
    return (_tokens(int(found[1])) if found else None), (lengths[0] if lengths else None)


def of_ps(answer: Any, model: str) -> int | None:
    """From `/api/ps`: the context length with which a running model was loaded."""
    models = answer.get("models") if isinstance(answer, dict) else None
    for entry in models if isinstance(models, list) else ():
        if isinstance(entry, dict) and entry.get("name") in (model, f"{model}:latest"):
            return _tokens(entry.get("context_length"))
    return None


def _tokens(value: Any) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 < value < MOST_TOKENS else None

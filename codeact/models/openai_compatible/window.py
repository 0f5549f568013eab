"""Reads the size of a model's context window from its server's answers. Pure.

vLLM and SGLang report it in `/v1/models` (`max_model_len`), as do LM Studio and hosted lists of models under other
names. llama.cpp reports the size of one of its slots in `/props` (`n_ctx`).
"""

from typing import Any

__all__ = ["of_models", "of_props"]

NAMES = ("max_model_len", "loaded_context_length", "context_length", "max_context_length", "context_window", "n_ctx")
MOST_TOKENS = 100_000_000


def of_models(answer: Any, model: str) -> int | None:
    """The window in a list of models; None if the server does not report it."""
    listed = answer.get("data") if isinstance(answer, dict) else None
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and entry.get("id") == model:
            meta = entry.get("meta")
            places = [entry, meta] if isinstance(meta, dict) else [entry]
            return next((size for place in places for name in NAMES if (size := _tokens(place.get(name)))), None)
    return None


def of_props(answer: Any) -> int | None:
    """The window in llama.cpp's `/props`; None if it is not such an answer."""
    settings = answer.get("default_generation_settings") if isinstance(answer, dict) else None
    return _tokens(settings.get("n_ctx")) if isinstance(settings, dict) else None


def _tokens(value: Any) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 < value < MOST_TOKENS else None

"""Which models to talk to: settings enter; the models, why they were chosen and what would change it leave.

Configured names are taken as they are. Without one, servers on loopback are asked, all at once and for a moment;
a provider's key in the environment is never used unasked, since that costs money.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import httpx

from codeact.models import Model
from codeact.models.demo import DemoModel
from codeact.models.direct import DirectModel
from codeact.models.litellm import LiteLLMModel, preload
from codeact.models.litellm import close as close_litellm
from codeact.models.providers import name_at
from codeact.models.served import Served
from codeact.settings import Settings

__all__ = ["DEFAULT_PROBES", "Found", "Probe", "find_models"]

PROBE_TIMEOUT_S = 0.3
MOST_NAMES = 100
DEMO = "demo"

_KEYS = {
    "OPENAI_API_KEY": "openai/gpt-4.1",
    "ANTHROPIC_API_KEY": "anthropic/claude-sonnet-4-5",
    "GEMINI_API_KEY": "gemini/gemini-2.5-flash",
    "MISTRAL_API_KEY": "mistral/mistral-large-latest",
    "GROQ_API_KEY": "groq/llama-3.3-70b-versatile",
    "OPENROUTER_API_KEY": "openrouter/auto",
}


@dataclass(frozen=True, slots=True)
class Found:
    """`why` is half a line for the terminal; `hint`, where there is one, a line that brings in another model.

    `close` ends the models' connections; call it in the event loop that used them, before that ends.
    """

    served: Served
    why: str
    hint: str | None = None
    close: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint


@dataclass(frozen=True, slots=True)
class Probe:
    """A model server that may run here: what to ask, and how its answer names models."""

    server: str
    base_url: str
    path: str
    names: Callable[[Any], list[str]]


def _ollama_names(answer: Any) -> list[str]:
    return [model["name"] for model in answer["models"]]


def _openai_names(answer: Any) -> list[str]:
    """Our own server lists its models in the same way, and is not one."""
    return [model["id"] for model in answer["data"] if model.get("owned_by") != "codeact"]


def _vllm_names(answer: Any) -> list[str]:
    return [model["id"] for model in answer["data"] if model.get("owned_by") == "vllm"]


DEFAULT_PROBES: tuple[Probe, ...] = (
    Probe("Ollama", "http://127.0.0.1:11434", "/api/tags", _ollama_names),
    Probe("llama.cpp", "http://127.0.0.1:8080", "/v1/models", _openai_names),
    Probe("LM Studio", "http://127.0.0.1:1234", "/v1/models", _openai_names),
    Probe("vLLM", "http://127.0.0.1:8000", "/v1/models", _vllm_names),
)
"""In order of preference."""


async def find_models(
    settings: Settings,
    *,
    probes: Sequence[Probe] = DEFAULT_PROBES,
    environ: Mapping[str, str] = os.environ,
) -> Found:
    """The configured models, else all that answer on loopback, else the demo. Never raises.

    Takes no longer than the slowest probe may. A model that needs litellm starts importing it.
    """
    if settings.served_models:
        why = "CODEACT_MODELS names them" if settings.models else "CODEACT_MODEL names it"
        return _found(_configured(settings), why)
    answers: dict[str, list[str]] = {}
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S) as client,
        anyio.create_task_group() as asking,
    ):
        for probe in probes:
            asking.start_soon(_ask, client, probe, answers)
    answering = [probe for probe in probes if answers.get(probe.server)]
    models = [
        _direct(settings, name, name, f"{probe.base_url}/v1", None)
        for probe in answering
        for name in answers[probe.server]
    ]
    if models:
        why = ", ".join(f"{probe.server} answers at {probe.base_url}" for probe in answering)
        return _found(models, why, "CODEACT_MODEL=… names another one")
    why = "no CODEACT_MODEL is set, and no model server answers on this machine"
    return _found([DemoModel()], why, _hint(settings, environ))


def _found(models: Sequence[Model], why: str, hint: str | None = None) -> Found:
    async def close() -> None:
        for model in models:
            if isinstance(model, DirectModel):
                await model.close()
        if any(isinstance(model, LiteLLMModel) for model in models):
            await close_litellm()

    return Found(Served(models), why, hint, close)


def _configured(settings: Settings) -> list[Model]:
    """CODEACT_MODEL_API_BASE and _KEY are for the models of the default one's provider: no other gets to see them."""
    key = settings.model_api_key.get_secret_value() if settings.model_api_key else None
    mine = _provider(settings, settings.served_models[0])
    models: list[Model] = []
    for name in settings.served_models:
        api_base, api_key = (settings.model_api_base, key) if _provider(settings, name) == mine else (None, None)
        known_as = name_at(name)
        if name == DEMO:
            models.append(DemoModel())
        elif api_base is not None and known_as is not None:
            models.append(_direct(settings, name, known_as, api_base, api_key))
        else:
            preload()
            models.append(LiteLLMModel(name, api_base=api_base, api_key=api_key, **_pace(settings)))
    return models


def _provider(settings: Settings, name: str) -> str:
    """Who is asked for the model; empty for the server at CODEACT_MODEL_API_BASE."""
    if settings.model_api_base is not None and name_at(name) is not None:
        return ""
    prefix, slash, _ = name.partition("/")
    return prefix if slash else "openai"


def _direct(settings: Settings, name: str, known_as: str, api_base: str, api_key: str | None) -> DirectModel:
    return DirectModel(name, model=known_as, api_base=api_base, api_key=api_key, **_pace(settings))


def _pace(settings: Settings) -> dict[str, Any]:
    return {
        "first_token_timeout_s": settings.model_first_token_timeout_s,
        "token_timeout_s": settings.model_token_timeout_s,
        "retries": settings.model_retries,
    }


async def _ask(client: httpx.AsyncClient, probe: Probe, answers: dict[str, list[str]]) -> None:
    """Notes the models that can chat. Whoever answers anything else is not the server we look for."""
    with anyio.move_on_after(PROBE_TIMEOUT_S):
        try:
            response = await client.get(probe.base_url + probe.path)
            found = probe.names(response.raise_for_status().json())
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
            return
        chatting = [name for name in found if isinstance(name, str) and name and "embed" not in name.lower()]
        answers[probe.server] = chatting[:MOST_NAMES]


def _hint(settings: Settings, environ: Mapping[str, str]) -> str:
    if settings.model_api_base is not None:
        return f"CODEACT_MODEL=… names the model to ask for at {settings.model_api_base}"
    for key, model in _KEYS.items():
        if environ.get(key):
            return f"CODEACT_MODEL={model} uses your {key} (not done unasked, since it costs money)"
    return "CODEACT_MODEL=… adds a model: provider/model, for example openai/gpt-4.1 or ollama_chat/qwen3"

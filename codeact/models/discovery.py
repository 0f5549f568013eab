"""Which model to talk to: settings enter; a model, why it was chosen and what would change it leave.

A configured name is taken as it is. Without one, servers on loopback are asked, all at once and for a moment;
a provider's key in the environment is never used unasked, since that costs money.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

from codeact.models import Model
from codeact.models.demo import DemoModel
from codeact.models.litellm import LiteLLMModel, preload
from codeact.settings import Settings

__all__ = ["DEFAULT_PROBES", "Found", "Probe", "find_model"]

PROBE_TIMEOUT_S = 0.3

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
    """`why` is half a line for the terminal; `hint`, where there is one, a line that brings in another model."""

    model: Model
    why: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """A model server that may run here: what to ask, and how its answer names models."""

    server: str
    base_url: str
    path: str
    names: Callable[[Any], list[str]]
    prefix: str = "openai/"
    api_path: str = "/v1"


def _ollama_names(answer: Any) -> list[str]:
    return [model["name"] for model in answer["models"]]


def _openai_names(answer: Any) -> list[str]:
    """Our own server lists its models in the same way, and is not one."""
    return [model["id"] for model in answer["data"] if model.get("owned_by") != "codeact"]


def _vllm_names(answer: Any) -> list[str]:
    return [model["id"] for model in answer["data"] if model.get("owned_by") == "vllm"]


DEFAULT_PROBES: tuple[Probe, ...] = (
    Probe("Ollama", "http://127.0.0.1:11434", "/api/tags", _ollama_names, "ollama_chat/", ""),
    Probe("llama.cpp", "http://127.0.0.1:8080", "/v1/models", _openai_names),
    Probe("LM Studio", "http://127.0.0.1:1234", "/v1/models", _openai_names),
    Probe("vLLM", "http://127.0.0.1:8000", "/v1/models", _vllm_names),
)
"""In order of preference."""


async def find_model(
    settings: Settings,
    *,
    probes: Sequence[Probe] = DEFAULT_PROBES,
    environ: Mapping[str, str] = os.environ,
) -> Found:
    """The configured model, else the first that answers on loopback, else the demo. Never raises.

    Takes no longer than the slowest probe may. A litellm model starts importing litellm.
    """
    if settings.model == "demo":
        return Found(DemoModel(), "CODEACT_MODEL names it")
    if settings.model is not None:
        key = settings.model_api_key.get_secret_value() if settings.model_api_key else None
        return Found(_litellm(settings, settings.model, settings.model_api_base, key), "CODEACT_MODEL names it")
    names: dict[str, str] = {}
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S) as client,
        anyio.create_task_group() as asking,
    ):
        for probe in probes:
            asking.start_soon(_ask, client, probe, names)
    for probe in probes:
        if name := names.get(probe.server):
            model = _litellm(settings, probe.prefix + name, probe.base_url + probe.api_path, None)
            return Found(model, f"{probe.server} answers at {probe.base_url}", "CODEACT_MODEL=… names another one")
    why = "no CODEACT_MODEL is set, and no model server answers on this machine"
    return Found(DemoModel(), why, _hint(settings, environ))


def _litellm(settings: Settings, name: str, api_base: str | None, api_key: str | None) -> LiteLLMModel:
    preload()
    return LiteLLMModel(
        name,
        api_base=api_base,
        api_key=api_key,
        first_token_timeout_s=settings.model_first_token_timeout_s,
        token_timeout_s=settings.model_token_timeout_s,
        retries=settings.model_retries,
    )


async def _ask(client: httpx.AsyncClient, probe: Probe, names: dict[str, str]) -> None:
    """Notes the first model that can chat. Whoever answers anything else is not the server we look for."""
    with anyio.move_on_after(PROBE_TIMEOUT_S):
        try:
            response = await client.get(probe.base_url + probe.path)
            found = probe.names(response.raise_for_status().json())
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
            return
        chatting = (name for name in found if isinstance(name, str) and "embed" not in name.lower())
        if name := next(chatting, None):
            names[probe.server] = name


def _hint(settings: Settings, environ: Mapping[str, str]) -> str:
    if settings.model_api_base is not None:
        return f"CODEACT_MODEL=… names the model to ask for at {settings.model_api_base}"
    for key, model in _KEYS.items():
        if environ.get(key):
            return f"CODEACT_MODEL={model} uses your {key} (not done unasked, since it costs money)"
    return "CODEACT_MODEL=… adds a model: provider/model, for example openai/gpt-4.1 or ollama_chat/qwen3"

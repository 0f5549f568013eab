"""Chooses the models to use: the configured ones, or model servers found on loopback, or the demo model.

Configured names are used without a check. If there are none, all known servers on loopback are asked at once, with a
short timeout. A provider's key in the environment is never used unasked, because that costs money.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio
import anyio.lowlevel
import httpx

from codeact.errors import ConfigurationError
from codeact.model import Model
from codeact.models.demo.model import DemoModel
from codeact.models.litellm.client import LiteLLMModel, preload
from codeact.models.litellm.client import close as close_litellm
from codeact.models.litellm.loading import check_installed
from codeact.models.openai_compatible.client import DirectModel
from codeact.models.providers import RESPONSES_SERVERS, name_at
from codeact.models.registry import ModelRegistry
from codeact.models.responses_api.client import ResponsesModel
from codeact.models.responses_api.socket_client import ResponsesSocketModel
from codeact.settings import Settings

__all__ = ["DEFAULT_PROBES", "Found", "Probe", "find_models", "needs_litellm", "search"]

PROBE_TIMEOUT_S = 0.3
LATER_TIMEOUT_S, LATER_PAUSE_S = 10.0, 3.0
"""For the search that continues while the demo serves: nobody waits for it, so its timeout is long."""
LOADING_WAIT_S, SLOW_WAIT_S = 60.0, 3.0
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
    """The models that were found.

    `why` says in half a line, for the terminal, how they were chosen; `hint` is a line about using another model, or
    None. `is_stopgap`: no model was configured or found, and `search` continues. `close` closes the models'
    connections; call it in the event loop that used them, before that loop ends.
    """

    registry: ModelRegistry
    why: str
    hint: str | None = None
    close: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint
    is_stopgap: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """A model server that may run on this machine: where to ask, and how to read model names from its answer."""

    server: str
    base_url: str
    path: str
    names: Callable[[Any], list[str]]


def _ollama_names(answer: Any) -> list[str]:
    return [model["name"] for model in answer["models"]]


def _openai_names(answer: Any) -> list[str]:
    """Leaves out the models of our own server, which answers in the same format."""
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
    probes: Sequence[Probe] | None = None,
    environ: Mapping[str, str] = os.environ,
    waits: bool = False,
) -> Found:
    """Returns the configured models, or all that answer on loopback, or the demo.

    Takes at most as long as the timeout of the slowest probe. `waits`: also wait for a server that is loading its model
    (up to a minute) or slow (up to three seconds). If a model needs litellm, its import is started. Raises
    `ConfigurationError` if litellm is needed and not installed, and nothing else.
    """
    if settings.served_models:
        why = "CODEACT_MODELS names them" if settings.models else "CODEACT_MODEL names it"
        return _found(_configured(settings, environ), why)
    begun = anyio.current_time()
    look = await _look(settings, probes, PROBE_TIMEOUT_S)
    while waits and not look.models and anyio.current_time() - begun < look.worth_waiting_s:
        await anyio.sleep(PROBE_TIMEOUT_S)
        look = await _look(settings, probes, LATER_TIMEOUT_S if look.worth_waiting_s > SLOW_WAIT_S else SLOW_WAIT_S)
    if look.models:
        return _found(look.models, look.why, _ANOTHER)
    why = "no CODEACT_MODEL is set, and no model server answers on this machine"
    return _found([DemoModel()], why, _hint(settings, environ), is_stopgap=True)


async def search(
    settings: Settings, found: Found, *, probes: Sequence[Probe] | None = None, pause_s: float = LATER_PAUSE_S
) -> Found:
    """Polls until a model server answers and puts its models first among those that are served.

    Returns what was found. Cancelling stops the search.
    """
    while True:
        await anyio.sleep(pause_s)
        look = await _look(settings, probes, LATER_TIMEOUT_S)
        if look.models:
            found.registry.put_first(look.models)
            return replace(found, why=look.why, hint=_ANOTHER, is_stopgap=False)


_ANOTHER = "CODEACT_MODEL=… names another one"


@dataclass(slots=True)
class _Look:
    """What the servers on loopback answered to one round of probes.

    `worth_waiting_s`: how long it makes sense to wait.
    """

    models: list[Model]
    why: str
    worth_waiting_s: float


async def _look(settings: Settings, probes: Sequence[Probe] | None, timeout_s: float) -> _Look:
    probes = DEFAULT_PROBES if probes is None else probes
    answers: dict[str, list[str]] = {}
    waits_s: list[float] = [0.0]
    async with (
        httpx.AsyncClient(trust_env=False, timeout=timeout_s) as client,
        anyio.create_task_group() as asking,
    ):
        for probe in probes:
            asking.start_soon(_ask, client, probe, answers, waits_s, timeout_s)
    answering = [probe for probe in probes if answers.get(probe.server)]
    models: list[Model] = [
        _direct(settings, name, name, f"{probe.base_url}/v1", None)
        for probe in answering
        for name in answers[probe.server]
    ]
    why = ", ".join(f"{probe.server} answers at {probe.base_url}" for probe in answering)
    return _Look(models, why, max(waits_s))


def _found(models: Sequence[Model], why: str, hint: str | None = None, *, is_stopgap: bool = False) -> Found:
    registry = ModelRegistry(models)

    async def close() -> None:
        for model in registry.models:
            if isinstance(model, DirectModel):
                await model.close()
        if any(isinstance(model, LiteLLMModel) for model in registry.models):
            await close_litellm()

    return Found(registry, why, hint, close, is_stopgap)


def needs_litellm(settings: Settings) -> bool:
    """Whether a configured model is neither the demo nor served at CODEACT_MODEL_API_BASE."""
    names = settings.served_models
    is_served = bool(names) and _provider(settings, names[0]) == ""
    return any(
        name != DEMO and settings.options_of(name).api == "chat" and not (is_served and _provider(settings, name) == "")
        for name in names
    )


def _configured(settings: Settings, environ: Mapping[str, str]) -> list[Model]:
    """Makes the configured models. Only models of the default one's provider get CODEACT_MODEL_API_BASE and _KEY."""
    key = settings.model_api_key.get_secret_value() if settings.model_api_key else None
    mine = _provider(settings, settings.served_models[0])
    models: list[Model] = []
    for name in settings.served_models:
        api_base, api_key = (settings.model_api_base, key) if _provider(settings, name) == mine else (None, None)
        known_as = name_at(name)
        if name == DEMO:
            models.append(DemoModel())
        elif settings.options_of(name).api != "chat":
            models.append(_responses(settings, name, api_base, api_key, environ))
        elif api_base is not None and known_as is not None:
            models.append(_direct(settings, name, known_as, api_base, api_key))
        else:
            check_installed(name)
            preload()
            window = settings.options_of(name).window_tokens
            models.append(
                LiteLLMModel(name, api_base=api_base, api_key=api_key, window_tokens=window, **_timeouts(settings))
            )
    return models


def _provider(settings: Settings, name: str) -> str:
    """The provider of the model; empty for the server at CODEACT_MODEL_API_BASE."""
    if settings.model_api_base is not None and name_at(name) is not None:
        return ""
    prefix, slash, _ = name.partition("/")
    return prefix if slash else "openai"


def _direct(settings: Settings, name: str, known_as: str, api_base: str, api_key: str | None) -> DirectModel:
    return DirectModel(name, model=known_as, api_base=api_base, api_key=api_key, **_timeouts(settings))


def _responses(
    settings: Settings, name: str, api_base: str | None, api_key: str | None, environ: Mapping[str, str]
) -> ResponsesModel:
    """The model at CODEACT_MODEL_API_BASE, or at its provider's address. Raises `ConfigurationError` without either."""
    prefix, slash, rest = name.partition("/")
    provider = prefix if slash else "openai"
    known_as = name_at(name) or rest
    variables: tuple[str, ...] = ()
    if api_base is None:
        if provider not in RESPONSES_SERVERS:
            names = ", ".join(f"{each}/" for each in RESPONSES_SERVERS)
            raise ConfigurationError(
                f"'{name};api={settings.options_of(name).api}' needs CODEACT_MODEL_API_BASE, the address of a server"
                f" that speaks the Responses API. Without it, names may begin with {names}.",
                param="CODEACT_MODELS",
            )
        api_base, variable = RESPONSES_SERVERS[provider]
        known_as, variables, api_key = rest or name, (variable,), api_key or environ.get(variable)
    kind = ResponsesSocketModel if settings.options_of(name).api == "responses-ws" else ResponsesModel
    return kind(name, model=known_as, api_base=api_base, api_key=api_key, key_names=variables, **_timeouts(settings))


def _timeouts(settings: Settings) -> dict[str, Any]:
    return {
        "first_token_timeout_s": settings.model_first_token_timeout_s,
        "token_timeout_s": settings.model_token_timeout_s,
        "retries": settings.model_retries,
    }


async def _ask(
    client: httpx.AsyncClient,
    probe: Probe,
    answers: dict[str, list[str]],
    waits_s: list[float],
    timeout_s: float,
) -> None:
    """Asks one server and notes its chat models. An unexpected answer means that it is another kind of server."""
    with anyio.move_on_after(timeout_s) as scope:
        try:
            response = await client.get(probe.base_url + probe.path)
            if response.status_code == 503:
                waits_s.append(LOADING_WAIT_S)
            found = probe.names(response.raise_for_status().json())
        except httpx.ReadTimeout:
            waits_s.append(SLOW_WAIT_S)
            return
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
            return
        chatting = [name for name in found if isinstance(name, str) and name and "embed" not in name.lower()]
        answers[probe.server] = chatting[:MOST_NAMES]
    if scope.cancelled_caught:
        waits_s.append(SLOW_WAIT_S)


def _hint(settings: Settings, environ: Mapping[str, str]) -> str:
    if settings.model_api_base is not None:
        return f"CODEACT_MODEL=… names the model to ask for at {settings.model_api_base}"
    for key, model in _KEYS.items():
        if environ.get(key):
            return f"CODEACT_MODEL={model} uses your {key} (not done unasked, since it costs money)"
    return "CODEACT_MODEL=… adds a model: provider/model, for example openai/gpt-4.1 or ollama_chat/qwen3"

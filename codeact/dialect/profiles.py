"""Chooses the dialect with which a model works best, by the model's name.

Hosted and large models do better with tool calls, small ones with tags (Wang et al. 2024, and later measurements). A
model whose name matches no pattern gets tags, which every model can write.
"""

import re
from dataclasses import dataclass
from weakref import WeakSet

from codeact.dialect.base import NAMES, Dialect, Name
from codeact.dialect.freeform import Freeform
from codeact.dialect.tags import Tags
from codeact.dialect.tool_call import ToolCalls
from codeact.errors import InvalidRequest
from codeact.model import Model

__all__ = ["Profile", "dialect_for", "learn_no_tools", "profile_of"]

NAME_CHARS = 500
ERROR_CHARS = 2_000
_NO_TOOLS = re.compile(
    r"(?:not|n't|un)[ -]?support\w{0,3}.{0,40}\btools?\b"
    r"|\b(?:tools?|tool_choice|function calling)\b.{0,60}(?:not|un)[ -]?support"
    r"|enable-auto-tool-choice|tools? param requires|tool use is not",
    re.IGNORECASE,
)
_NO_CUSTOM = re.compile(
    r"custom.{0,40}\btools?\b.{0,60}(?:not|n't|un|in)[ -]?(?:support|allow|valid)"
    r"|(?:not|n't|un)[ -]?support.{0,60}\bcustom\b"
    r"|invalid.{0,40}\bcustom\b|tools?\b.{0,20}\btype\b.{0,60}(?:must be|should be|expected|only).{0,20}function",
    re.IGNORECASE,
)
_WITHOUT_TOOLS: WeakSet[Model] = WeakSet()
_WITHOUT_CUSTOM: WeakSet[Model] = WeakSet()


@dataclass(frozen=True, slots=True)
class Profile:
    """What we assume of a model by its name.

    `sees`: it accepts images. `freeform`: it supports `custom` tools, and uses them if its server is called through the
    Responses API. `formats`: its provider enforces a JSON schema on a reply even if the request has tools.
    `window_tokens` is its context window, used if its server does not report one.
    """

    dialect: Name = "tags"
    sees: bool = False
    freeform: bool = False
    formats: bool = False
    window_tokens: int | None = None


_START = r"(?:^|[/:@.])"
_PROFILES: tuple[tuple[re.Pattern[str], Profile], ...] = tuple(
    (re.compile(_START + pattern, re.IGNORECASE), profile)
    for pattern, profile in (
        # Their tokenizers include the ChatML template, so every server renders messages as in their training.
        (r"codeact-?agent-mistral", Profile(window_tokens=32_768)),
        (r"codeact-?agent-llama", Profile(window_tokens=4_096)),
        (r"gpt-oss", Profile("tool_call")),
        (r"gpt-[5-9]", Profile("tool_call", sees=True, freeform=True, formats=True)),
        (r"(?:chatgpt-|gpt-(?:4o|4\.[15]|4-turbo))", Profile("tool_call", sees=True, formats=True)),
        (r"o[1-9](?:-mini|-pro)?(?![a-z0-9])", Profile("tool_call", sees=True, formats=True)),
        (r"claude-", Profile("tool_call", sees=True)),
        (r"gemini-", Profile("tool_call", sees=True)),
        (r"grok-[2-9]", Profile("tool_call")),
        (r"(?:deepseek-chat|deepseek-v[3-9])", Profile("tool_call")),
        (r"kimi-k[2-9]", Profile("tool_call")),
        (r"glm-(?:4\.[5-9]|[5-9])", Profile("tool_call")),
        (r"minimax-m[1-9]", Profile("tool_call")),
        (r"(?:mistral-large|mistral-medium|devstral|codestral)", Profile("tool_call")),
        (r"(?:qwen3-max|qwen3-coder-(?:plus|480b))", Profile("tool_call")),
        (
            r"(?:qwen[\d.]*-?vl|llava|pixtral|internvl|minicpm-v|gemma-?3|llama-?4|llama-?3\.2-(?:11|90)b)",
            Profile(sees=True),
        ),
    )
)


def profile_of(name: str) -> Profile:
    """Returns the profile of the first pattern that this name matches, or the default profile."""
    name = name[:NAME_CHARS]
    return next((profile for pattern, profile in _PROFILES if pattern.search(name)), Profile())


def learn_no_tools(model: Model, error: str) -> bool:
    """Checks whether this error text of the model's server rejects tools; if so, returns True and remembers it.

    From then on `dialect_for` gives this model tags, or `tool_call` instead of `freeform` if the server rejects only
    `custom` tools.
    """
    if _NO_CUSTOM.search(error[:ERROR_CHARS]) and model not in _WITHOUT_CUSTOM:
        _WITHOUT_CUSTOM.add(model)
        return True
    if not _NO_TOOLS.search(error[:ERROR_CHARS]):
        return False
    _WITHOUT_TOOLS.add(model)
    return True


def dialect_for(
    model: Model, demanded: Name | None = None, *, preferred: Name | None = None, shows_images: bool | None = None
) -> Dialect:
    """Returns the dialect `demanded`, else `preferred` if the model's client supports it, else that of its profile.

    A model with an attribute `dialect` always gets that one. `shows_images` says whether a model with tags gets the
    images that its code displayed. Raises `InvalidRequest` if the model's client does not support `demanded`.
    """
    own: Dialect | None = getattr(model, "dialect", None)
    if own is not None:
        return own
    can: frozenset[str] = getattr(model, "dialects", frozenset({"tags"}))
    if demanded is not None and demanded not in can:
        raise InvalidRequest(
            f"The model '{model.name[:200]}' cannot act by '{demanded}' here: that takes {_NEEDS[demanded]}. It can by"
            f" {' or '.join(repr(each) for each in NAMES if each in can)}; CODEACT_DIALECT=auto chooses.",
            param="codeact:dialect",
        )
    profile = profile_of(model.name)
    if model in _WITHOUT_CUSTOM:
        can -= {"freeform"}
    by_profile = ("freeform" if profile.freeform else None, profile.dialect)
    wanted = (demanded,) if model in _WITHOUT_TOOLS else (demanded, preferred, *by_profile)
    match next((name for name in wanted if name in can), "tags"):
        case "tool_call":
            return ToolCalls()
        case "freeform":
            return Freeform()
        case _:
            return Tags(shows_images=bool(shows_images))


_NEEDS = {
    "tags": "text",
    "tool_call": "a provider's function calls",
    "freeform": "a server that speaks the Responses API (NAME;api=responses in CODEACT_MODELS)",
}

"""The tools that a request may name: what asks for exactly what the server does is accepted, the rest refused."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.errors import InvalidRequest
from codeact.settings import Settings

__all__ = [
    "AutoContainer",
    "CodeInterpreterTool",
    "DisabledNetwork",
    "FunctionTool",
    "MemoryLimit",
    "NoEntries",
    "ProgrammaticTool",
    "Tool",
    "check_container",
    "check_tools",
]

MemoryLimit = Literal["1g", "4g", "16g", "64g"]
NoEntries = Annotated[list[Any], Meta(max_length=0)]
MEMORY_MB: dict[MemoryLimit, int] = {"1g": 1024, "4g": 4096, "16g": 16_384, "64g": 65_536}


class DisabledNetwork(msgspec.Struct, tag="disabled", forbid_unknown_fields=True):
    """No network, as sandboxes are unless CODEACT_SANDBOX_NETWORK says otherwise."""


class AutoContainer(msgspec.Struct, tag="auto", forbid_unknown_fields=True):
    """The conversation's own sandbox; there is no other. Its size and network are the operator's."""

    file_ids: NoEntries | None = None
    memory_limit: MemoryLimit | None = None
    network_policy: DisabledNetwork | None = None
    skills: NoEntries | None = None


class CodeInterpreterTool(msgspec.Struct, tag="code_interpreter", forbid_unknown_fields=True):
    """Always on. Named in `tools`, it asks for nothing more, unless by a container's id for that one's conversation."""

    container: AutoContainer | Annotated[str, Meta(max_length=100)] | None = None
    allowed_callers: list[Literal["direct"]] | None = None


class FunctionTool(msgspec.Struct, tag="function", forbid_unknown_fields=True):
    """A function of the client's: Python in the sandbox, called by the model's code, answered by the next request."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    strict: bool | None = None
    allowed_callers: list[Literal["direct", "programmatic"]] | None = None
    defer_loading: Literal[False] | None = None
    is_async: Literal[False] | None = msgspec.field(default=None, name="async")


class ProgrammaticTool(msgspec.Struct, tag="programmatic_tool_calling", forbid_unknown_fields=True):
    """Code calls functions: what the server does with all of them anyway."""


Tool = CodeInterpreterTool | FunctionTool | ProgrammaticTool


def check_tools(tools: Iterable[Tool], settings: Settings) -> None:
    """Raises `InvalidRequest` for what this server's sandboxes and functions are not."""
    for index, tool in enumerate(tools):
        match tool:
            case CodeInterpreterTool(AutoContainer() as container):
                place = f"tools[{index}].container."
                check_container(container.memory_limit, container.network_policy, settings, place)
            case FunctionTool(allowed_callers=list(callers)) if callers and "programmatic" not in callers:
                raise InvalidRequest(
                    "Functions are called by code alone here; let 'allowed_callers' hold 'programmatic'.",
                    param=f"tools[{index}].allowed_callers",
                )


def check_container(
    memory_limit: MemoryLimit | None, network_policy: DisabledNetwork | None, settings: Settings, place: str = ""
) -> None:
    """Raises `InvalidRequest` where another size or network is asked for than every sandbox has."""
    if memory_limit is not None and MEMORY_MB[memory_limit] != settings.memory_mb:
        raise InvalidRequest(
            f"Sandboxes have {settings.memory_mb} MB here (CODEACT_MEMORY_MB), not {memory_limit}; leave it out.",
            param=f"{place}memory_limit",
        )
    if network_policy is not None and settings.sandbox_network != "none":
        raise InvalidRequest(
            f"Sandboxes have a network here (CODEACT_SANDBOX_NETWORK={settings.sandbox_network}).",
            param=f"{place}network_policy",
        )

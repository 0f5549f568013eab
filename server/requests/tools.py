"""The tools that a request may name. Options that match what the server does are accepted; others are refused."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.errors import InvalidRequest
from codeact.server.requests.client_tools import (
    CustomTool,
    FunctionTool,
    NamespaceTool,
    ProgrammaticTool,
    ToolSearchTool,
)
from codeact.server.requests.mcp_tools import McpTool, check_servers
from codeact.settings import Settings
from codeact.skills.staged import MOST_SKILLS

__all__ = [
    "AutoContainer",
    "CodeInterpreterTool",
    "DisabledNetwork",
    "FileIds",
    "InlineSkill",
    "MemoryLimit",
    "NoEntries",
    "SkillReference",
    "Tool",
    "check_container",
    "check_tools",
    "memory_of",
]

MemoryLimit = Literal["1g", "4g", "16g", "64g"]
FileIds = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=50)]
NoEntries = Annotated[list[Any], Meta(max_length=0)]
MEMORY_MB: dict[MemoryLimit, int] = {"1g": 1024, "4g": 4096, "16g": 16_384, "64g": 65_536}


class ShellEnvironment(msgspec.Struct, tag="container_auto", forbid_unknown_fields=True):
    """The conversation's own sandbox."""


class DisabledNetwork(msgspec.Struct, forbid_unknown_fields=True):
    """No network. This is the default for sandboxes; CODEACT_SANDBOX_NETWORK changes it."""

    type: Literal["disabled"]


class SkillReference(msgspec.Struct, tag="skill_reference", forbid_unknown_fields=True):
    """A skill of `/v1/skills`: a version's number, `latest`, or without `version` the default."""

    skill_id: Annotated[str, Meta(max_length=100)]
    version: Annotated[str, Meta(max_length=20)] | int | None = None


class InlineSource(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["base64"]
    media_type: Literal["application/zip"]
    data: str


class InlineSkill(msgspec.Struct, tag="inline", forbid_unknown_fields=True):
    """A skill for this request alone, as a zip archive. Its `SKILL.md` must have the same name."""

    name: Annotated[str, Meta(max_length=64)]
    description: Annotated[str, Meta(max_length=1024)]
    source: InlineSource


class AutoContainer(msgspec.Struct, tag="auto", forbid_unknown_fields=True):
    """The conversation's own sandbox; there is no other. The operator decides its size and network.

    The files of `file_ids` are written into its working directory.
    """

    file_ids: FileIds | None = None
    memory_limit: MemoryLimit | None = None
    network_policy: DisabledNetwork | None = None
    skills: Annotated[list[SkillReference | InlineSkill], Meta(max_length=MOST_SKILLS)] | None = None


class ShellTool(msgspec.Struct, tag="shell", forbid_unknown_fields=True):
    """Shell commands in the conversation's own sandbox. A client's own shell (`local`) is not served."""

    environment: ShellEnvironment | None = None
    allowed_callers: list[Literal["direct", "programmatic"]] | None = None


class CodeInterpreterTool(msgspec.Struct, tag="code_interpreter", forbid_unknown_fields=True):
    """Code execution, which is always on. A container's id asks for the conversation of that container."""

    container: AutoContainer | Annotated[str, Meta(max_length=100)] | None = None
    allowed_callers: list[Literal["direct"]] | None = None


Tool = (
    CodeInterpreterTool
    | FunctionTool
    | CustomTool
    | NamespaceTool
    | ToolSearchTool
    | ProgrammaticTool
    | McpTool
    | ShellTool
)


def check_tools(tools: Sequence[Tool], settings: Settings) -> None:
    """Raises `InvalidRequest` for options that this server's sandboxes and functions do not have."""
    check_servers(tools, settings)
    for index, tool in enumerate(tools):
        match tool:
            case CodeInterpreterTool(AutoContainer() as container):
                place = f"tools[{index}].container."
                check_container(container.memory_limit, container.network_policy, settings, place)
            case FunctionTool() | CustomTool() | ShellTool():
                _check_callers(tool, f"tools[{index}]")
            case NamespaceTool(tools=inner):
                for at, each in enumerate(inner):
                    _check_callers(each, f"tools[{index}].tools[{at}]")


def _check_callers(tool: FunctionTool | CustomTool | ShellTool, place: str) -> None:
    if tool.allowed_callers and "programmatic" not in tool.allowed_callers:
        raise InvalidRequest(
            "Only code calls functions here; add 'programmatic' to 'allowed_callers'.", param=f"{place}.allowed_callers"
        )


def memory_of(limit: MemoryLimit | None) -> int | None:
    """The limit in megabytes."""
    return MEMORY_MB[limit] if limit is not None else None


def check_container(
    memory_limit: MemoryLimit | None, network_policy: DisabledNetwork | None, settings: Settings, place: str = ""
) -> None:
    """Raises `InvalidRequest` if the size is over the operator's limit, or the network is not what sandboxes have."""
    memory_mb = memory_of(memory_limit)
    if memory_mb is not None and memory_mb != settings.memory_mb and memory_mb > (settings.memory_mb_max or 0):
        most = max(settings.memory_mb, settings.memory_mb_max or 0)
        raise InvalidRequest(
            f"Sandboxes have {settings.memory_mb} MB here (CODEACT_MEMORY_MB), and at most {most} MB"
            f" (CODEACT_MEMORY_MB_MAX), not {memory_limit}; leave it out.",
            param=f"{place}memory_limit",
        )
    if network_policy is not None and settings.sandbox_network != "none":
        raise InvalidRequest(
            f"Sandboxes have a network here (CODEACT_SANDBOX_NETWORK={settings.sandbox_network}).",
            param=f"{place}network_policy",
        )

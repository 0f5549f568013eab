"""The tools that a request may name. Options that match what the server does are accepted; others are refused."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.errors import InvalidRequest
from codeact.runs.client_tools import (
    CustomTool,
    FunctionTool,
    NamespaceTool,
    ProgrammaticTool,
    ToolSearchTool,
    check_callers,
)
from codeact.server.requests.containers import FileIds, MemoryLimit, NetworkPolicy, container_options
from codeact.server.requests.mcp_tools import McpTool, check_servers
from codeact.settings import Settings
from codeact.skills.staged import MOST_SKILLS
from codeact.workspaces.options import ContainerOptions

__all__ = [
    "AutoContainer",
    "CodeInterpreterTool",
    "InlineSkill",
    "SkillReference",
    "Skills",
    "Tool",
    "check_tools",
    "options_of",
]


class ShellEnvironment(msgspec.Struct, tag="container_auto", forbid_unknown_fields=True):
    """The conversation's own sandbox."""


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


Skills = Annotated[list[SkillReference | InlineSkill], Meta(max_length=MOST_SKILLS)]


class AutoContainer(msgspec.Struct, tag="auto", forbid_unknown_fields=True):
    """The conversation's own sandbox; there is no other. The operator decides its largest size and what it may reach.

    The files of `file_ids` are written into its working directory.
    """

    file_ids: FileIds | None = None
    memory_limit: MemoryLimit | None = None
    network_policy: NetworkPolicy | None = None
    skills: Skills | None = None


class LocalEnvironment(msgspec.Struct, tag="local", forbid_unknown_fields=True):
    """The client's own machine: code waits until the client's next request has the output."""

    skills: Annotated[list[Any], Meta(max_length=0)] | None = None


class ShellTool(msgspec.Struct, tag="shell", forbid_unknown_fields=True):
    """Shell commands in the conversation's own sandbox, or by the client (`local`)."""

    environment: ShellEnvironment | LocalEnvironment | None = None
    allowed_callers: list[Literal["direct", "programmatic"]] | None = None


class LocalShellTool(msgspec.Struct, tag="local_shell", forbid_unknown_fields=True):
    """A command that the client runs."""


class ApplyPatchTool(msgspec.Struct, tag="apply_patch", forbid_unknown_fields=True):
    """Changes of files in the conversation's own sandbox, by diffs."""

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
    | LocalShellTool
    | ApplyPatchTool
)


def check_tools(tools: Sequence[Tool], settings: Settings) -> None:
    """Raises `InvalidRequest` for options that this server's functions do not have."""
    check_servers(tools, settings)
    for index, tool in enumerate(tools):
        match tool:
            case FunctionTool() | CustomTool() | ShellTool() | ApplyPatchTool():
                check_callers(tool.allowed_callers, f"tools[{index}]")
            case NamespaceTool(tools=inner):
                for at, each in enumerate(inner):
                    check_callers(each.allowed_callers, f"tools[{index}].tools[{at}]")
            case ToolSearchTool(execution, description, parameters) if execution != "client":
                _check_server_search(description, parameters, f"tools[{index}]")


def options_of(tools: Sequence[Tool], settings: Settings, *, embedded: bool) -> ContainerOptions:
    """What the tools ask of the container. Raises `InvalidRequest`, naming what this server does not allow."""
    options = ContainerOptions()
    for index, tool in enumerate(tools):
        if isinstance(tool, CodeInterpreterTool) and isinstance(container := tool.container, AutoContainer):
            asked = container_options(
                container.memory_limit,
                container.network_policy,
                settings,
                embedded=embedded,
                place=f"tools[{index}].container.",
            )
            options = asked.over(options)
    return options


def _check_server_search(description: str | None, parameters: dict[str, Any] | None, place: str) -> None:
    for name, value in (("description", description), ("parameters", parameters)):
        if value is not None:
            raise InvalidRequest(
                f"'{name}' is for a search that the client carries out: leave it out, or send 'execution': 'client'.",
                param=f"{place}.{name}",
                code="unsupported_parameter",
            )

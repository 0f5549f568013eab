"""Checks what clients send about profiles, and makes what they read of them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from codeact.errors import InvalidRequest
from codeact.server.requests.mcp_tools import SECRETS, McpTool, check_servers
from codeact.settings import Settings
from codeact.store import Profile, UploadedFile

__all__ = [
    "MOST_FILES",
    "ProfileBody",
    "ProfileChange",
    "ProfileFile",
    "ProfileObject",
    "ShareProfile",
    "SharedProfile",
    "shape",
    "shared_shape",
    "stored_values",
]

MOST_FILES, MOST_SERVERS = 20, 8
MOST_TOOL_BYTES = 50_000

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Description = Annotated[str, Meta(max_length=500)]
Instructions = Annotated[str, Meta(max_length=20_000)]
ModelName = Annotated[str, Meta(max_length=300)]
Effort = Literal["", "none", "minimal", "low", "medium", "high", "xhigh", "max"]
Servers = Annotated[list[McpTool], Meta(max_length=MOST_SERVERS)]
Files = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=MOST_FILES)]


class ProfileBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`tools` are MCP servers, without keys. `file_ids` are uploaded files, which the profile gets copies of."""

    name: Name
    description: Description = ""
    instructions: Instructions = ""
    model: ModelName = ""
    effort: Effort = ""
    tools: Servers = []
    file_ids: Files = []


class ProfileChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is. `file_ids` replaces the files: the profile's own ones stay if they are named."""

    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    instructions: Instructions | UnsetType = UNSET
    model: ModelName | UnsetType = UNSET
    effort: Effort | UnsetType = UNSET
    tools: Servers | UnsetType = UNSET
    file_ids: Files | UnsetType = UNSET


class ShareProfile(msgspec.Struct, forbid_unknown_fields=True):
    """`files`: whoever copies the profile also gets the contents of its files."""

    files: bool = False


class ProfileFile(msgspec.Struct):
    id: str
    filename: str
    bytes: int


class ProfileLink(msgspec.Struct):
    token: str
    files: bool


class ProfileObject(msgspec.Struct, kw_only=True):
    """`request` has the fields of a create request that asks with this profile. Times are Unix seconds."""

    id: str
    name: str
    description: str
    instructions: str
    model: str
    effort: str
    tools: list[dict[str, Any]]
    files: list[ProfileFile]
    share: ProfileLink | None
    created_at: int
    updated_at: int
    request: dict[str, Any]
    object: Literal["codeact:profile"] = "codeact:profile"


class SharedFile(msgspec.Struct):
    filename: str
    bytes: int


class SharedServer(msgspec.Struct):
    server_label: str
    server_url: str
    server_description: str


class SharedProfile(msgspec.Struct, kw_only=True):
    """What somebody with the link reads. `gives_files`: a copy has the contents of the files, too."""

    name: str
    description: str
    instructions: str
    model: str
    effort: str
    tools: list[SharedServer]
    files: list[SharedFile]
    gives_files: bool
    object: Literal["codeact:shared_profile"] = "codeact:shared_profile"


def stored_values(body: ProfileBody | ProfileChange, settings: Settings) -> dict[str, Any]:
    """The fields to store, without the files. Raises `InvalidRequest`, which names the parameter."""
    values: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET and name != "file_ids"
    }
    if "name" in values:
        values["name"] = " ".join(values["name"].split())
        if not values["name"].isprintable() or not values["name"]:
            raise InvalidRequest("'name' must have letters or digits, and no control characters.", param="name")
    if isinstance(body.tools, list):
        _check_tools(body.tools, settings)
        values["tools"] = msgspec.to_builtins([_without_nulls(tool) for tool in body.tools])
    return values


def shape(profile: Profile, files: Sequence[UploadedFile]) -> ProfileObject:
    """The profile for its owner. `files` are those that still exist."""
    return ProfileObject(
        id=profile.id,
        name=profile.name,
        description=profile.description,
        instructions=profile.instructions,
        model=profile.model,
        effort=profile.effort,
        tools=list(profile.tools),
        files=[ProfileFile(file.id, file.filename, file.size_bytes) for file in files],
        share=ProfileLink(profile.token, profile.gives_files) if profile.token is not None else None,
        created_at=int(profile.created_at),
        updated_at=int(profile.updated_at),
        request=_request(profile, files),
    )


def shared_shape(profile: Profile, files: Sequence[UploadedFile]) -> SharedProfile:
    """The profile for those who have its link."""
    return SharedProfile(
        name=profile.name,
        description=profile.description,
        instructions=profile.instructions,
        model=profile.model,
        effort=profile.effort,
        tools=[
            SharedServer(tool["server_label"], tool["server_url"], tool.get("server_description", ""))
            for tool in profile.tools
        ],
        files=[SharedFile(file.filename, file.size_bytes) for file in files],
        gives_files=profile.gives_files,
    )


def _request(profile: Profile, files: Sequence[UploadedFile]) -> dict[str, Any]:
    tools: list[dict[str, Any]] = list(profile.tools)
    if files:
        container = {"type": "auto", "file_ids": [file.id for file in files]}
        tools = [{"type": "code_interpreter", "container": container}, *tools]
    fields = {
        "model": profile.model,
        "instructions": profile.instructions,
        "reasoning": {"effort": profile.effort} if profile.effort else None,
        "tools": tools,
    }
    return {name: value for name, value in fields.items() if value}


def _check_tools(tools: Sequence[McpTool], settings: Settings) -> None:
    for index, tool in enumerate(tools):
        for name in SECRETS:
            if getattr(tool, name) is not None:
                raise InvalidRequest(
                    f"A profile can be shared, so it holds no keys: leave '{name}' out.", param=f"tools[{index}].{name}"
                )
        if "?" in tool.server_url or "#" in tool.server_url:
            raise InvalidRequest(
                "A profile can be shared, so it holds no keys: the URL ends before its '?' or '#'.",
                param=f"tools[{index}].server_url",
            )
    if len(msgspec.json.encode(tools)) > MOST_TOOL_BYTES:
        raise InvalidRequest(f"The tools are over {MOST_TOOL_BYTES:,} bytes; list fewer names.", param="tools")
    check_servers(tools, settings)


def _without_nulls(tool: McpTool) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(tool)
    return {name: value for name, value in plain.items() if value is not None}

"""The tool `mcp` of a request: an MCP server by its URL, whose tools become functions for code."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.errors import InvalidRequest
from codeact.public_addresses import check_url
from codeact.settings import Settings
from codeact.tools.approval import RequireApproval
from codeact.tools.mcp import server_name
from codeact.tools.requested_mcp import RequestedMcp
from sandbox_pool.extras import install_command, missing_extras

__all__ = ["McpTool", "check_servers", "requested_mcp", "without_secrets"]

MOST_SERVERS = 8
SECRETS = ("authorization", "headers")

Names = Annotated[list[Annotated[str, Meta(max_length=128)]], Meta(max_length=256)]
HeaderName = Annotated[str, Meta(max_length=100, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HeaderValue = Annotated[str, Meta(max_length=8_192, pattern=r"^([!-~]([\t -~]*[!-~])?)?$(?!\n)")]


class ToolFilter(msgspec.Struct, forbid_unknown_fields=True):
    """The tools with these names, or those that are marked as only reading."""

    tool_names: Names | None = None
    read_only: bool | None = None


class McpTool(msgspec.Struct, tag="mcp", forbid_unknown_fields=True):
    """An MCP server (streamable HTTP). `headers` and `authorization` are sent to it, and neither stored nor shown.

    Calls wait for approval unless `require_approval` says otherwise. `defer_loading` asks for what happens to many
    tools anyway. The model reads `server_description`.
    """

    server_label: Annotated[str, Meta(min_length=1, max_length=64)]
    server_url: Annotated[str, Meta(max_length=2_000)]
    server_description: Annotated[str, Meta(max_length=2_000)] | None = None
    headers: Annotated[dict[HeaderName, HeaderValue], Meta(max_length=32)] | None = None
    authorization: HeaderValue | None = None
    allowed_tools: Names | ToolFilter | None = None
    require_approval: Literal["always", "never"] | RequireApproval | None = None
    defer_loading: bool | None = None
    allowed_callers: list[Literal["direct", "programmatic"]] | None = None
    connector_id: None = None


def check_servers(tools: Iterable[Any], settings: Settings) -> None:
    """Raises `InvalidRequest` for an MCP server that cannot or must not be used, naming the parameter."""
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        if not isinstance(tool, McpTool):
            continue
        place = f"tools[{index}]"
        if settings.request_mcp == "off":
            raise InvalidRequest("Requests cannot name MCP servers here (CODEACT_REQUEST_MCP=off).", param=place)
        if missing_extras("mcp"):
            raise InvalidRequest(f"This server needs a package for that: {install_command('mcp')}.", param=place)
        try:
            server_name(tool.server_label)
        except ValueError as error:
            raise InvalidRequest(f"{error}.", param=f"{place}.server_label") from None
        try:
            check_url(tool.server_url, allow_private=settings.request_mcp == "any")
        except ValueError as error:
            raise InvalidRequest(f"This URL is not allowed: {error}.", param=f"{place}.server_url") from None
        if tool.allowed_callers and "programmatic" not in tool.allowed_callers:
            raise InvalidRequest("Only code calls tools here; add 'programmatic'.", param=f"{place}.allowed_callers")
        if tool.server_label in seen:
            raise InvalidRequest(f"Two servers have the label '{tool.server_label}'.", param=f"{place}.server_label")
        seen.add(tool.server_label)
    if len(seen) > MOST_SERVERS:
        raise InvalidRequest(f"A request names at most {MOST_SERVERS} MCP servers, not {len(seen)}.", param="tools")


def requested_mcp(tools: Iterable[Any], *, embedded: bool) -> list[RequestedMcp]:
    """The MCP servers among the tools of a request. Raises `InvalidRequest` if an embedded page names one."""
    found = [_requested(tool) for tool in tools if isinstance(tool, McpTool)]
    if found and embedded:
        raise InvalidRequest("An embedded page cannot name MCP servers.", param="tools")
    return found


def _requested(tool: McpTool) -> RequestedMcp:
    allowed = tool.allowed_tools
    headers = {**(tool.headers or {})}
    if tool.authorization is not None:
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        headers["Authorization"] = f"Bearer {tool.authorization}"
    return RequestedMcp(
        label=tool.server_label,
        description=tool.server_description or "",
        url=tool.server_url,
        headers=headers,
        names=allowed.tool_names if isinstance(allowed, ToolFilter) else allowed,
        read_only=allowed.read_only if isinstance(allowed, ToolFilter) else None,
        require_approval=tool.require_approval,
    )


def without_secrets(tools: Iterable[Any]) -> list[dict[str, Any]]:
    """The tools as JSON, for the response, without what only their servers may know and without archives of skills."""
    shown = []
    for tool in tools:
        plain: dict[str, Any] = msgspec.to_builtins(tool)
        if isinstance(tool, McpTool):
            plain = {name: value for name, value in plain.items() if name not in SECRETS}
        for skill in _skills(plain):
            skill.get("source", {}).pop("data", None)
        for secret in _domain_secrets(plain):
            secret.pop("value", None)
        shown.append(plain)
    return shown


def _domain_secrets(plain: dict[str, Any]) -> list[dict[str, Any]]:
    container = plain.get("container")
    policy = container.get("network_policy") if isinstance(container, dict) else None
    return (policy or {}).get("domain_secrets") or []


def _skills(plain: dict[str, Any]) -> list[dict[str, Any]]:
    container = plain.get("container")
    return (container.get("skills") or []) if isinstance(container, dict) else []

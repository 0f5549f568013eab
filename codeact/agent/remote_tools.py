"""Connects to the MCP servers that a request names, and emits the lists of their tools."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec

from codeact import events as e
from codeact.agent.options import AgentOptions
from codeact.agent.response_builder import ResponseBuilder
from codeact.errors import CodeActError
from codeact.tools.function import Function
from codeact.tools.mcp import McpServers
from codeact.tools.toolbox import Toolbox

__all__ = ["RemoteToolsMissing", "with_remote_tools"]

LIST_BYTES = 1_000_000


class RemoteToolsMissing(CodeActError):
    """An MCP server of the request cannot be reached, or its tools cannot be used. The message names the server."""

    code = "mcp_list_tools_failed"
    status = 424


@asynccontextmanager
async def with_remote_tools(builder: ResponseBuilder, options: AgentOptions) -> AsyncIterator[AgentOptions]:
    """Yields the options with the tools of the request's MCP servers, while the connections last.

    Raises `RemoteToolsMissing`.
    """
    servers = {each.label: each for each in options.mcp_servers}
    if not servers or not options.generate:
        yield options
        return
    items = {label: await builder.calls.list_begins(label) for label in servers}
    opened = {label: each.server() for label, each in servers.items()}
    async with McpServers.open(
        opened, call_timeout_s=options.call_timeout_s, public_only=options.mcp_public_only
    ) as connected:
        functions: list[Function] = []
        for label, server in servers.items():
            offered = server.offered(connected.functions)
            listed, error = _listed(offered), connected.errors.get(label)
            if error is None and len(msgspec.json.encode(listed)) > LIST_BYTES:
                listed, error = [], f"its list of tools has over {LIST_BYTES:,} bytes; name fewer in 'allowed_tools'"
            await builder.calls.list_ends(items[label], listed, error)
            if error is not None:
                raise RemoteToolsMissing(f"The tools of the MCP server '{label}' cannot be used: {error}.")
            functions += offered
        yield replace(options, toolbox=Toolbox([*options.toolbox.functions, *functions]))


def _listed(functions: Sequence[Function]) -> list[e.McpListedTool]:
    return [
        e.McpListedTool(
            name=function.name,
            description=function.description,
            input_schema=function.parameters,
            annotations={"readOnlyHint": function.read_only, "destructiveHint": function.destructive},
        )
        for function in functions
    ]

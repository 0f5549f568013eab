"""MCP servers that a request names: which of their tools code may call, and which calls wait for approval."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from codeact.tools.approval import RequireApproval, asks_by
from codeact.tools.function import Function
from codeact.tools.mcp import McpServer

__all__ = ["RequestedMcp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedMcp:
    """One server of a request. `headers` have secrets: they are neither stored nor shown.

    Of its tools, code may call those in `names` (None: all), and with `read_only` those that are marked so or not so.
    """

    label: str
    description: str = ""
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    names: Collection[str] | None = None
    read_only: bool | None = None
    require_approval: Literal["always", "never"] | RequireApproval | None = None

    def server(self) -> McpServer:
        return McpServer(url=self.url, headers=dict(self.headers))

    def offered(self, functions: Collection[Function]) -> list[Function]:
        """Returns which of all functions code may call on this server, with what calls need."""
        chosen = [
            function
            for function in functions
            if function.server == self.label
            and (self.names is None or function.name in self.names)
            and (self.read_only is None or function.read_only == self.read_only)
        ]
        return [
            replace(function, approval="always")
            if asks_by(self.require_approval, function.name, read_only=function.read_only)
            else function
            for function in chosen
        ]

"""An MCP server for tests, over stdin and stdout, or with a port over HTTP: python mcp_server.py [PORT]."""

import os
import sys

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("test")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def greet(name: str) -> str:
    """Greets somebody, in words."""
    return f"Hello {name}"


@server.tool()
def fail() -> str:
    """Always fails."""
    raise ValueError("it is closed today")


@server.tool()
def leave() -> str:
    """Ends the server in the middle of a call."""
    os._exit(1)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def look() -> str:
    """Only looks."""
    return "seen"


@server.tool(name="two words")
def two_words() -> str:
    """Has a name that is not a valid name in Python."""
    return "two"


for number in range(int(os.environ.get("MORE_TOOLS", "0"))):
    server.tool(name=f"tool_{number}")(greet)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")

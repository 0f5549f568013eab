"""Tools of MCP servers as functions of the sandbox: an operator's configuration enters, `Function`s leave.

The configuration is the JSON file that other MCP hosts read too: `{"mcpServers": {"github": {"command": …,
"args": […], "env": {…}}, "search": {"url": …, "headers": {…}}}}`. Protocol and transports are the official
client's (package `mcp`).
"""

import json
import keyword
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import structlog
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from codeact.errors import ConfigurationError, InvalidRequest
from codeact.tools import HIDDEN, Function, FunctionError, Toolbox, check_schema, value_of

if TYPE_CHECKING:
    from mcp import Client

__all__ = ["McpServer", "McpServers", "read_config"]

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
CONNECT_S = 30.0
CONNECTION_CLOSED = -32000


class McpServer(BaseModel):
    """How one server is reached: a command to run, or the URL of a streamable HTTP endpoint."""

    model_config = ConfigDict(extra="forbid")

    command: str | None = None
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way(self) -> "McpServer":
        if (self.command is None) == (self.url is None):
            raise ValueError("name either a command or a url")
        return self


def _is_name(name: str) -> str:
    if not name.replace("-", "_").isidentifier() or name in HIDDEN or keyword.iskeyword(name):
        raise ValueError(f"'{name}' cannot be a name in Python, under which code finds the server's functions")
    return name


class _Config(BaseModel):
    mcpServers: dict[Annotated[str, AfterValidator(_is_name)], McpServer]  # the name that the file has everywhere


def read_config(path: Path) -> dict[str, McpServer]:
    """The servers by name. Raises `ConfigurationError`, naming what is wrong in the file."""
    try:
        return _Config.model_validate(json.loads(path.read_text("utf-8"))).mcpServers
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", param="CODEACT_MCP_CONFIG") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}: {where}: {first['msg']}.", param="CODEACT_MCP_CONFIG") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON: {error}.", param="CODEACT_MCP_CONFIG") from None


class McpServers:
    """Connections to servers, each kept by a task of its own and opened again, with growing pauses, when it ends."""

    def __init__(self, *, call_timeout_s: float) -> None:
        self._call_timeout_s = call_timeout_s
        self._functions: dict[str, list[Function]] = {}
        self.errors: dict[str, str] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, servers: dict[str, McpServer], *, call_timeout_s: float, wait: bool = True
    ) -> AsyncIterator["McpServers"]:
        """Returns at once or, with `wait`, when each server has answered or failed for the first time."""
        opened = cls(call_timeout_s=call_timeout_s)
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as first:
                for name, server in servers.items():
                    starting = first if wait else tasks
                    starting.start_soon(tasks.start, opened._keep, name, server)
            yield opened
            tasks.cancel_scope.cancel()

    @property
    def functions(self) -> list[Function]:
        """Of all servers that are connected now."""
        return [function for functions in self._functions.values() for function in functions]

    async def _keep(self, name: str, server: McpServer, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        pause_s, said = FIRST_PAUSE_S, False
        while True:
            try:
                with anyio.fail_after(CONNECT_S) as connecting:
                    async with _connect(server) as client:
                        lost = anyio.Event()
                        functions = await self._list(name, client, lost)
                        connecting.deadline = math.inf
                        self._functions[name] = functions
                        self.errors.pop(name, None)
                        pause_s = FIRST_PAUSE_S
                        log.info("MCP server connected", server=name, functions=len(functions))
                        if not said:
                            said = True
                            task_status.started()
                        await lost.wait()
            except Exception as error:
                self.errors[name] = _reason(error)
                log.warning("MCP server not connected", server=name, reason=self.errors[name], again_in_s=pause_s)
            self._functions.pop(name, None)
            if not said:
                said = True
                task_status.started()
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _list(self, name: str, client: "Client", lost: anyio.Event) -> list[Function]:
        functions: list[Function] = []
        cursor: str | None = None
        while True:
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                answer = partial(self._call, client, lost, name, tool.name)
                words = tool.description or tool.title or ""
                function = Function(tool.name, words, tool.input_schema, server=name, answer=answer)
                try:
                    check_schema(tool.input_schema, tool.name)
                    Toolbox([*functions, function])
                except InvalidRequest as error:
                    log.warning("tool of an MCP server left out", server=name, tool=tool.name, reason=error.message)
                else:
                    functions.append(function)
            cursor = page.next_cursor
            if cursor is None:
                return functions

    async def _call(self, client: "Client", lost: anyio.Event, server: str, tool: str, given: dict[str, Any]) -> str:
        try:
            with anyio.fail_after(self._call_timeout_s):
                result = await client.call_tool(tool, given)
        except TimeoutError:
            raise FunctionError(f"{server}.{tool}() did not answer within {self._call_timeout_s:g} s.") from None
        except Exception as error:
            if getattr(error, "code", None) == CONNECTION_CLOSED:
                self._functions.pop(server, None)
                lost.set()
            raise FunctionError(f"{server}.{tool}(): {_reason(error)}") from error
        blocks = [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]
        texts = [block["text"] for block in blocks if block.get("type") == "text"]
        if result.is_error:
            raise FunctionError(f"{server}.{tool}(): {' '.join(texts) or 'it failed and did not say why'}")
        if result.structured_content is not None:
            return value_of(json.dumps(result.structured_content))
        return value_of("\n".join(texts) if len(texts) == len(blocks) else json.dumps(blocks))


@asynccontextmanager
async def _connect(server: McpServer) -> AsyncIterator["Client"]:
    try:
        from mcp import Client, StdioServerParameters
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client
    except ImportError:
        raise ConfigurationError("MCP servers need the package mcp: pip install 'codeact[mcp]'.") from None
    async with AsyncExitStack() as stack:
        if server.url is not None:
            http = await stack.enter_async_context(create_mcp_http_client(headers=server.headers))
            client = Client(streamable_http_client(server.url, http_client=http))
        else:
            assert server.command is not None
            client = Client(StdioServerParameters(command=server.command, args=server.args, env=server.env))
        yield await stack.enter_async_context(client)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"it did not answer within {CONNECT_S:g} s"
    return f"{error}"[:500] or type(error).__name__

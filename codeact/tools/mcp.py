"""Makes the tools of configured MCP servers callable from the sandbox.

The configuration is a JSON file in the format of other MCP hosts: `{"mcpServers": {"github": {"command": …, "args":
[…], "env": {…}}, "search": {"url": …, "headers": {…}}}}`. The official client (package `mcp`) implements the protocol
and the transports.
"""

import json
import keyword
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from codeact.errors import ConfigurationError, InvalidRequest
from codeact.tools.function import HOST, Function, FunctionError, identifier
from codeact.tools.toolbox import HIDDEN, MAX_FUNCTIONS, Toolbox, check_schema, value_of
from sandbox_pool.backoff import Backoff
from sandbox_pool.extras import install_command, missing_extras
from sandbox_pool.logs import Logger
from sandbox_pool.supervision import Supervisor

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from mcp import Client
    from mcp.types import CallToolResult

    from codeact.tools.mcp_messages import Bound

__all__ = ["McpServer", "McpServers", "add_function", "read_config", "server_name", "value_of_result"]

log = Logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
CONNECT_S = 30.0
CONNECTION_CLOSED = -32000
MOST_BLOCKS = 10_000
MOST_ERROR_CHARS = 4_000


class McpServer(BaseModel):
    """How to reach one server: a command to run, or the URL of a streamable HTTP endpoint."""

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


def server_name(name: str) -> str:
    """Returns the name. Raises `ValueError` if code could not use it, or if it stands for this server itself."""
    if identifier(name) == HOST:
        raise ValueError(f"the name '{name}' stands for the functions of this server itself; choose another")
    if not name.replace("-", "_").isidentifier() or name in HIDDEN or keyword.iskeyword(name):
        raise ValueError(f"'{name}' cannot be a name in Python, under which code finds the server's functions")
    return name


class _Config(BaseModel):
    mcpServers: dict[Annotated[str, AfterValidator(server_name)], McpServer]  # the key's name in every MCP host


def read_config(path: Path) -> dict[str, McpServer]:
    """Reads the servers by name. Raises `ConfigurationError`, which says what is wrong in the file."""
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
    """Connections to MCP servers. A task per server maintains its connection and reconnects with increasing pauses."""

    def __init__(self, *, call_timeout_s: float, public_only: bool = False) -> None:
        self._call_timeout_s = call_timeout_s
        self._public_only = public_only
        self._functions: dict[str, list[Function]] = {}
        self._in_toolbox: list[list[Function]] = []
        self._toolbox = Toolbox()
        self.errors: dict[str, str] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        servers: dict[str, McpServer],
        *,
        call_timeout_s: float,
        wait: bool = True,
        supervisor: Supervisor | None = None,
        public_only: bool = False,
    ) -> AsyncIterator["McpServers"]:
        """Connects to the servers. With `wait`, it enters only when each server has connected or failed once.

        With `public_only`, it connects only to addresses of the public internet.

        Raises `ConfigurationError` if there are servers but the package `mcp` is not installed.
        """
        if servers and missing_extras("mcp"):
            raise ConfigurationError(
                f"MCP servers need packages that are not installed: {install_command('mcp')}.",
                param="CODEACT_MCP_CONFIG",
            )
        opened = cls(call_timeout_s=call_timeout_s, public_only=public_only)
        async with (supervisor or Supervisor()).tasks() as start:
            tried = {name: anyio.Event() for name in servers}
            for name, server in servers.items():
                start(f"MCP server {name}", partial(opened._maintain, name, server, tried[name]), essential=False)
            if wait:
                for each in tried.values():
                    await each.wait()
            yield opened

    @property
    def functions(self) -> list[Function]:
        """The functions of all servers that are connected now."""
        return [function for functions in self._functions.values() for function in functions]

    @property
    def toolbox(self) -> Toolbox:
        """The same functions as a `Toolbox`, which is cached until the functions change."""
        lists = [*self._functions.values()]
        if len(lists) != len(self._in_toolbox) or any(
            one is not other for one, other in zip(lists, self._in_toolbox, strict=True)
        ):
            self._in_toolbox, self._toolbox = lists, Toolbox(self.functions)
        return self._toolbox

    async def _maintain(self, name: str, server: McpServer, tried: anyio.Event) -> None:
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            try:
                with anyio.fail_after(CONNECT_S) as connecting:
                    async with _connect(server, public_only=self._public_only) as (client, bound):
                        functions = await self._list(name, client, bound)
                        connecting.deadline = math.inf
                        self._functions[name] = functions
                        self.errors.pop(name, None)
                        backoff.reset()
                        log.info("MCP server connected", server=name, functions=len(functions))
                        tried.set()
                        await bound.ended.wait()
                        self._functions.pop(name, None)
            except Exception as error:
                self.errors[name] = _reason(error)
                log.warning(
                    "MCP server not connected", server=name, reason=self.errors[name], again_in_s=backoff.longest_s
                )
            self._functions.pop(name, None)
            tried.set()
            await backoff.pause()

    async def _list(self, name: str, client: "Client", bound: "Bound") -> list[Function]:
        functions: dict[str, Function] = {}
        cursor: str | None = None
        listed = 0
        while True:
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                if (listed := listed + 1) > MAX_FUNCTIONS:
                    log.warning("tools of an MCP server left out", server=name, most=MAX_FUNCTIONS)
                    return [*functions.values()]
                answer = partial(self._call, client, bound, name, tool.name)
                words = tool.description or tool.title or ""
                marks = tool.annotations
                function = Function(
                    tool.name,
                    words,
                    tool.input_schema,
                    server=name,
                    answer=answer,
                    returns=tool.output_schema,
                    read_only=marks is not None and marks.read_only_hint is True,
                    destructive=marks is None or marks.destructive_hint is not False,
                )
                try:
                    add_function(functions, function)
                except InvalidRequest as error:
                    log.warning("tool of an MCP server left out", server=name, tool=tool.name, reason=error.message)
            cursor = page.next_cursor
            if cursor is None:
                return [*functions.values()]

    async def _call(self, client: "Client", bound: "Bound", server: str, tool: str, arguments: dict[str, Any]) -> str:
        try:
            with anyio.fail_after(self._call_timeout_s):
                result = await client.call_tool(tool, arguments)
        except TimeoutError:
            raise FunctionError(f"{server}.{tool}() did not answer within {self._call_timeout_s:g} s.") from None
        except Exception as error:
            if bound.reason is not None:
                raise FunctionError(f"{server}.{tool}(): the server was cut off: {bound.reason}.") from None
            if getattr(error, "code", None) == CONNECTION_CLOSED:
                self._functions.pop(server, None)
                bound.ended.set()
            raise FunctionError(f"{server}.{tool}(): {_reason(error)}") from error
        try:
            return value_of_result(result)
        except FunctionError as error:
            raise FunctionError(f"{server}.{tool}(): {error.message}") from None


def add_function(functions: dict[str, Function], function: Function) -> None:
    """Adds a server's function to those of its names in code. Takes the same time however many there are.

    Raises `InvalidRequest` if code cannot pass its arguments, or if another function has its name in code.
    """
    check_schema(function.parameters, function.name)
    other = functions.setdefault(function.path, function)
    if other is not function:
        raise InvalidRequest(
            f"The functions '{other.name}' and '{function.name}' would have the same name in Python, {function.path}.",
            param=function.name,
        )


def value_of_result(result: "CallToolResult") -> str:
    """The value of a tool call as JSON text: its structured content, or else its texts, or else its blocks.

    Raises `FunctionError` if the tool failed, or if its value is too large or nested too deeply.
    """
    texts = [block.text for block in result.content if block.type == "text"]
    if result.is_error:
        raise FunctionError(" ".join(texts)[:MOST_ERROR_CHARS] or "it failed and did not say why")
    if result.structured_content is None and len(texts) == len(result.content):
        return value_of("\n".join(texts))
    if len(result.content) > MOST_BLOCKS:
        raise FunctionError(f"it returned more than {MOST_BLOCKS:,} blocks of content")
    try:
        if result.structured_content is not None:
            return value_of(json.dumps(result.structured_content))
        return value_of(
            json.dumps([block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content])
        )
    except RecursionError:
        raise FunctionError("its value is nested too deep") from None


def _connect(server: McpServer, *, public_only: bool) -> "AbstractAsyncContextManager[tuple[Client, Bound]]":
    from codeact.tools.mcp_connection import connect

    return connect(
        command=server.command,
        arguments=server.args,
        environment=server.env,
        url=server.url,
        headers=server.headers,
        public_only=public_only,
    )


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"it did not answer within {CONNECT_S:g} s"
    return f"{error}"[:500] or type(error).__name__

"""Tools of real MCP servers, over both transports."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from codeact.errors import ConfigurationError
from codeact.tools.function import Function, FunctionError
from codeact.tools.mcp import McpServer, McpServers, read_config
from codeact.tools.toolbox import MAX_FUNCTIONS
from tests.ports import free_port

pytestmark = pytest.mark.anyio

SCRIPT = str(Path(__file__).parents[2] / "mcp_server.py")
STDIO = McpServer(command=sys.executable, args=[SCRIPT])


@pytest.fixture
def http_server() -> Iterator[McpServer]:
    port = free_port()
    process = subprocess.Popen([sys.executable, SCRIPT, str(port)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "running on" in line:
                break
        yield McpServer(url=f"http://127.0.0.1:{port}/mcp", headers={"X-Team": "tests"})
    finally:
        process.terminate()
        process.communicate(timeout=120)


def by_path(servers: McpServers) -> dict[str, Function]:
    return {function.path: function for function in servers.functions}


async def check(servers: McpServers) -> None:
    functions = by_path(servers)
    add, greet, fail = functions["test_server.add"], functions["test_server.greet"], functions["test_server.fail"]
    assert add.signature() == "add(a: int, b: int) -> AddOutput"
    assert add.docstring() == "Adds two numbers."
    assert "test_server.two_words" in functions
    assert add.answer is not None
    assert greet.answer is not None
    assert fail.answer is not None
    assert json.loads(await add.answer({"a": 2, "b": 3})) == {"result": 5}
    assert json.loads(await greet.answer({"name": "Ada"})) == {"result": "Hello Ada"}
    with pytest.raises(FunctionError, match="Error executing tool fail"):
        await fail.answer({})
    with pytest.raises(FunctionError, match=r"test-server.add\(\)"):
        await add.answer({"a": "x"})


async def test_tools_of_a_command_are_functions_of_its_name() -> None:
    async with McpServers.open({"test-server": STDIO}, call_timeout_s=100) as servers:
        await check(servers)


async def test_tools_of_a_url_are_functions_of_its_name(http_server: McpServer) -> None:
    async with McpServers.open({"test-server": http_server}, call_timeout_s=100) as servers:
        await check(servers)


async def test_of_a_server_with_too_many_tools_the_first_are_functions() -> None:
    many = McpServer(command=sys.executable, args=[SCRIPT], env={"MORE_TOOLS": str(2 * MAX_FUNCTIONS)})
    async with McpServers.open({"many": many}, call_timeout_s=100) as servers:
        assert len(servers.functions) == MAX_FUNCTIONS


async def test_a_server_that_ends_is_started_again() -> None:
    async with McpServers.open({"test": STDIO}, call_timeout_s=100) as servers:
        leave = by_path(servers)["test.leave"].answer
        assert leave is not None
        with pytest.raises(FunctionError, match=r"test.leave\(\)"):
            await leave({})
        with anyio.fail_after(30):
            while (again := by_path(servers).get("test.add")) is None or again.answer is None:  # noqa: ASYNC110
                await anyio.sleep(0.05)  # nothing tells that a server is back
        assert json.loads(await again.answer({"a": 1, "b": 1})) == {"result": 2}


async def test_a_server_that_cannot_be_reached_does_not_keep_the_others_away() -> None:
    missing = McpServer(command="/no/such/program")
    async with McpServers.open({"test": STDIO, "missing": missing}, call_timeout_s=100) as servers:
        assert "test.add" in by_path(servers)
        assert "missing" in servers.errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("{}", "mcpServers"),
        ('{"mcpServers": {"a": {}}}', "either a command or a url"),
        ('{"mcpServers": {"a": {"command": "x", "url": "y"}}}', "either a command or a url"),
        ('{"mcpServers": {"a": {"cmd": "x"}}}', "a.cmd"),
        ('{"mcpServers": {"print": {"command": "x"}}}', "cannot be a name"),
        ('{"mcpServers": {"host": {"command": "x"}}}', "stands for the functions of this server itself"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_config(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_config(tmp_path / "none.json")

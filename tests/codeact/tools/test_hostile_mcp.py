"""MCP servers that exceed a limit are disconnected with an error that names it, before anything is decoded."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp.types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from codeact.tools.mcp import McpServer, McpServers
from codeact.tools.mcp_messages import MESSAGE_BYTES, Cut, Lines, Waiting
from codeact.tools.toolbox import FunctionError

pytestmark = pytest.mark.anyio

SCRIPT = str(Path(__file__).parents[2] / "hostile_mcp.py")
REASONS = {
    "long": "a message of more than 10,000,000 bytes",
    "endless": "a message of more than 10,000,000 bytes",
    "wide": "more than 50,000 values",
    "deep": "nested more than 100 deep",
    "asking": "more than 100 requests of its own wait",
    "repeating": "the id of a request that waits once more",
}


@pytest.fixture(params=["stdio", "json", "sse"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def hostile(way: str) -> Iterator[McpServer]:
    if way == "stdio":
        yield McpServer(command=sys.executable, args=[SCRIPT, "stdio"])
        return
    process = subprocess.Popen([sys.executable, SCRIPT, way], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield McpServer(url=f"http://127.0.0.1:{int(process.stdout.readline())}/mcp")
    finally:
        process.kill()
        process.communicate()


async def called(servers: McpServers, server: str, tool: str) -> str:
    (function,) = [each for each in servers.functions if (each.server, each.name) == (server, tool)]
    assert function.answer is not None
    return await function.answer({})


async def test_a_server_that_sends_too_much_is_cut_off_by_name_and_no_other(way: str, hostile: McpServer) -> None:
    # As JSON, an answer is one message.
    attacks = {name: reason for name, reason in REASONS.items() if way != "json" or name not in ("asking", "repeating")}
    async with McpServers.open(dict.fromkeys((*attacks, "well"), hostile), call_timeout_s=60) as servers:
        for attack, reason in attacks.items():
            with pytest.raises(FunctionError, match="the server was cut off") as refused:
                await called(servers, attack, attack)
            assert reason in refused.value.message
        assert len(json.loads(await called(servers, "well", "well"))) == 3_000_000


async def test_a_server_that_sends_too_much_at_first_is_named_in_the_list_of_errors() -> None:
    long = McpServer(command=sys.executable, args=[SCRIPT, "stdio", "wide"])
    async with McpServers.open({"long": long}, call_timeout_s=60) as servers:
        assert servers.errors == {
            "long": "It was cut off: it sent a message that is too large: it has more than 50,000 values."
        }


def test_a_line_without_an_end_is_not_held() -> None:
    lines = Lines()
    assert lines.feed(b"x" * MESSAGE_BYTES) == []
    with pytest.raises(Cut, match="more than 10,000,000 bytes"):
        lines.feed(b"x")


def test_requests_that_are_answered_or_withdrawn_do_not_count() -> None:
    waiting = Waiting()
    for number in range(1_000):
        waiting.received(JSONRPCRequest(jsonrpc="2.0", id=number, method="ping"))
        if number % 2:
            waiting.answered(JSONRPCResponse(jsonrpc="2.0", id=number, result={}))
        else:
            params = {"requestId": number}
            waiting.received(JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=params))

"""The functions that read data of MCP servers and of containers' processes, with inputs for `tests/test_growth.py`."""

from contextlib import suppress

from codeact.tools.mcp_connection import decoded
from codeact.tools.mcp_messages import Cut, Lines, Messages
from sandbox_pool.backends.docker.exec import Heard
from tests.growth import BYTES, Inputs, Reader, contents, fed, refusing

__all__ = ["TABLE"]

STREAMS: Inputs = {
    "short lines": lambda n: [b"x\n" * 10] * n,
    "empty lines": lambda n: [b"\n" * 10] * n,
    "no end of line": lambda n: [b"x" * 100] * n,
    "events": lambda n: [b"data: x\n\n"] * n,
    "lines of one event": lambda n: [b"data: x\n"] * n,
    "events in lines that end early": lambda n: [b"data: x\r"] * n,
}


def decoding(line: bytes) -> None:
    with suppress(Cut):
        decoded(line)


TABLE: dict[str, tuple[Reader, Inputs]] = {
    "codeact.tools.mcp_messages.Lines": (refusing(fed(Lines)), STREAMS),
    "codeact.tools.mcp_messages.Messages": (refusing(fed(Messages)), STREAMS),
    "codeact.tools.mcp_connection.decoded": (
        decoding,
        {**BYTES, **contents('{"jsonrpc":"2.0","id":1,"result":{"a":', "}}")},
    ),
    "sandbox_pool.backends.docker.exec.Heard": (
        fed(lambda: Heard(b"ready\n")),
        {**STREAMS, "single bytes": lambda n: [b"r"] * n, "large pieces": lambda n: [b"read" * 16_000] * (n // 100)},
    ),
}

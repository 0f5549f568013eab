"""An MCP server that sends too much, in raw bytes: python hostile_mcp.py stdio|json|sse [ATTACK].

Each of its tools performs one attack. With ATTACK, the server performs that attack instead of listing its tools.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

WAY, FIRST = sys.argv[1], "".join(sys.argv[2:])
ENDLESS = 200_000_000
ATTACKS = ("long", "endless", "wide", "deep", "asking", "repeating", "well")


def reply(request: dict[str, Any], result: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()


def refused(request: dict[str, Any]) -> bytes:
    error = {"code": -32601, "message": "Method not found"}
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}).encode()


def value(request: dict[str, Any], structured: bytes) -> bytes:
    begin = reply(request, {"content": []})[:-2]
    return begin + b', "structuredContent": {"a": ' + structured + b"}}}"


def asked(number: int) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": f"s{number}", "method": "ping"}).encode()


def attack(name: str, request: dict[str, Any]) -> list[bytes]:
    """Returns the messages of an attack. The last message of `endless` is only its beginning."""
    match name:
        case "long":
            return [value(request, b'"' + b"x" * 11_000_000 + b'"')]
        case "endless":
            return [value(request, b'"' + b"x" * 100_000)[:-4]]
        case "wide":
            return [value(request, b"[" + b"[]," * 1_000_000 + b"0]")]
        case "deep":
            return [value(request, b"[" * 1_000 + b"]" * 1_000)]
        case "asking":
            return [asked(number) for number in range(20_000)]
        case "repeating":
            return [asked(1)] * 20_000
        case _:
            return [reply(request, {"content": [{"type": "text", "text": "x" * 3_000_000}]})]


def answers(request: dict[str, Any]) -> tuple[list[bytes], bool]:
    """Returns the messages to send, and whether the last one has no end."""
    if "id" not in request or "method" not in request:
        return [], False
    match request["method"]:
        case "initialize":
            about = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            return [reply(request, {**about, "serverInfo": {"name": "hostile", "version": "1"}})], False
        case "tools/list" if not FIRST:
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ATTACKS]
            return [reply(request, {"tools": tools})], False
        case "tools/list":
            return attack(FIRST, request), FIRST == "endless"
        case "tools/call":
            name = request["params"]["name"]
            return attack(name, request), name == "endless"
        case _:
            return [refused(request)], False


def sent(to: BinaryIO, messages: list[bytes], before: bytes, after: bytes, endless: bool) -> None:
    for message in messages[:-1] if endless else messages:
        to.write(before + message + after)
    if endless:
        to.write(before + messages[-1])
        for _ in range(ENDLESS // 100_000):
            to.write(b"x" * 100_000)
            to.flush()
    to.flush()


def over_stdio() -> None:
    for line in sys.stdin.buffer:
        messages, endless = answers(json.loads(line))
        sent(sys.stdout.buffer, messages, b"", b"\n", endless)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        messages, endless = answers(request)
        self.send_response(200 if messages else 202)
        if not messages:
            self.send_header("content-length", "0")
        self.send_header("content-type", "text/event-stream; charset=utf-16" if WAY == "sse" else "application/json")
        self.send_header("connection", "close")
        self.end_headers()
        if WAY == "sse":
            # Lines end in CR, and no line follows the last one: two parsers could find different messages in this.
            sent(self.wfile, messages, b"event: message\rdata: ", b"\r\r", endless)
        else:
            sent(self.wfile, messages, b"", b"", endless)

    def do_GET(self) -> None:
        self.send_error(405)

    do_DELETE = do_GET

    def log_message(self, *args: object) -> None:
        pass


def main() -> None:
    if WAY == "stdio":
        over_stdio()
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()

"""A web server of the tests, with and without TLS, that remembers the headers of its requests."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Web", "web"]


@dataclass
class Web:
    """`seen` has the headers of each request, `received` the number of bytes of its body."""

    plain_port: int = 0
    tls_port: int = 0
    seen: list[dict[str, str]] = field(default_factory=list)
    received: list[int] = field(default_factory=list)


@contextmanager
def web(address: str, context: ssl.SSLContext, *, plain_port: int = 0, tls_port: int = 0) -> Iterator[Web]:
    """Runs the server; raises `PermissionError` for a port that this user may not take."""
    found = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.seen.append({name.lower(): value for name, value in self.headers.items()})
            found.received.append(len(body))
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ExitStack() as stack:
        servers = [ThreadingHTTPServer((address, port), Handler) for port in (plain_port, tls_port)]
        for server in servers:
            stack.enter_context(server)
            server.daemon_threads = True
        servers[1].socket = context.wrap_socket(servers[1].socket, server_side=True, do_handshake_on_connect=False)
        for server in servers:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        found.plain_port, found.tls_port = (server.server_address[1] for server in servers)
        yield found

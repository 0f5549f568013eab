"""Ports on loopback for servers that the tests start, below those that the system gives to connections.

A port that the system chose may be used by an outgoing connection as soon as nobody listens on it; a server that is
started again on the same port could then not listen.
"""

import contextlib
import random
import socket

__all__ = ["free_port", "listen"]

LOWEST, HIGHEST = 20_000, 32_000
ATTEMPTS = 1_000


def listen(port: int = 0) -> socket.socket:
    """Returns a socket that listens on this port of 127.0.0.1, or on a free one.

    Raises:
        OSError: Another process listens on the given port.
    """
    if port:
        return socket.create_server(("127.0.0.1", port))
    for _ in range(ATTEMPTS):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", random.SystemRandom().randint(LOWEST, HIGHEST)))
    raise OSError(f"no free port between {LOWEST} and {HIGHEST} in {ATTEMPTS} attempts")


def free_port() -> int:
    """Returns a port of 127.0.0.1 on which nobody listens now."""
    with listen() as listener:
        return int(listener.getsockname()[1])

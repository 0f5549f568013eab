"""Lets only who has the pod's key in by the pod's port, for the first process of a pod.

It needs nothing but the standard library. `pod_main.py` describes the handshake.
"""

import hmac
import json
import os
import select
import socket
import time
from collections.abc import Generator
from typing import Any

__all__ = ["Door", "keep_alive", "proof"]

PROOF_S = 10.0
STRANGERS = 16
"""Connections that may be without a proof at once; a further one ends the oldest."""
REQUEST_BYTES = 100_000


class Door:
    """Listens on a port. `poll` is asked elsewhere; what it says of the port goes to `welcome`, and what it says of
    those who have not proved anything yet to `ask`.
    """

    def __init__(self, poll: select.poll, port: int, key: bytes) -> None:
        self.poll = poll
        self.key = key
        self.listener = listen(port)
        self.strangers: dict[int, tuple[socket.socket, Generator[int, bytes, dict[str, Any]], int, float]] = {}
        self.data: dict[int, bytes] = {}
        poll.register(self.listener.fileno(), select.POLLIN)

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self.strangers

    def fileno(self) -> int:
        return self.listener.fileno()

    def welcome(self) -> None:
        try:
            stranger, _ = self.listener.accept()
        except OSError:
            return
        stranger.setblocking(False)
        stranger.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.strangers) >= STRANGERS:
            self.forget(next(iter(self.strangers)))
        steps = proof(self.key, stranger)
        self.strangers[stranger.fileno()] = (stranger, steps, next(steps), time.monotonic() + PROOF_S)
        self.data[stranger.fileno()] = b""
        self.poll.register(stranger.fileno(), select.POLLIN)

    def ask(self, descriptor: int) -> tuple[socket.socket, dict[str, Any]] | None:
        """The server and what it asks for, once it has proved that it has the key."""
        stranger, steps, wanted, deadline = self.strangers[descriptor]
        try:
            piece = stranger.recv(wanted - len(self.data[descriptor]))
            if not piece:
                raise ConnectionError
            self.data[descriptor] += piece
            if len(self.data[descriptor]) == wanted:
                whole, self.data[descriptor] = self.data[descriptor], b""
                self.strangers[descriptor] = (stranger, steps, steps.send(whole), deadline)
        except StopIteration as end:
            del self.strangers[descriptor], self.data[descriptor]
            self.poll.unregister(descriptor)
            return stranger, end.value
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self.forget(descriptor)
        return None

    def forget(self, descriptor: int) -> None:
        stranger, *_ = self.strangers.pop(descriptor)
        del self.data[descriptor]
        self.poll.unregister(descriptor)
        stranger.close()

    def expire(self) -> None:
        """Ends the connections that have proved nothing in time."""
        now = time.monotonic()
        for descriptor, (_, _, _, deadline) in list(self.strangers.items()):
            if now > deadline:
                self.forget(descriptor)


def proof(key: bytes, stranger: socket.socket) -> Generator[int, bytes, dict[str, Any]]:
    """Asks for so many bytes at a time; returns the request of a server that has the key, else raises `ValueError`."""
    nonces = yield 32
    own = os.urandom(32)
    nonces += own
    stranger.send(own + hmac.digest(key, b"pod" + nonces, "sha256"))
    sign = yield 32
    size = int.from_bytes((yield 4), "big")
    if size > REQUEST_BYTES:
        raise ValueError
    request = yield size
    if not hmac.compare_digest(sign, hmac.digest(key, b"server" + nonces + request, "sha256")):
        raise ValueError
    parsed: dict[str, Any] = json.loads(request)
    return parsed


def listen(port: int) -> socket.socket:
    """On every address of the pod, of either version of IP."""
    try:
        door = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    except (OSError, ValueError):
        door = socket.create_server(("", port), backlog=64)
    door.setblocking(False)
    return door


def keep_alive(connection: socket.socket) -> None:
    """So that it ends 25 seconds after the other side's machine is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)

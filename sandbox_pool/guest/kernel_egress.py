"""Gives the sandbox's egress proxy a socket to listen on, inside the sandbox's own network."""

import os
import socket

__all__ = ["open_egress"]


def open_egress() -> None:
    """Listens on the port of CODEACT_EGRESS (`PORT PATH`) and sends the socket to the proxy that waits at the path.

    Call it before any code runs. Without the variable there is no proxy.
    """
    port, _, path = os.environ.pop("CODEACT_EGRESS", "").partition(" ")
    if not port:
        return
    with (
        socket.create_server(("127.0.0.1", int(port)), backlog=64) as listening,
        socket.socket(socket.AF_UNIX) as proxy,
    ):
        proxy.settimeout(30)
        proxy.connect(path)
        socket.send_fds(proxy, [b"l"], [listening.fileno()])
        proxy.recv(1)

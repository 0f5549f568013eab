"""Lets all clients of httpx with the same certificates share one TLS context.

A client otherwise reads the certificates of all authorities when it is made, which takes 20 ms of CPU time, also for
requests without TLS. Tests make thousands of clients.
"""

import os
from ssl import SSLContext
from typing import Any

from httpx._config import create_ssl_context

__all__ = ["shared_context"]

_made: dict[tuple[Any, ...], SSLContext] = {}


def shared_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> SSLContext:
    """Takes the place of httpx's `create_ssl_context`. A client with certificates of its own gets its own context."""
    if verify is not True or cert is not None:
        return create_ssl_context(verify, cert, trust_env)
    key = (trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    if key not in _made:
        _made[key] = create_ssl_context(verify, cert, trust_env)
    return _made[key]

"""The process of one sandbox's egress proxy.

    python -m sandbox_pool.egress.main DESCRIPTOR

It reads its rules from stdin, a line of JSON, and writes a line of JSON with the certificates that the code trusts to
stdout. `DESCRIPTOR` is a listening Unix socket. The sandbox connects to it once, before any code runs, and sends the
descriptor of a listening TCP socket in its own network namespace; from then on the proxy serves that. So the sandbox
needs no interface but its loopback. The process ends when its stdin does.
"""

import asyncio
import contextlib
import json
import os
import resource
import select
import socket
import ssl
import sys
from pathlib import Path

from sandbox_pool.egress.proxy import Proxy, resolved
from sandbox_pool.egress.rules import Rules, Secret

__all__ = ["main"]

NOBODY = 65_534
DESCRIPTORS = 512
MEMORY_BYTES = 512 * 1024 * 1024
BUNDLE_BYTES = 2_000_000
USUAL_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def main() -> None:
    rules = read_rules(sys.stdin.buffer.readline())
    trust = ssl.create_default_context()
    authority, trusted = None, system_bundle()
    if rules.secrets:
        from sandbox_pool.egress.certificates import Authority  # cryptography takes a tenth of a second

        authority = Authority()
        trusted += "\n" + authority.pem
    asyncio.run(resolved("localhost", 80))  # It imports modules that another user may be unable to read later.
    give_up_rights()
    sys.stdout.write(json.dumps({"trusted": trusted}) + "\n")
    sys.stdout.flush()
    listening = received(socket.socket(fileno=int(sys.argv[1])))
    asyncio.run(serve(Proxy(rules, authority, trust=trust), listening))


def read_rules(line: bytes) -> Rules:
    given = json.loads(line)
    secrets = tuple(Secret(**secret) for secret in given["secrets"])
    return Rules(tuple(given["domains"]), secrets, given["private"])


def system_bundle() -> str:
    """The certificates that this machine trusts, as PEM."""
    paths = ssl.get_default_verify_paths()
    for path in filter(None, (paths.cafile, paths.openssl_cafile, *USUAL_BUNDLES)):
        with contextlib.suppress(OSError):
            return Path(path).read_text()[:BUNDLE_BYTES]
    return ""


def give_up_rights() -> None:
    """Bounds the process, and leaves root: it speaks with strangers on both sides."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.getuid() == 0:
        with contextlib.suppress(OSError):  # A user namespace may have no such user.
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)


def received(entrance: socket.socket) -> socket.socket:
    """Takes the sandbox's listening socket. Only the first connection is served: it comes before any code runs.

    Ends the process if its server has died before the sandbox came.
    """
    entrance.setblocking(True)
    if 0 in select.select([entrance.fileno(), 0], [], [])[0]:
        sys.exit()
    connection, _ = entrance.accept()
    with entrance, connection:
        _, (descriptor,), _, _ = socket.recv_fds(connection, 1, 1)
        listening = socket.socket(fileno=descriptor)
        listening.setblocking(False)
        connection.sendall(b"k")
    return listening


async def serve(proxy: Proxy, listening: socket.socket) -> None:
    end = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, end.set)
    async with await asyncio.start_server(proxy.serve, sock=listening, limit=65_536):
        await end.wait()
        os._exit(0)  # Open connections of the sandbox are of no use any more.


if __name__ == "__main__":
    main()

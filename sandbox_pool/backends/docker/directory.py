"""Prepares the directory that a container shares with the host, and seals it once the kernel has bound its sockets.

See docs/decisions/0003-docker-sandbox-directories-are-sealed.md.
"""

import os
from pathlib import Path

import anyio

from sandbox_pool.errors import EngineUnavailable, SandboxStartFailed

__all__ = ["READY", "STDERR_TAIL_CHARS", "check_path", "furnish", "not_ready", "sealed"]

SOCKET_PATH_BYTES = 107
"""What fits into a socket's address (unix(7), `sun_path`)."""
STDERR_TAIL_CHARS = 300
READY = b"ready\n"
"""What `kernel_main.py` writes once its sockets are bound."""
OUTPUT = "output"
"""A pipe in a sandbox's directory: stdout and stderr of the image's entrypoint."""
BINDING = 0o733
"""A sandbox's directory while its kernel, another user than us, binds its sockets there."""
SEALED = 0o711
"""And from then on: sockets can be reached, nothing can be added."""


def furnish(directory: Path, connection: str) -> None:
    """Before the container starts. Raises `OSError`."""
    (directory / "connection.json").write_text(connection)
    (directory / "connection.json").chmod(0o644)
    os.mkfifo(directory / OUTPUT)
    (directory / OUTPUT).chmod(0o622)
    directory.chmod(BINDING)


async def sealed(directory: Path, sandbox_id: str) -> None:
    """Returns once the kernel has bound its sockets, and nothing can be added any more. Raises `SandboxStartFailed`."""
    # Not blocking: the other end is opened by the container.
    output = os.open(directory / OUTPUT, os.O_RDONLY | os.O_NONBLOCK)
    words = b""
    try:
        while not words.endswith(READY):
            await anyio.wait_readable(output)
            piece = os.read(output, 65_536)
            if not piece:
                raise not_ready(words, sandbox_id)
            words += piece
    finally:
        os.close(output)
    os.chmod(directory, SEALED)


def not_ready(words: bytes, sandbox_id: str) -> SandboxStartFailed:
    last = words.decode(errors="replace").strip().rpartition("\n")[2][:STDERR_TAIL_CHARS]
    problem = f"The kernel ended before it was ready: {last or 'it said nothing'}."
    return SandboxStartFailed(problem, sandbox_id=sandbox_id)


def check_path(directory: Path) -> None:
    if len(os.fsencode(directory)) + len("/k-5") > SOCKET_PATH_BYTES:
        raise EngineUnavailable(
            f"{directory} is too long for the path of a socket. Set CODEACT_DATA_DIR to a shorter one."
        )

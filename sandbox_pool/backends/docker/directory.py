"""Prepares the directory that a container shares with the host, and seals it once the kernel has bound its sockets.

See docs/decisions/0003-docker-sandbox-directories-are-sealed.md.
"""

import os
from pathlib import Path

import anyio

from sandbox_pool.errors import EngineUnavailable, SandboxStartFailed

__all__ = ["READY", "STDERR_TAIL_CHARS", "check_path", "furnish", "not_ready", "sealed", "write_shared"]

SOCKET_PATH_BYTES = 107
"""The maximum length of a socket's address (unix(7), `sun_path`)."""
STDERR_TAIL_CHARS = 300
READY = b"ready\n"
"""The line that `kernel_main.py` writes once its sockets are bound."""
OUTPUT = "output"
"""The name of a pipe in a sandbox's directory, for stdout and stderr of the image's entrypoint."""
BINDING = 0o733
"""The mode of a sandbox's directory while its kernel, which runs as another user, binds its sockets there."""
SEALED = 0o711
"""The mode after that: the server can connect to the sockets, and the code can create nothing."""


def furnish(directory: Path, connection: str) -> None:
    """Writes the connection file and the output pipe. Call it before the container starts. Raises `OSError`."""
    write_shared(directory / "connection.json", connection.encode())
    os.mkfifo(directory / OUTPUT)
    (directory / OUTPUT).chmod(0o622)
    directory.chmod(BINDING)


def write_shared(path: Path, content: bytes) -> None:
    """Writes a file that the container can read and not change. Raises `OSError`."""
    path.write_bytes(content)
    path.chmod(0o644)


async def sealed(directory: Path, sandbox_id: str) -> None:
    """Waits until the kernel has bound its sockets, then makes the directory read-only for the container.

    Raises `SandboxStartFailed` if the kernel ends before that.
    """
    # A blocking open would wait for the container to open the other end.
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

"""Sends files to `guest/readonly_main.py`, which writes them where code cannot change them."""

from collections.abc import Mapping

import anyio
from anyio.abc import ByteStream

from sandbox_pool.errors import FileError

__all__ = ["write_readonly"]

WRITE_S = 60.0
MOST_ANSWER_BYTES = 1_000


async def write_readonly(stream: ByteStream, files: Mapping[str, bytes]) -> None:
    """Writes the files. Raises `FileError`."""
    try:
        with anyio.fail_after(WRITE_S):
            for name, content in files.items():
                await stream.send(f"{len(content)} {name}\n".encode() + content)
            await stream.send(b"\n")
            answer = b""
            while not answer.endswith(b"\n") and len(answer) < MOST_ANSWER_BYTES:
                answer += await stream.receive(MOST_ANSWER_BYTES)
    except (TimeoutError, OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise FileError(f"The files cannot be written into the sandbox: {type(error).__name__}.") from error
    if answer.strip() != b"ok":
        raise FileError(f"The files cannot be written into the sandbox: {answer.decode(errors='replace').strip()}.")

"""Starts and ends the egress proxy of one sandbox, a process of this machine (see `sandbox_pool/egress/main.py`)."""

import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import IO

import anyio

from sandbox_pool.backends.shared.threads import Threads
from sandbox_pool.errors import SandboxStartFailed
from sandbox_pool.spec import Egress

__all__ = ["BUNDLE", "EGRESS_SOCKET", "EgressProxy"]

EGRESS_SOCKET, BUNDLE = "e", "trusted.pem"
"""The names of the files in a sandbox's directory of sockets."""
PORT = 3128
START_S = 30.0
ANSWER_BYTES = 4_000_000
TRUSTING = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)
"""The environment variables by which programs are told which certificates to trust."""
PASSED_ON = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(slots=True, eq=False)
class EgressProxy:
    """One sandbox's proxy. Call `start` before the sandbox starts, and `close` when it has ended."""

    egress: Egress
    threads: Threads
    private: bool = False
    _placeholders: Mapping[str, str] = field(init=False)
    _process: "Popen[bytes] | None" = field(default=None, init=False)
    _stdin: IO[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._placeholders = {
            secret.name: f"codeact-secret-{secret.placeholder or secrets.token_hex(16)}"
            for secret in self.egress.secrets
        }

    def environment(self, directory: str) -> dict[str, str]:
        """The variables of the sandbox, whose `directory` has the files `EGRESS_SOCKET` and `BUNDLE`."""
        url = f"http://127.0.0.1:{PORT}"
        return {
            **self._placeholders,
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), url),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1"),
            **dict.fromkeys(TRUSTING, f"{directory}/{BUNDLE}"),
            "CODEACT_EGRESS": f"{PORT} {directory}/{EGRESS_SOCKET}",
        }

    async def start(self, directory: Path) -> bytes:
        """Starts the process, which waits at `EGRESS_SOCKET` in this directory. Returns the certificates for `BUNDLE`.

        Raises `SandboxStartFailed` or `OSError`. Cancelling is safe; call `close` in any case.
        """
        rules = {
            "domains": [domain.lower() for domain in self.egress.domains],
            "secrets": [
                {"domain": each.domain.lower(), "placeholder": self._placeholders[each.name], "value": each.value}
                for each in self.egress.secrets
            ],
            "private": self.private,
        }
        with _listening(directory) as entrance:
            command = [sys.executable, "-P", "-m", "sandbox_pool.egress.main", str(entrance.fileno())]
            environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
            (its_stdin, stdin), (stdout, its_stdout) = os.pipe(), os.pipe()
            self._stdin = os.fdopen(stdin, "wb", 0)
            try:
                self._process = await self.threads.spawn(
                    command, environment, [entrance.fileno()], stdin=its_stdin, stdout=its_stdout
                )
            finally:
                os.close(its_stdin)
                os.close(its_stdout)
            try:
                with anyio.fail_after(START_S):
                    await self.threads.run(self._stdin.write, json.dumps(rules).encode() + b"\n")
                    trusted: str = json.loads(await _line(stdout))["trusted"]
            except (ValueError, KeyError, TimeoutError) as error:
                raise SandboxStartFailed(f"The egress proxy does not start: {error!r}.") from error
            finally:
                os.close(stdout)
        return trusted.encode()

    async def close(self) -> None:
        """Ends the process. Idempotent."""
        process, self._process = self._process, None
        if self._stdin is not None:
            with suppress(OSError):
                self._stdin.close()
        if process is not None:
            process.kill()
            await self.threads.run(process.wait)


def _listening(directory: Path) -> socket.socket:
    """A socket at `EGRESS_SOCKET`, however long the directory's path is: an address has 107 bytes at most."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    entrance = socket.socket(socket.AF_UNIX)
    try:
        entrance.bind(f"/proc/self/fd/{folder}/{EGRESS_SOCKET}")
        (directory / EGRESS_SOCKET).chmod(0o666)
        entrance.listen(1)
    except BaseException:
        entrance.close()
        raise
    finally:
        os.close(folder)
    return entrance


async def _line(pipe: int) -> bytes:
    words = bytearray()
    while not words.endswith(b"\n"):
        await anyio.wait_readable(pipe)
        piece = os.read(pipe, 65_536)
        words += piece
        if not piece or len(words) > ANSWER_BYTES:
            raise ValueError("it ended without a word" if not piece else "it says too much")
    return bytes(words)

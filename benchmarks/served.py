"""The servers that benchmarks use: a server for a scripted model, and a real `codeact serve`."""

import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

__all__ = ["Script", "codeact_server", "free_port", "model_server", "until_ok"]

Script = Callable[[Sequence[dict[str, Any]]], AsyncIterator[str]]
"""A model: takes the messages of a chat and yields the words of its answer."""


@asynccontextmanager
async def model_server(say: Script) -> AsyncIterator[str]:
    """Runs an OpenAI-compatible server for this model; yields its address."""

    async def chat(request: Request) -> StreamingResponse:
        messages = (await request.json())["messages"]
        return StreamingResponse(_stream(say(messages)), media_type="text/event-stream")

    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
        finally:
            server.should_exit = True


async def _stream(words: AsyncIterator[str]) -> AsyncIterator[str]:
    async for word in words:
        yield _chunk(word)
    yield _chunk("", finish="stop")
    yield "data: [DONE]\n\n"


def _chunk(text: str, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "bench", "choices": [choice]}
    return f"data: {json.dumps(body)}\n\n"


@asynccontextmanager
async def codeact_server(
    sandbox: str, api_base: str, *, settings: Mapping[str, str] | None = None, log: Path | None = None
) -> AsyncIterator[tuple[str, psutil.Process, float]]:
    """Runs `codeact serve`; yields its address, its process, and when that was started (monotonic seconds).

    `settings` replace or add `CODEACT_*` variables. Its working directory is its data directory. It appends to the file
    `log`; without one, to `server.log` in its data directory.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as data_dir:
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(Path.home()),
            "CODEACT_MODEL": "openai/bench",
            "CODEACT_MODEL_API_BASE": api_base,
            "CODEACT_MODEL_API_KEY": "bench",
            "CODEACT_SANDBOX": sandbox,
            "CODEACT_DATA_DIR": data_dir,
            "CODEACT_PORT": str(port),
            "CODEACT_LOG_LEVEL": "error",
            **(settings or {}),
        }
        command = Path(sys.executable).with_name("codeact")
        started = time.monotonic()
        with (log or Path(data_dir) / "server.log").open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                command, "serve", env=environment, cwd=data_dir, stdout=output, stderr=output
            )
        try:
            yield f"http://127.0.0.1:{port}", psutil.Process(child.pid), started
        finally:
            with suppress(ProcessLookupError):
                child.terminate()
            await child.wait()


def free_port() -> int:
    """A free port on loopback. Another process could still take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_ok(url: str, started: float, deadline_s: float = 120) -> float:
    """Waits until a GET of `url` returns 200; returns the seconds since `started`. Raises `TimeoutError`."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while time.monotonic() - started < deadline_s:
            try:
                if (await client.get(url)).status_code == 200:
                    return time.monotonic() - started
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.01)
    raise TimeoutError(f"{url} did not answer 200 within {deadline_s:.0f} s")

"""Compares our streaming with comparable servers: litellm's proxy, and Chainlit with an app that streams tokens.

Each is installed in an environment of its own (requirements/peer-*.txt, into .venv-peers/ once). All servers relay
the same model, a process that sends 50 tokens a second to each answer and writes into each token when it sent it. They
take turns.

    NAME_token_p50_ms, NAME_token_p99_ms   a token's way from the model to the client
    NAME_token_cpu_us                      CPU of the server and its children for a token, with the answers' beginnings
    NAME_first_p50_ms                      from the question to the first token
    NAME_lost                              tokens that did not come

NAME is `codeact` (our WebSocket), `codeact_sse` (our Chat Completions), `litellm` (its Chat Completions) or `chainlit`
(its Socket.IO). Ours store each answer and its events, and may run code; the others store nothing.
"""

import asyncio
import json
import os
import re
import secrets
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from websockets.asyncio.client import connect

from benchmarks.load.answers import Seen, answer
from benchmarks.load.client import Socket
from benchmarks.load.served import cpu_s, model_process
from benchmarks.peers import environment_of, install
from benchmarks.served import codeact_server, free_port, until_ok
from sandbox_pool.percentile import percentile

__all__ = ["measure"]

STREAMS, RATE, TOKENS, ROUNDS = 20, 50, 200, 3
WITHIN_S = 120.0
QUESTION = f"say {TOKENS} {RATE}"
TOKEN = re.compile(rb"at=([0-9]{10}\.[0-9]{6})")
CHAINLIT_APP = """
import os
import chainlit
from openai import AsyncOpenAI
client = AsyncOpenAI(base_url=os.environ["MODEL_BASE"], api_key="none")
@chainlit.on_message
async def answer(message):
    shown = chainlit.Message(content="")
    messages = [{"role": "user", "content": message.content}]
    async for chunk in await client.chat.completions.create(model="load", stream=True, messages=messages):
        if text := chunk.choices[0].delta.content:
            await shown.stream_token(text)
    await shown.update()
"""
LITELLM_CONFIG = """
model_list:
  - model_name: load
    litellm_params: {{model: openai/load, api_base: "{base}", api_key: none}}
"""


@dataclass(slots=True)
class _Figures:
    late_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Server:
    """A running server, and how a client asks it one question."""

    process: psutil.Process
    ask: Callable[[], Awaitable["_Tokens"]]

    def cpu_s(self) -> float:
        return sum(map(cpu_s, (self.process, *self.process.children(recursive=True))))


async def measure(sandbox: str) -> dict[str, float]:
    """Runs everything in about two minutes, after installing the peers."""
    for peer in ("litellm", "chainlit"):
        await install(peer)
    async with AsyncExitStack() as stack:
        base, _ = await stack.enter_async_context(model_process())
        settings = {"CODEACT_MODEL": "openai/load", "CODEACT_POOL_MIN": "0", "CODEACT_OPEN_REQUESTS_PER_OWNER": "1000"}
        url, ours, started = await stack.enter_async_context(codeact_server(sandbox, base, settings=settings))
        await until_ok(f"{url}/readyz", started)
        litellm_key = f"sk-{secrets.token_hex(32)}"  # It does not start without one.
        litellm_url, litellm = await stack.enter_async_context(_litellm(base, litellm_key))
        chainlit_url, chainlit = await stack.enter_async_context(_chainlit(base))
        servers = {
            "codeact": _Server(ours, lambda: _ask_socket(url)),
            "codeact_sse": _Server(ours, lambda: _ask_sse(url, "openai/load")),
            "litellm": _Server(litellm, lambda: _ask_sse(litellm_url, "load", litellm_key)),
            "chainlit": _Server(chainlit, lambda: _ask_chainlit(chainlit_url)),
        }
        found = {name: _Figures() for name in servers}
        for server in servers.values():
            await server.ask()  # After it, everything is imported and connected.
        for _ in range(ROUNDS):
            for name, server in servers.items():
                await _round(server, found[name])
    return {f"{name}_{figure}": value for name, one in found.items() for figure, value in _report(one).items()}


async def _round(server: _Server, found: _Figures) -> None:
    """Asks many questions at once."""
    before, began = server.cpu_s(), time.time()
    async with asyncio.timeout(WITHIN_S):
        answers = await asyncio.gather(*(server.ask() for _ in range(STREAMS)))
    found.cpu_s += server.cpu_s() - before
    for tokens in answers:
        found.first_ms.append((tokens.first_at - began) * 1000)
        found.late_ms += tokens.late_ms


def _report(found: _Figures) -> dict[str, float]:
    late, first = sorted(found.late_ms), sorted(found.first_ms)
    return {
        "token_p50_ms": round(percentile(late, 50), 2),
        "token_p99_ms": round(percentile(late, 99), 2),
        "token_cpu_us": round(found.cpu_s / len(late) * 1e6, 1),
        "first_p50_ms": round(percentile(first, 50), 1),
        "lost": STREAMS * ROUNDS * TOKENS - len(late),
    }


class _Tokens:
    """The tokens of one answer as they arrive: their delays, and when the first one came (Unix seconds)."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self.first_at = 0.0
        self._rest = b""

    def read(self, data: bytes) -> None:
        """Finds the tokens in what has just arrived."""
        now, end = time.time(), 0
        text = self._rest + data
        for token in TOKEN.finditer(text):
            self.first_at = self.first_at or now
            self.late_ms.append((now - float(token[1])) * 1000)
            end = token.end()
        self._rest = text[end:][-20:]


# ---- clients -----------------------------------------------------------------------------------------------


async def _ask_socket(url: str) -> _Tokens:
    async with Socket.open(url.replace("http", "ws", 1) + "/v1/responses") as socket:
        seen, tokens = await answer(socket, QUESTION, WITHIN_S, Seen()), _Tokens()
    if seen.end != "response.completed":
        raise RuntimeError(f"an answer ended as {seen.end} {seen.code}")
    tokens.late_ms, tokens.first_at = seen.late_ms, seen.sent_at[0] + seen.late_ms[0] / 1000
    return tokens


async def _ask_sse(url: str, model: str, key: str = "none") -> _Tokens:
    """Reads the stream of `/v1/chat/completions` to its end."""
    parts, tokens = urlsplit(url), _Tokens()
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": QUESTION}]}).encode()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {key}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        first = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in first.split(b"\r\n")[0]:
            raise RuntimeError(f"{url}: {first.decode()} {(await reader.read(2_000)).decode()}")
        end = b""
        while b"[DONE]" not in end:
            data = await reader.read(65_536)
            if not data:
                raise RuntimeError(f"{url} closed the stream")
            tokens.read(data)
            end = (end + data)[-20:] if b"[DONE]" not in data else data
    finally:
        writer.close()
    return tokens


async def _ask_chainlit(url: str) -> _Tokens:
    """Speaks as much of Socket.IO as Chainlit's page does for one question."""
    tokens = _Tokens()
    session = {"clientType": "webapp", "sessionId": str(uuid.uuid4()), "threadId": "", "userEnv": "{}"}
    question = {"id": str(uuid.uuid4()), "threadId": "", "name": "user", "type": "user_message", "output": QUESTION}
    question |= {"createdAt": "2026-01-01T00:00:00Z", "input": ""}
    events = [["connection_successful"], ["client_message", {"message": question, "fileReferences": []}]]
    address = url.replace("http", "ws", 1) + "/ws/socket.io/?EIO=4&transport=websocket"
    async with connect(address, proxy=None, compression=None) as socket:
        async for frame in socket:
            text = frame if isinstance(frame, str) else frame.decode()
            if text.startswith("0"):
                await socket.send("40" + json.dumps(session))
            elif text.startswith("40"):
                for event in events:
                    await socket.send("42" + json.dumps(event))
            elif text == "2":
                await socket.send("3")
            elif text.startswith(('42["stream_token"', '42["stream_start"')):  # The first token comes in the start.
                tokens.read(text.encode())
            elif tokens.late_ms and text.startswith('42["task_end"'):  # It also sends one when a session begins.
                break
    return tokens


# ---- the peers ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def _litellm(base: str, key: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as folder:
        config, port = Path(folder) / "config.yaml", free_port()
        config.write_text(LITELLM_CONFIG.format(base=base))
        command = ["litellm", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        more = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MASTER_KEY": key}
        async with _running("litellm", command, folder, f"http://127.0.0.1:{port}/health/liveliness", more) as process:
            yield f"http://127.0.0.1:{port}", process


@asynccontextmanager
async def _chainlit(base: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as folder:
        (Path(folder) / "app.py").write_text(CHAINLIT_APP)
        port = free_port()
        command = ["chainlit", "run", "app.py", "--headless", "--host", "127.0.0.1", "--port", str(port)]
        async with _running(
            "chainlit", command, folder, f"http://127.0.0.1:{port}/health", {"MODEL_BASE": base}
        ) as process:
            yield f"http://127.0.0.1:{port}", process


@asynccontextmanager
async def _running(
    peer: str, command: list[str], folder: str, health: str, more: dict[str, str]
) -> AsyncIterator[psutil.Process]:
    """Runs a program of a peer's environment in this folder; yields its process once it answers."""
    variables = {"PATH": os.environ["PATH"], "HOME": folder, **more}
    program = str(environment_of(peer) / "bin" / command[0])
    with (Path(folder) / "log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            program, *command[1:], cwd=folder, env=variables, stdout=log, stderr=log
        )
    try:
        async with asyncio.TaskGroup() as tasks:
            ends = tasks.create_task(child.wait())
            ready = tasks.create_task(until_ok(health, time.monotonic(), deadline_s=180))
            await asyncio.wait((ends, ready), return_when=asyncio.FIRST_COMPLETED)
            if ends.done():
                ready.cancel()
                raise RuntimeError(f"{peer} has ended: {(Path(folder) / 'log').read_text()[-2000:]}")
            ends.cancel()
        yield psutil.Process(child.pid)
    finally:
        with suppress(ProcessLookupError):
            child.terminate()
        await child.wait()

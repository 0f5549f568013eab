"""Measures how hostile inputs affect other users of a live server; sends one input after the other.

It uses a real `codeact serve` with real sandboxes. During each input of `benchmarks.hostile_inputs`, a separate process
requests `/healthz` every 50 ms and follows a well-behaved conversation whose code prints every 50 ms.

    worst_health_ms         the slowest answer of /healthz
    rss_added_mb            the server's maximum memory, minus that before the first input
    neighbour_p99_ms        from the neighbour's print to its frame at the client (p99)
    restart_health_ms       the slowest answer of /healthz for 10 s after a restart on the same database
    restart_rss_added_mb    the memory then, over that before the first input
    failed_inputs           inputs during which /healthz took over 250 ms
    NAME_health_ms, NAME_rss_added_mb    the same for each input

`python -m benchmarks.hostile --sandbox docker NAME…` sends only some of them.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from benchmarks.hostile_inputs import ARCHIVES, BODIES, CODE, FRAMES, QUESTIONS
from benchmarks.served import codeact_server, model_server, until_ok
from sandbox_pool.percentile import percentile

__all__ = ["measure"]

WITHIN_S = 30.0
REST_S = 1.0
AFTER_RESTART_S = 10.0
BODIES_THAT_NEVER_COME = 1_200
WORST_MS = 250.0
OWN_CODE = "run: import time\nfor _ in range(1_000): print(f'at={time.time():.6f}'); time.sleep(0.05)"


async def _say(messages: Sequence[dict[str, Any]]) -> AsyncIterator[str]:
    """The model: runs the code after `run:` in the question; otherwise answers one word."""
    question = str(messages[-1]["content"])
    code = question.partition("run: ")[2] if question.startswith("run: ") or "\nrun: " in question[:200] else ""
    yield f"<execute>\n{code}\n</execute>" if code else "done"


NEIGHBOUR = """
import asyncio, json, sys, time
import websockets
host, port, code = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def tell(kind, at, ms):
    print(json.dumps([kind, at, ms]), flush=True)
async def health():
    while True:
        began = time.time()
        try:
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(b"GET /healthz HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n")
                ok = b" 200 " in await reader.readline()
                writer.close()
            if ok:
                tell("health", began, (time.time() - began) * 1000)
        except TimeoutError:
            tell("health", began, 30_000.0)
        except OSError:
            pass
        await asyncio.sleep(max(0, began + 0.05 - time.time()))
async def talk():
    while True:
        try:
            async with websockets.connect(f"ws://{host}:{port}/v1/responses", max_size=None) as socket:
                while True:
                    await socket.send(json.dumps({"type": "response.create", "input": code, "stream_id": "a",
                                                  "include": ["codeact:events"]}))
                    async for frame in socket:
                        at = frame.find("at=")
                        if frame.startswith('{"type":"codeact:code_interpreter_call.output"') and at > 0:
                            sent = float(frame[at + 3 : at + 20])
                            tell("late", sent, (time.time() - sent) * 1000)
                        if frame.startswith(('{"type":"response.completed"', '{"type":"response.incomplete"',
                                             '{"type":"response.failed"', '{"type":"error"')):
                            break
        except (OSError, websockets.WebSocketException):
            await asyncio.sleep(0.5)
async def main():
    await asyncio.gather(health(), talk())
asyncio.run(main())
"""


class _Watch:
    """Collects the measurements that the neighbour process prints, and the server's memory every 20 ms."""

    def __init__(self, neighbour: asyncio.subprocess.Process, server: psutil.Process) -> None:
        self.measured: list[tuple[str, float, float]] = []
        self.rss: list[tuple[float, float]] = []
        self._neighbour = neighbour
        self._server = server

    async def read(self) -> None:
        assert self._neighbour.stdout is not None
        while line := await self._neighbour.stdout.readline():
            kind, at, ms = json.loads(line)
            self.measured.append((kind, at, ms))

    async def weigh(self) -> None:
        with suppress(psutil.NoSuchProcess):
            while True:
                self.rss.append((time.time(), self._server.memory_info().rss / 1e6))
                await asyncio.sleep(0.02)

    def worst(self, kind: str, since: float) -> float:
        return max((ms for what, at, ms in self.measured if what == kind and at >= since), default=0.0)

    def p99(self, kind: str, since: float) -> float:
        all_ms = sorted(ms for what, at, ms in self.measured if what == kind and at >= since)
        return percentile(all_ms, 99) if all_ms else 0.0

    def heaviest(self, since: float) -> float:
        return max((mb for at, mb in self.rss if at >= since), default=0.0)


@asynccontextmanager
async def _watched(url: str, server: psutil.Process) -> AsyncIterator[_Watch]:
    place = urlsplit(url)
    command = (sys.executable, "-c", NEIGHBOUR, str(place.hostname), str(place.port), OWN_CODE)
    neighbour = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    watch = _Watch(neighbour, server)
    try:
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(watch.read()), tasks.create_task(watch.weigh())]
            async with asyncio.timeout(60):
                while not watch.worst("late", 0):
                    await asyncio.sleep(0.05)
            yield watch
            for task in watching:
                task.cancel()
    finally:
        neighbour.kill()
        await neighbour.wait()


# ---- how each kind is sent ---------------------------------------------------------------------------


class _Stranger:
    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.AsyncClient(base_url=f"{url}/v1/", trust_env=False, timeout=WITHIN_S)

    async def asks(self, text: str) -> None:
        await self._http.post("responses", json={"input": text})

    async def posts(self, path: str, body: str) -> None:
        await self._http.post(path, content=body.encode(), headers={"content-type": "application/json"})

    async def sends(self, frames: list[str]) -> None:
        answer = (await self._http.post("responses", json={"input": "run: print('x' * 1_000_000)"})).json()
        address = self._url.replace("http", "ws", 1) + "/v1/responses"
        with suppress(WebSocketException, OSError):
            async with connect(address, max_size=None, compression=None) as socket:
                for frame in frames:
                    await socket.send(frame.replace("RESPONSE", str(answer.get("id"))))
                await asyncio.sleep(2.0)  # Reads nothing of what arrives.

    async def opens(self, connections: int) -> None:
        """Opens connections whose request bodies never arrive."""
        place = urlsplit(self._url)
        head = b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        head += b"content-length: 100\r\n\r\n"
        opened = []
        with suppress(OSError):
            for _ in range(connections):
                _, writer = await asyncio.open_connection(place.hostname, place.port)
                writer.write(head)
                opened.append(writer)
        await asyncio.sleep(3.0)
        for writer in opened:
            writer.close()


def _inputs(stranger: _Stranger) -> dict[str, Callable[[], Awaitable[None]]]:
    return {
        **{name: partial(stranger.asks, f"run: {code}") for name, code in CODE.items()},
        **{name: partial(stranger.asks, text) for name, text in QUESTIONS.items()},
        **{name: partial(stranger.posts, "responses", body) for name, body in BODIES.items()},
        **{name: partial(stranger.posts, "conversations/import", body) for name, body in ARCHIVES.items()},
        **{name: partial(stranger.sends, frames) for name, frames in FRAMES.items()},
        "bodies_that_never_come": partial(stranger.opens, BODIES_THAT_NEVER_COME),
    }


async def measure(sandbox: str, names: Sequence[str] = ()) -> dict[str, float]:
    """Sends all inputs, or only those in `names`, once; each takes about five seconds."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as data_dir:
        settings = {"CODEACT_DATA_DIR": data_dir, "CODEACT_POOL_MIN": "2"}
        async with model_server(_say) as api_base:
            async with codeact_server(sandbox, api_base, settings=settings) as (url, server, started):
                await until_ok(f"{url}/readyz", started)
                async with _watched(url, server) as watch:
                    figures = await _send_all(watch, _inputs(_Stranger(url)), names)
                    before_mb = figures.pop("before_mb")
            async with codeact_server(sandbox, api_base, settings=settings) as (url, server, started):
                await until_ok(f"{url}/readyz", started)
                async with _watched(url, server) as watch:
                    await asyncio.sleep(AFTER_RESTART_S)
                    figures["restart_health_ms"] = watch.worst("health", 0)
                    figures["restart_rss_added_mb"] = watch.heaviest(0) - before_mb
    return {name: round(value, 1) for name, value in figures.items()}


async def _send_all(
    watch: _Watch, inputs: dict[str, Callable[[], Awaitable[None]]], names: Sequence[str]
) -> dict[str, float]:
    await asyncio.sleep(3.0)
    began = time.time()
    before_mb = statistics.median(mb for _, mb in watch.rss[-50:])
    each: dict[str, float] = {}
    for name, send in inputs.items():
        if names and name not in names:
            continue
        since = time.time()
        with suppress(httpx.HTTPError), anyio.move_on_after(WITHIN_S):
            await send()
        await asyncio.sleep(REST_S)
        health_ms, added_mb = watch.worst("health", since), watch.heaviest(since) - before_mb
        each |= {f"{name}_health_ms": health_ms, f"{name}_rss_added_mb": added_mb}
        print(f"{name:32} {health_ms:8.0f} ms {added_mb:8.0f} MB", file=sys.stderr)
    return {
        "before_mb": before_mb,
        "worst_health_ms": watch.worst("health", began),
        "rss_added_mb": watch.heaviest(began) - before_mb,
        "neighbour_p99_ms": watch.p99("late", began),
        "failed_inputs": float(sum(ms > WORST_MS for name, ms in each.items() if name.endswith("_health_ms"))),
        **each,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sandbox", default="process", choices=["process", "docker"])
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.sandbox, given.names)), indent=1))


if __name__ == "__main__":
    main()

"""Measures how hostile inputs affect other users of a live server; sends one input after the other.

It uses a real `codeact serve` with real sandboxes. During each input of `benchmarks.hostile_inputs`, a separate process
requests `/healthz` every 50 ms and follows a well-behaved conversation whose code prints every 50 ms.

    worst_health_ms         the slowest answer of /healthz
    rss_added_mb            the server's maximum memory, minus that before the first input
    neighbour_p99_ms        from the neighbour's print to its frame at the client (p99)
    restart_health_ms       the slowest answer of /healthz for 10 s after a restart on the same database
    restart_rss_added_mb    the memory then, over that before the first input
    failed_inputs           inputs during which /healthz took over 250 ms
    worst_computed_ms       during that slowest answer: CPU time of the thread with the server's event loop
    worst_queued_ms         during it: time for which that thread was ready but had no processor
    worst_probe_queued_ms   during it: time for which the probe itself was ready but had no processor
    worst_loop_ms           the longest time by which the event loop was late, by the server's own watchdog
    NAME_health_ms, NAME_rss_added_mb    the same for each input

`python -m benchmarks.hostile --sandbox docker NAME…` sends only some of them. Where an answer was slow, or the event
loop late, stderr says what the time was spent on, and where in the code the loop was.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from benchmarks.hostile_inputs import ARCHIVES, BODIES, CODE, FRAMES, MESSAGES, QUESTIONS, RECORDS
from benchmarks.served import codeact_server, model_server, until_ok
from sandbox_pool.percentile import percentile

__all__ = ["measure"]

WITHIN_S = 30.0
REST_S = 1.0
AFTER_RESTART_S = 10.0
BODIES_THAT_NEVER_COME = 1_200
WORST_MS, SLOW_MS = 250.0, 100.0
REPORTED = ("lag_ms", "computed_ms", "queued_ms", "other_threads_ms", "collected_ms", "stack")
"""The fields of the watchdog's reports that are shown."""
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
def tell(kind, at, ms, queued_ms=0.0):
    print(json.dumps([kind, at, ms, queued_ms]), flush=True)
def queued_ms():
    try:
        with open("/proc/self/schedstat") as file:
            return int(file.read().split()[1]) / 1e6
    except OSError:
        return 0.0
async def health():
    while True:
        began, before = time.time(), queued_ms()
        try:
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(b"GET /healthz HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n")
                ok = b" 200 " in await reader.readline()
                writer.close()
            if ok:
                tell("health", began, (time.time() - began) * 1000, queued_ms() - before)
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


@dataclass(frozen=True, slots=True)
class _Sample:
    """A measurement of the neighbour. `queued_ms` is the part for which the neighbour had no processor."""

    kind: str
    at: float
    ms: float
    queued_ms: float


@dataclass(frozen=True, slots=True)
class _State:
    """The server at one moment: its memory, and what its first thread has computed and waited for a processor."""

    at: float
    rss_mb: float
    computed_ms: float
    queued_ms: float


class _Watch:
    """Collects the measurements that the neighbour process prints, and the server's state every 20 ms."""

    def __init__(self, neighbour: asyncio.subprocess.Process, server: psutil.Process, log: Path) -> None:
        self.measured: list[_Sample] = []
        self.states: list[_State] = []
        self._neighbour = neighbour
        self._server = server
        self._log = log

    async def read(self) -> None:
        assert self._neighbour.stdout is not None
        while line := await self._neighbour.stdout.readline():
            self.measured.append(_Sample(*json.loads(line)))

    async def weigh(self) -> None:
        with suppress(psutil.NoSuchProcess):
            while True:
                self.states.append(_State(time.time(), self._server.memory_info().rss / 1e6, *self._thread_ms()))
                await asyncio.sleep(0.02)

    def _thread_ms(self) -> tuple[float, float]:
        try:
            computed, queued, _ = Path(f"/proc/{self._server.pid}/schedstat").read_text().split()
        except OSError:  # The server has ended, or this is another system.
            return 0.0, 0.0
        return int(computed) / 1e6, int(queued) / 1e6

    def worst(self, kind: str, since: float) -> _Sample:
        found = (sample for sample in self.measured if sample.kind == kind and sample.at >= since)
        return max(found, key=lambda sample: sample.ms, default=_Sample(kind, since, 0.0, 0.0))

    def p99(self, kind: str, since: float) -> float:
        all_ms = sorted(sample.ms for sample in self.measured if sample.kind == kind and sample.at >= since)
        return percentile(all_ms, 99) if all_ms else 0.0

    def heaviest(self, since: float) -> float:
        return max((state.rss_mb for state in self.states if state.at >= since), default=0.0)

    def during(self, sample: _Sample) -> tuple[float, float]:
        """What the loop's thread computed, and how long it waited for a processor, during a sample, in ms."""
        ends = sample.at + sample.ms / 1000
        before = next((state for state in reversed(self.states) if state.at <= sample.at), self.states[0])
        after = next((state for state in self.states if state.at >= ends), self.states[-1])
        return after.computed_ms - before.computed_ms, after.queued_ms - before.queued_ms

    def late(self) -> list[dict[str, Any]]:
        """The reports of the server's watchdog so far."""
        lines = self._log.read_text("utf-8", errors="replace").splitlines() if self._log.exists() else []
        return [json.loads(line) for line in lines if '"event loop was late"' in line]


@asynccontextmanager
async def _watched(url: str, server: psutil.Process, log: Path) -> AsyncIterator[_Watch]:
    place = urlsplit(url)
    command = (sys.executable, "-c", NEIGHBOUR, str(place.hostname), str(place.port), OWN_CODE)
    neighbour = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    watch = _Watch(neighbour, server, log)
    try:
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(watch.read()), tasks.create_task(watch.weigh())]
            async with asyncio.timeout(60):
                while not watch.worst("late", 0).ms:
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

    async def verifies(self, archive: str) -> None:
        """Imports an answer, and has it verified."""
        headers = {"content-type": "application/json"}
        imported = await self._http.post("conversations/import", content=archive.encode(), headers=headers)
        last_id = imported.json()["codeact:summary"]["last_response_id"]
        await self._http.post(f"responses/{last_id}/codeact:verify")

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
        **{name: partial(stranger.posts, "messages", body) for name, body in MESSAGES.items()},
        **{name: partial(stranger.verifies, archive) for name, archive in RECORDS.items()},
        **{name: partial(stranger.posts, "conversations/import", body) for name, body in ARCHIVES.items()},
        **{name: partial(stranger.sends, frames) for name, frames in FRAMES.items()},
        "bodies_that_never_come": partial(stranger.opens, BODIES_THAT_NEVER_COME),
    }


async def measure(sandbox: str, names: Sequence[str] = ()) -> dict[str, float]:
    """Sends all inputs, or only those in `names`, once; each takes about five seconds."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as data_dir:
        settings = {"CODEACT_DATA_DIR": data_dir, "CODEACT_POOL_MIN": "2"}
        settings |= {"CODEACT_LOG_LEVEL": "warning", "CODEACT_LOG_FORMAT": "json"}
        logs = Path(data_dir, "first.log"), Path(data_dir, "second.log")
        async with model_server(_say) as api_base:
            async with codeact_server(sandbox, api_base, settings=settings, log=logs[0]) as (url, server, started):
                await until_ok(f"{url}/readyz", started)
                async with _watched(url, server, logs[0]) as watch:
                    figures = await _send_all(watch, _inputs(_Stranger(url)), names)
                    before_mb = figures.pop("before_mb")
            async with codeact_server(sandbox, api_base, settings=settings, log=logs[1]) as (url, server, started):
                await until_ok(f"{url}/readyz", started)
                async with _watched(url, server, logs[1]) as watch:
                    await asyncio.sleep(AFTER_RESTART_S)
                    figures["restart_health_ms"] = watch.worst("health", 0).ms
                    figures["restart_rss_added_mb"] = watch.heaviest(0) - before_mb
    return {name: round(value, 1) for name, value in figures.items()}


async def _send_all(
    watch: _Watch, inputs: dict[str, Callable[[], Awaitable[None]]], names: Sequence[str]
) -> dict[str, float]:
    await asyncio.sleep(3.0)
    began = time.time()
    before_mb = statistics.median(state.rss_mb for state in watch.states[-50:])
    each: dict[str, float] = {}
    reported = 0
    for name, send in inputs.items():
        if names and name not in names:
            continue
        since = time.time()
        with suppress(httpx.HTTPError), anyio.move_on_after(WITHIN_S):
            await send()
        await asyncio.sleep(REST_S)
        worst, added_mb = watch.worst("health", since), watch.heaviest(since) - before_mb
        each |= {f"{name}_health_ms": worst.ms, f"{name}_rss_added_mb": added_mb}
        print(f"{name:32} {worst.ms:8.0f} ms {added_mb:8.0f} MB{_causes(watch, worst)}", file=sys.stderr)
        for report in watch.late()[reported:]:
            print("    " + json.dumps({key: report.get(key) for key in REPORTED}), file=sys.stderr)
            reported += 1
    worst = watch.worst("health", began)
    computed_ms, queued_ms = watch.during(worst)
    return {
        "before_mb": before_mb,
        "worst_health_ms": worst.ms,
        "worst_computed_ms": computed_ms,
        "worst_queued_ms": queued_ms,
        "worst_probe_queued_ms": worst.queued_ms,
        "worst_loop_ms": max((float(report["lag_ms"]) for report in watch.late()), default=0.0),
        "rss_added_mb": watch.heaviest(began) - before_mb,
        "neighbour_p99_ms": watch.p99("late", began),
        "failed_inputs": float(sum(ms > WORST_MS for name, ms in each.items() if name.endswith("_health_ms"))),
        **each,
    }


def _causes(watch: _Watch, sample: _Sample) -> str:
    """What the time of a slow answer was spent on; empty for a fast one."""
    if sample.ms < SLOW_MS:
        return ""
    computed_ms, queued_ms = watch.during(sample)
    return f"   computed {computed_ms:.0f}, queued {queued_ms:.0f}, probe queued {sample.queued_ms:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sandbox", default="process", choices=["process", "docker"])
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.sandbox, given.names)), indent=1))


if __name__ == "__main__":
    main()

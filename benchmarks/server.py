"""Measures the cost of the event log and the history. The backend makes no difference.

It uses the real application with a real uvicorn in this process, a real mongod, and WebSocket clients in a separate
process. Instead of running an agent, it emits the events of an answer itself.

    event_cpu_us_1, _100     CPU of the server per event, from the run to 1 and to 100 clients, storing included,
                             minus what an idle server spends in the same time
    resume_10k_ms            a client asks for all of an ended response with 10,000 events, until it has the last
    long_item_ratio          cost of a delta in the builder at the end of an item of 8 MB, divided by that at its start
    stalled_db_added_p99_ms  a delta's latency (p99) while the database hangs for 2 s, minus its median before
    history_p95_ms, search_p95_ms    those of `benchmarks.history`, which also runs alone
"""

import asyncio
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks import history
from codeact import events as e
from codeact.agent.response_builder import ResponseBuilder
from codeact.ids import new_id
from codeact.model import Usage
from codeact.runs.recorder import Recorder
from codeact.runs.run import Run
from codeact.server.app import create_app
from codeact.server.serve import Server, uvicorn_config
from codeact.server.services import Services
from codeact.settings import Settings

__all__ = ["measure"]

EVENTS = 2_000
GAP_S = 0.002
LONG = 10_000
RESUMES = 5
LONG_ITEM_BYTES, DELTA = 8_000_000, "twenty characters.. "
STALL_S = 2.0


async def measure(sandbox: str) -> dict[str, float]:
    """Runs everything once: about half a minute, and some more for the history."""
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as data_dir:
        async with _server(Path(data_dir)) as (url, services):
            figures = {
                "event_cpu_us_1": await _cpu(url, services, clients=1),
                "event_cpu_us_100": await _cpu(url, services, clients=100),
                "resume_10k_ms": await _resume(url, services),
                "long_item_ratio": await _long_item(),
                "stalled_db_added_p99_ms": await _stalled(url, services, Path(data_dir)),
            }
    figures |= await history.measure(sandbox)
    return {name: round(value, 3) for name, value in figures.items()}


@asynccontextmanager
async def _server(data_dir: Path) -> AsyncIterator[tuple[str, Services]]:
    settings = Settings.load(model="demo", sandbox="process", data_dir=data_dir, pool_min=0, port=0, log_level="error")
    app = create_app(settings)
    config = uvicorn_config(app, settings)
    config.port = 0
    server = Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    services: Services = app.state.codeact
    await services.store.get()
    await services.pool.settled()
    try:
        yield f"ws://127.0.0.1:{port}/v1/responses", services
    finally:
        server.should_exit = True
        await serving


# ---- a run without an agent --------------------------------------------------------------------------


class _Answer:
    """A running response, which clients can follow by its id."""

    def __init__(self, services: Services, recorder: Recorder, run: Run) -> None:
        self.id = run.id
        self.builder = ResponseBuilder(run.response, recorder.emit, started=time.monotonic())
        self._services, self._recorder, self._run = services, recorder, run

    @classmethod
    async def begin(cls, services: Services) -> "_Answer":
        store = await services.store.get()
        conversation = await store.create_conversation(owner="local")
        reference = e.ConversationRef(conversation.id)
        response = e.Response(id=new_id("resp"), created_at=int(time.time()), model="bench", conversation=reference)
        run = Run(
            response,
            owner="local",
            conversation_id=conversation.id,
            store=store,
            writer=services.runs.writer,
            store_timeout_s=60,
        )
        await store.begin_response(response, [], owner="local")
        services.runs._live[run.id] = run
        answer = cls(services, run._recorder, run)
        await answer.builder.begin()
        return answer

    async def say(self, events: int, gap_s: float) -> None:
        """Emits this many deltas, each with its time."""
        for _ in range(events):
            await self.builder.text(f"at={time.time():.6f} ")
            if gap_s:
                await asyncio.sleep(gap_s)

    async def end(self) -> None:
        await self.builder.end("completed", Usage())
        self._run.log.end()
        await self._recorder.settle()
        del self._services.runs._live[self.id]


# ---- the clients -------------------------------------------------------------------------------------

CLIENTS = """
import asyncio, json, sys, time
import websockets
url, response_id, clients = sys.argv[1], sys.argv[2], int(sys.argv[3])
joined = 0
async def client():
    global joined
    late = []
    async with websockets.connect(url, max_size=None, compression=None) as socket:
        began = time.time()
        resume = {"type": "codeact:response.resume", "response_id": response_id, "include": ["codeact:events"]}
        await socket.send(json.dumps(resume))
        frames = 0
        while True:
            frame = await socket.recv(decode=False)
            if not frames:
                joined += 1
                if joined == clients:
                    print("joined", flush=True)
            frames += 1
            at = frame.find(b"at=") if frame.startswith(b'{"type":"response.output_text.delta"') else -1
            if at > 0:
                sent = float(frame[at + 3 : at + 20])
                late.append((sent, (time.time() - sent) * 1000))
            if frame.startswith(b'{"type":"response.completed"'):
                return {"frames": frames, "took_ms": (time.time() - began) * 1000, "late": late}
async def main():
    print(json.dumps((await asyncio.gather(*(client() for _ in range(clients))))[0]), flush=True)
asyncio.run(main())
"""


class _Clients:
    """A process with several clients of one response. `result` returns what the first of them received."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def join(cls, url: str, response_id: str, clients: int) -> "_Clients":
        command = (sys.executable, "-c", CLIENTS, url, response_id, str(clients))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, limit=2**26)
        assert process.stdout is not None
        if await process.stdout.readline() != b"joined\n":
            raise RuntimeError("the clients could not connect")
        return cls(process)

    async def result(self) -> dict[str, Any]:
        out, _ = await self._process.communicate()
        return dict(json.loads(out))


# ---- the measurements --------------------------------------------------------------------------------


async def _cpu(url: str, services: Services, *, clients: int) -> float:
    answer = await _Answer.begin(services)
    joined = await _Clients.join(url, answer.id, clients)
    before = _cpu_s()
    await answer.say(EVENTS, GAP_S)
    spent_s = _cpu_s() - before
    await answer.end()
    await joined.result()
    before = _cpu_s()
    for _ in range(EVENTS):
        await asyncio.sleep(GAP_S)
    return (spent_s - (_cpu_s() - before)) / EVENTS * 1e6


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _resume(url: str, services: Services) -> float:
    answer = await _Answer.begin(services)
    for _ in range(LONG // 20):
        await answer.say(20, 0)
        await asyncio.sleep(0.01)
    await answer.end()
    took = []
    for _ in range(RESUMES):
        result = await (await _Clients.join(url, answer.id, 1)).result()
        if result["frames"] < LONG:
            raise RuntimeError(f"only {result['frames']} events came back")
        took.append(result["took_ms"])
    return statistics.median(took)


async def _long_item() -> float:
    """The ratio of two medians over four of 32 parts, so that a pause of the machine has no effect."""

    async def encode(event: e.Event) -> None:
        e.encode(event)

    builder = ResponseBuilder(e.Response(id="resp", created_at=0, model="bench"), encode, started=time.monotonic())
    took = []
    for _ in range(32):
        before = _cpu_s()
        for _ in range(LONG_ITEM_BYTES // 32 // len(DELTA)):
            await builder.text(DELTA)
        took.append(_cpu_s() - before)
    return statistics.median(took[-4:]) / statistics.median(took[:4])


async def _stalled(url: str, services: Services, data_dir: Path) -> float:
    mongod = int((data_dir / "mongodb" / "data" / "mongod.lock").read_text())
    answer = await _Answer.begin(services)
    joined = await _Clients.join(url, answer.id, 1)
    await answer.say(500, GAP_S)
    os.kill(mongod, signal.SIGSTOP)
    stalled_at = time.time()
    try:
        await answer.say(int(STALL_S / GAP_S), GAP_S)
    finally:
        os.kill(mongod, signal.SIGCONT)
    resumed_at = time.time()
    await answer.end()
    late = (await joined.result())["late"]
    usual = [added for sent, added in late if sent < stalled_at]
    stalled = sorted(added for sent, added in late if stalled_at <= sent < resumed_at)
    return stalled[int(len(stalled) * 0.99)] - statistics.median(usual)

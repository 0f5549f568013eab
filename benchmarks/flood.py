"""Measures how the server handles many answers at once, also while its database stalls.

It uses a real `codeact serve` with its own mongod, a model server and the clients, each in a separate process. Every
stream has its own socket and conversation; the model sends its tokens as fast as the server accepts them. In every
second round mongod is stopped (SIGSTOP) once, for 1 to 9 s, at a random moment. `python -m benchmarks.flood --help`
lists the options for other numbers.

    rounds, streams, tokens    the requested numbers
    completed_rounds           rounds in which every stream ended as `response.completed`, with every number, in time
    slowest_round_s, median_round_s, stalled_rounds
    lost_streams, lost_events  streams without such an end, and numbers that were missing or repeated, in all rounds
    false_alarms               how often the server reported a silent database in a round in which it was not stopped
    server_cpu_us              CPU of the server for one token
    stop_s                     how long the server took to end after SIGTERM
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.served import codeact_server, until_ok

__all__ = ["measure", "run"]

ROUNDS, STREAMS, TOKENS = 2, 200, 2_000
WITHIN_S = 60.0
STALL_S = (1.0, 9.0)
STALL_AFTER_S = (0.5, 6.0)
ALARM = b"waiting for the database"

MODEL = """
import asyncio, json, random, sys
tokens = int(sys.argv[1])
def chunk(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "load", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\\n\\n"
PIECE = 20
chance = random.Random(1)
said = [chunk({"content": f"{chance.getrandbits(30):x} "}) for _ in range(tokens)]
pieces = [b"".join(said[at : at + PIECE]) for at in range(0, tokens, PIECE)]
end = chunk({}, "stop") + b"data: [DONE]\\n\\n"
async def answer(reader, writer):
    try:
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        lengths = [line for line in head.lower().split(b"\\r\\n") if line.startswith(b"content-length:")]
        if lengths:
            await reader.readexactly(int(lengths[0].split(b":")[1]))
        writer.write(b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ncontent-type: ")
        if b"/chat/completions " not in head.split(b"\\r\\n")[0]:
            writer.write(b"application/json\\r\\n\\r\\n" + json.dumps({"data": [{"id": "load"}]}).encode())
        else:
            writer.write(b"text/event-stream\\r\\n\\r\\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            writer.write(end)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""

CLIENTS = """
import asyncio, json, re, sys, time
import websockets
url, streams, tokens, within_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
PLAIN = {"max_size": None, "compression": None, "ping_interval": None, "open_timeout": None}
ENDS = tuple(b'{"type":"response.' + end + b'"' for end in (b"completed", b"incomplete", b"failed"))
NUMBER = re.compile(rb'"sequence_number":(\\d+)')
connecting = asyncio.Semaphore(50)  # A server lets so many of one address wait, and not all that there are.
async def stream(ready, go):
    seen = {"ended": "", "tokens": 0, "lost": 0, "took_s": within_s, "error": ""}
    async with connecting:
        socket = await websockets.connect(url, **PLAIN)
    async with socket:
        ready.release()
        await go.wait()
        began = time.monotonic()
        asyncio.get_running_loop().call_later(within_s, asyncio.current_task().cancel)
        await socket.send(json.dumps({"type": "response.create", "input": "Say much.", "include": ["codeact:events"]}))
        expected, said = 0, []
        async for frame in socket:
            frame = frame.encode() if isinstance(frame, str) else frame
            if frame.startswith(b'{"type":"error"'):
                seen["error"] = frame.decode()
                break
            number = int(NUMBER.search(frame)[1])
            seen["lost"] += number != expected
            expected = number + 1
            if frame.startswith(b'{"type":"response.output_text.delta"'):
                said.append(json.loads(frame)["delta"])
            if frame.startswith(ENDS):
                seen["ended"] = frame[9:40].split(b'"')[0].decode()
                if seen["ended"] == "response.failed":
                    seen["error"] = json.loads(frame)["response"]["error"]
                break
        seen["took_s"] = time.monotonic() - began
        # A delta has several tokens if they were there at once, and ends within a token if it is long.
        seen["tokens"] = len("".join(said).split())
    return seen
async def guarded(ready, go):
    try:
        return await stream(ready, go)
    except (asyncio.CancelledError, OSError, websockets.WebSocketException) as error:
        ready.release()  # Nobody waits for a socket that was refused.
        return {"ended": "", "tokens": 0, "lost": 0, "took_s": within_s, "error": repr(error)}
async def main():
    ready, go = asyncio.Semaphore(0), asyncio.Event()
    tasks = [asyncio.create_task(guarded(ready, go)) for _ in range(streams)]
    for _ in range(streams):
        await ready.acquire()
    print("go", flush=True)
    go.set()
    print(json.dumps([await task for task in tasks]), flush=True)
asyncio.run(main())
"""


async def measure(sandbox: str) -> dict[str, float]:
    """Two rounds of 200 streams with 2,000 tokens, one with a stall; about a minute. `run` accepts other numbers."""
    return await run(sandbox, rounds=ROUNDS, streams=STREAMS, tokens=TOKENS)


async def run(
    sandbox: str,
    *,
    rounds: int,
    streams: int,
    tokens: int,
    stalls: bool = True,
    seed: int = 1,
    settings: dict[str, str] | None = None,
) -> dict[str, float]:
    """Runs the rounds and prints each to stderr. `settings` are further `CODEACT_*` variables of the server."""
    chance = random.Random(seed)
    results: list[_Round] = []
    false_alarms = 0
    async with _model(tokens) as api_base, _Server.open(sandbox, api_base, settings or {}) as server:
        before = server.cpu_s()
        for number in range(rounds):
            stall = chance.uniform(*STALL_S) if stalls and number % 2 else 0.0
            alarms_before = server.alarms()
            result = await _round(server, streams, tokens, stall, chance.uniform(*STALL_AFTER_S))
            false_alarms += 0 if stall else server.alarms() - alarms_before
            results.append(result)
            print(f"round {number + 1}: {result.line()}", file=sys.stderr, flush=True)
        spent = server.cpu_s() - before
        stopping = time.monotonic()
        server.process.terminate()
        await asyncio.to_thread(server.process.wait, 120)
        stop_s = time.monotonic() - stopping
    took = [result.took_s for result in results]
    return {
        "rounds": rounds,
        "streams": streams,
        "tokens": tokens,
        "completed_rounds": sum(result.lost_streams + result.lost_events == 0 for result in results),
        "slowest_round_s": round(max(took), 2),
        "median_round_s": round(statistics.median(took), 2),
        "stalled_rounds": sum(result.stall_s > 0 for result in results),
        "lost_streams": sum(result.lost_streams for result in results),
        "lost_events": sum(result.lost_events for result in results),
        "false_alarms": false_alarms,
        "server_cpu_us": round(spent / (rounds * streams * tokens) * 1e6, 1),
        "stop_s": round(stop_s, 2),
    }


class _Round:
    def __init__(self, seen: list[dict[str, Any]], tokens: int, stall_s: float) -> None:
        whole = [one for one in seen if one["ended"] == "response.completed"]
        self.stall_s = stall_s
        self.took_s = max(one["took_s"] for one in seen)
        self.lost_streams = len(seen) - len(whole)
        self.lost_events = sum(one["lost"] + abs(tokens - one["tokens"]) for one in whole)
        self.ends = sorted({str(one["error"] or one["ended"]) for one in seen})

    def line(self) -> str:
        stalled = f", mongod stopped for {self.stall_s:.1f} s" if self.stall_s else ""
        return (
            f"{self.took_s:.1f} s{stalled}, {self.lost_streams} streams and {self.lost_events} events lost {self.ends}"
        )


class _Server:
    """The server's process and its data."""

    def __init__(self, url: str, process: psutil.Process, data_dir: Path) -> None:
        self.url = url
        self.process = process
        self._data_dir = data_dir

    @classmethod
    @asynccontextmanager
    async def open(cls, sandbox: str, api_base: str, settings: dict[str, str]) -> AsyncIterator["_Server"]:
        asked = {"CODEACT_MODEL": "openai/load", "CODEACT_POOL_MIN": "0", "CODEACT_LOG_LEVEL": "warning", **settings}
        async with codeact_server(sandbox, api_base, settings=asked) as (url, process, started):
            server = cls(url, process, Path(process.cwd()))
            await until_ok(f"{url}/readyz", started)
            yield server

    def cpu_s(self) -> float:
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def mongod(self) -> int:
        return int((self._data_dir / "mongodb" / "data" / "mongod.lock").read_text())

    def alarms(self) -> int:
        log = self._data_dir / "server.log"
        return log.read_bytes().count(ALARM) if log.exists() else 0


async def _round(server: _Server, streams: int, tokens: int, stall_s: float, after_s: float) -> _Round:
    url = server.url.replace("http", "ws", 1) + "/v1/responses"
    command = (sys.executable, "-c", CLIENTS, url, str(streams), str(tokens), str(WITHIN_S))
    clients = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, limit=2**26)
    assert clients.stdout is not None
    await clients.stdout.readline()
    async with asyncio.TaskGroup() as tasks:
        if stall_s:
            tasks.create_task(_stall(server.mongod(), stall_s, after_s))
        out, _ = await clients.communicate()
    return _Round(json.loads(out), tokens, stall_s)


async def _stall(mongod: int, stall_s: float, after_s: float) -> None:
    await asyncio.sleep(after_s)
    os.kill(mongod, signal.SIGSTOP)
    try:
        await asyncio.sleep(stall_s)
    finally:
        os.kill(mongod, signal.SIGCONT)


@asynccontextmanager
async def _model(tokens: int) -> AsyncIterator[str]:
    """Runs a model server in a separate process, which streams an answer of `tokens` tokens to each request."""
    command = (sys.executable, "-c", MODEL, str(tokens))
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        await process.wait()


def main() -> None:
    """Runs the benchmark with other numbers than `codeact bench flood`: `python -m benchmarks.flood --rounds 10`."""
    options = argparse.ArgumentParser(description=main.__doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--streams", type=int, default=STREAMS)
    options.add_argument("--tokens", type=int, default=TOKENS)
    options.add_argument("--seed", type=int, default=1, help="of the stalls' moments and lengths")
    options.add_argument("--no-stalls", dest="stalls", action="store_false")
    options.add_argument("--queued", type=int, default=0, help="CODEACT_MAX_QUEUED_RUNS: beyond 200 streams wait")
    asked = vars(options.parse_args())
    settings = {"CODEACT_MAX_QUEUED_RUNS": str(asked.pop("queued"))}
    print(json.dumps(asyncio.run(run("process", settings=settings, **asked))))


if __name__ == "__main__":
    main()

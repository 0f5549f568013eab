"""Measures how costs grow, and simulates from them what many conversations need.

    turn_10_cpu_ms, turn_110_cpu_ms    CPU of the server for a short answer around these turns, mean of ten
    pool_2_us, pool_200_us             CPU for an acquire and a release, with so many warm sandboxes
    history_1000_ms, history_10000_ms    the first page of 20 conversations among so many, p50
    token_cpu_us, answer_cpu_ms        CPU of the server for a token, and for the rest of an answer without code
    block_cpu_ms, start_s              CPU of the server for a block of code, and a sandbox's start
    answer_db_ms, stream_db_ms         CPU of mongod for an answer, and for each second of its stream
    per_process                        conversations that one process bears, simulated (`benchmarks.scaling_model`)

`python -m benchmarks.scaling simulate '{…}'` only simulates, from figures that were measured before.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil

from benchmarks import history
from benchmarks.load.answers import Seen, answer
from benchmarks.load.client import Socket
from benchmarks.load.served import Served, cpu_s, served
from benchmarks.scaling_model import Costs, Load, ServerResult, simulate_server
from benchmarks.stand_ins import NoBackend, stand_ins
from codeact.logs import configure
from codeact.store import HistoryQuery, Store, embedded_mongod
from sandbox_pool import SandboxPool, SandboxSpec
from sandbox_pool.percentile import percentile

__all__ = ["costs_of", "curve", "measure", "per_process", "simulated"]

EARLY, LATE, AROUND = 10, 110, 10
LONG_TOKENS, LONG_RATE = 2_000, 200
BLOCKS = 20
ROUNDS = 2_000
PAGES = 60
MOST_LATE_MS = 20.0
"""A process is full when one piece of work in a hundred waits longer than this for its processor."""
MOST_BUSY = 0.7
SIMULATED_S = 300.0


async def measure(sandbox: str) -> dict[str, float]:
    """The figures, and the simulation's; about two minutes on two cores."""
    figures = await _answers(sandbox)
    for size in (2, 200):
        figures[f"pool_{size}_us"] = round(await _pool(size), 1)
    for number in (1_000, 10_000):
        figures[f"history_{number}_ms"] = round(await _history(number), 2)
    return figures | simulated(figures)


def simulated(figures: Mapping[str, float]) -> dict[str, float]:
    """What one process bears, for the load of `Load`, from measured figures."""
    number, result = per_process(figures, Load())
    return {
        "per_process": number,
        "per_process_busy": round(result.busy, 2),
        "per_process_database": round(result.database_busy, 3),
        "per_process_sandboxes": result.most_leased,
        "per_process_answers_per_s": round(result.answers / SIMULATED_S, 1),
    }


def costs_of(figures: Mapping[str, float]) -> Costs:
    """The costs that the simulation needs, from measured figures."""
    return Costs(
        token_cpu_s=figures["token_cpu_us"] / 1e6,
        answer_cpu_s=figures["answer_cpu_ms"] / 1e3,
        block_cpu_s=figures["block_cpu_ms"] / 1e3,
        answer_db_s=figures["answer_db_ms"] / 1e3,
        stream_db_s=figures["stream_db_ms"] / 1e3,
        start_s=figures["start_s"],
    )


def curve(figures: Mapping[str, float]) -> list[tuple[int, float, float]]:
    """For numbers of conversations on one process: that number, the 99th wait in milliseconds, the busy share."""
    most, _ = per_process(figures, Load())
    points = []
    for share in (0.2, 0.5, 0.8, 1.0, 1.2, 1.5):
        number = int(most * share)
        result = simulate_server(
            number, Load(), costs_of(figures), pool_max=10_000, starts=8, seconds=SIMULATED_S, seed=1
        )
        points.append((number, percentile(sorted(result.late_s), 99) * 1000, result.busy))
    return points


def per_process(figures: Mapping[str, float], load: Load) -> tuple[int, ServerResult]:
    """The most conversations, in steps of 15 %, that one process bears, and the simulation's result for them."""
    costs = costs_of(figures)
    number, best = 50, None  # type: int, tuple[int, ServerResult] | None
    while True:
        result = simulate_server(number, load, costs, pool_max=10_000, starts=8, seconds=SIMULATED_S, seed=1)
        late_ms = percentile(sorted(result.late_s), 99) * 1000
        if late_ms > MOST_LATE_MS or result.busy > MOST_BUSY:
            return best or (number, result)
        best = number, result
        number = max(number + 10, int(number * 1.15))


# ---- the measurements ------------------------------------------------------------------------------------------------


async def _answers(sandbox: str) -> dict[str, float]:
    async with served(sandbox, pool_min="1") as server, Socket.open(server.ws_url) as socket:
        seen = await answer(socket, "say 1 1000", 60, Seen())
        more = {"conversation": seen.conversation}
        cpu: list[float] = []
        mongod = psutil.Process(server.mongod())
        before = cpu_s(mongod)
        for _ in range(LATE + AROUND):
            cpu.append(await _spent(server, socket, "say 1 1000", more))
        database = (cpu_s(mongod) - before) / len(cpu)
        early = statistics.mean(cpu[EARLY - AROUND // 2 : EARLY + AROUND // 2])
        late = statistics.mean(cpu[LATE - AROUND // 2 : LATE + AROUND // 2])
        before = cpu_s(mongod)
        long = await _spent(server, socket, f"say {LONG_TOKENS} {LONG_RATE}", {})
        stream = (cpu_s(mongod) - before - database) / (LONG_TOKENS / LONG_RATE)
        first = await answer(socket, "run 1", 60, Seen())
        blocks = [await _spent(server, socket, "run 1", {"conversation": first.conversation}) for _ in range(BLOCKS)]
        start_s = await _start_s(server)
    return {
        f"turn_{EARLY}_cpu_ms": round(early * 1000, 2),
        f"turn_{LATE}_cpu_ms": round(late * 1000, 2),
        "token_cpu_us": round((long - early) / LONG_TOKENS * 1e6, 1),
        "answer_cpu_ms": round(early * 1000, 2),
        "block_cpu_ms": round((statistics.mean(blocks) - early) * 1000, 2),
        "answer_db_ms": round(database * 1000, 2),
        "stream_db_ms": round(max(0.0, stream) * 1000, 2),
        "start_s": round(start_s, 2),
    }


async def _spent(server: Served, socket: Socket, question: str, more: Mapping[str, str]) -> float:
    """CPU seconds of the server for one answer, with what it does in the tenth of a second after it."""
    before = server.cpu_s()
    seen = await answer(socket, question, 120, Seen(), **more)
    if seen.end != "response.completed":
        raise RuntimeError(f"{question}: {seen.end} {seen.code}")
    await asyncio.sleep(0.1)
    return server.cpu_s() - before


async def _start_s(server: Served) -> float:
    async with httpx.AsyncClient(trust_env=False) as client:
        found = (await client.get(f"{server.url}/v1/pool")).raise_for_status().json()
    return float(found["pool"]["refill_s"])


async def _pool(size: int) -> float:
    """CPU, in microseconds, for an acquire and a release of a real pool whose sandboxes are nothing."""
    configure("error", json=False)
    with stand_ins(0.0):
        pool = SandboxPool(SandboxSpec(), backend=NoBackend(), min_size=size, max_size=2 * size, concurrent_starts=8)
        async with pool:
            await pool.ready()
            began = time.process_time()
            for _ in range(ROUNDS):
                async with pool.acquire():
                    pass
                await pool.until(lambda stats: stats.warm >= size)
            return (time.process_time() - began) / ROUNDS * 1e6


async def _history(conversations: int) -> float:
    history.CONVERSATIONS = conversations
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as directory:
        async with embedded_mongod(Path(directory)) as uri:
            await history.fill(uri)
            async with Store.connect(uri) as store:
                took = []
                for _ in range(PAGES):
                    began = time.monotonic()
                    await store.history.find(HistoryQuery(), owner="local")
                    took.append(time.monotonic() - began)
    return statistics.median(took) * 1000


if __name__ == "__main__":
    print(json.dumps(simulated(json.loads(sys.argv[2]))))

"""The three short parts of the load benchmark: idle sockets, streams of tokens, executions over a small pool."""

import asyncio
import gc
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx

from benchmarks.load.answers import Seen, answer
from benchmarks.load.client import Socket
from benchmarks.load.served import Served, cpu_s, served
from sandbox_pool.percentile import percentile

__all__ = ["executions", "idle_sockets", "streams"]

AT_ONCE = 50
"""How many clients connect at once: a server lets so many of one address wait, and not all that there are."""
FIRST, SETTLE_S = 100, 2.0
STEADY_AFTER_S = 1.0


async def idle_sockets(sockets: int) -> dict[str, float]:
    """Opens sockets that say nothing. `mb_per_socket` is the server's memory for each, over that with the first 100.

    `health_ms` is how long `/healthz` takes with all of them open.
    """
    _raise_file_limit(sockets + 200)
    async with served("process") as server, AsyncExitStack() as stack:
        url = server.ws_url
        await _open(url, FIRST, stack)
        await asyncio.sleep(SETTLE_S)
        base = server.rss_mb()
        await _open(url, sockets, stack)
        await asyncio.sleep(SETTLE_S)
        used = server.rss_mb() - base
        async with httpx.AsyncClient(trust_env=False) as client:
            began = time.monotonic()
            (await client.get(f"{server.url}/healthz")).raise_for_status()
            took = time.monotonic() - began
        return {"sockets": sockets, "mb_per_socket": round(used / sockets, 4), "health_ms": round(took * 1000, 1)}


async def _open(url: str, number: int, stack: AsyncExitStack) -> None:
    opening = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with opening:
            await stack.enter_async_context(Socket.open(url))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(number):
            tasks.create_task(one())


async def streams(number: int, *, rate: int, seconds: float, workers: int = 1) -> dict[str, float]:
    """Answers at once, each of `rate` tokens a second. Delays are from the model's process to the client's.

    All are asked for at the same moment, so the server begins them beside the first tokens. `token_…` is what holds
    from a second after the last answer has begun, until the first one ends; `start_p99_ms` is the delay before that.
    `start_s` is from the question to the last answer's first token. `token_cpu_us` is the server's CPU, `others_cpu_us`
    that of the model and the clients, which need processors too.
    """
    tokens = int(rate * seconds)
    seen = [Seen() for _ in range(number)]
    async with served("process", workers=str(workers)) as server, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_ask_all(server, f"say {tokens} {rate}", seen, within_s=seconds + 60))
        steady = await _steady(server, seen, asked)
    if bad := {each.code or each.end for each in seen if each.end != "response.completed"}:
        print(f"streams that did not complete: {sorted(bad)}", file=sys.stderr)
    pairs = [pair for each in seen for pair in zip(each.sent_at, each.late_ms, strict=True)]
    late = sorted(late for sent, late in pairs if steady.begins <= sent < steady.ends)
    early = sorted(late for sent, late in pairs if sent < steady.begins)
    whole = [each for each in seen if each.end == "response.completed"]
    return {
        "streams": number,
        "tokens_per_s": round(steady.tokens / (steady.ends - steady.begins)),
        "token_p50_ms": round(percentile(late, 50), 2),
        "token_p99_ms": round(percentile(late, 99), 2),
        "token_cpu_us": round(steady.server_s / steady.tokens * 1e6, 1) if workers == 1 else 0.0,
        "others_cpu_us": round(steady.others_s / steady.tokens * 1e6, 1),
        "start_s": round(steady.begins - STEADY_AFTER_S - asked.result(), 2),
        "start_p99_ms": round(percentile(early, 99), 2),
        "stream_failures": number - len(whole),
        "stream_lost_events": sum(each.lost + abs(tokens - each.tokens) for each in whole),
    }


@dataclass(frozen=True, slots=True)
class _Steady:
    """From when until when all answers were streaming (Unix seconds), their tokens meanwhile, and CPU seconds."""

    begins: float
    ends: float
    tokens: int
    server_s: float
    others_s: float


async def _steady(server: Served, seen: Sequence[Seen], asked: asyncio.Task[float]) -> _Steady:
    def now() -> tuple[float, int, float, float]:
        others_s = cpu_s(server.model) + time.process_time()
        return time.time(), sum(each.tokens for each in seen), server.cpu_s(), others_s

    while any(not each.tokens and not each.end for each in seen) and not asked.done():
        await asyncio.sleep(0.05)
    await asyncio.sleep(STEADY_AFTER_S)
    before = now()
    while not any(each.end for each in seen) and not asked.done():
        await asyncio.sleep(0.05)
    after = now()
    tokens, server_s, others_s = (more - less for more, less in zip(after[1:], before[1:], strict=True))
    return _Steady(before[0], after[0], int(tokens), server_s, others_s)


async def _ask_all(server: Served, question: str, seen: Sequence[Seen], *, within_s: float) -> float:
    """Asks the question once for each of `seen`, all at once; returns when that was (Unix seconds)."""
    opening, ready, go = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(0), asyncio.Event()

    async def one(each: Seen) -> None:
        async with AsyncExitStack() as stack:
            async with opening:
                socket = await stack.enter_async_context(Socket.open(server.ws_url))
            ready.release()
            await go.wait()
            await answer(socket, question, within_s, each)

    async with asyncio.TaskGroup() as tasks:
        for each in seen:
            tasks.create_task(one(each))
        for _ in seen:
            await ready.acquire()
        gc.freeze()
        go.set()
        return time.time()


async def executions(sandbox: str, *, conversations: int, pool: int, rounds: int) -> dict[str, float]:
    """Conversations that run code, over a pool with fewer sandboxes: idle ones give theirs up to those that wait."""
    async with served(sandbox, pool_max=str(pool), acquire_timeout_s="120") as server:
        took: list[float] = []
        seen: list[Seen] = []

        async def one() -> None:
            more: dict[str, str] = {}
            async with Socket.open(server.ws_url) as socket:
                for _ in range(rounds):
                    began = time.monotonic()
                    each = await answer(socket, "run 3", 240, Seen(), **more)
                    took.append(time.monotonic() - began)
                    seen.append(each)
                    more = {"conversation": each.conversation}

        async with asyncio.TaskGroup() as tasks:
            for _ in range(conversations):
                tasks.create_task(one())
        async with httpx.AsyncClient(trust_env=False) as client:
            stats = (await client.get(f"{server.url}/v1/pool")).raise_for_status().json()["pool"]
    return {
        "executions": len(seen),
        "execution_failures": sum(each.end != "response.completed" for each in seen),
        "execution_lost_events": sum(each.lost for each in seen),
        "execution_p50_s": round(percentile(sorted(took), 50), 2),
        "execution_p99_s": round(percentile(sorted(took), 99), 2),
        "turned_away": stats["turned_away"],
    }


def _raise_file_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, hard)), hard))

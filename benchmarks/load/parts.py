"""The three short parts of the load benchmark: idle sockets, streams of tokens, executions over a small pool."""

import asyncio
import gc
import resource
import sys
import time
from contextlib import AsyncExitStack

import httpx

from benchmarks.load.answers import Seen, answer
from benchmarks.load.client import Socket
from benchmarks.load.served import Served, served
from sandbox_pool.percentile import percentile

__all__ = ["executions", "idle_sockets", "streams"]

AT_ONCE = 50
"""How many clients connect at once: a server lets so many of one address wait, and not all that there are."""
FIRST, SETTLE_S = 100, 2.0


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

    The first second of each answer does not count: all begin at once.
    """
    tokens = int(rate * seconds)
    async with served("process", workers=str(workers)) as server:
        before, began = server.cpu_s(), time.monotonic()
        seen = await _ask_all(server, [f"say {tokens} {rate}"] * number, within_s=seconds + 60)
        spent, took = server.cpu_s() - before, time.monotonic() - began
    if bad := {each.code or each.end for each in seen if each.end != "response.completed"}:
        print(f"streams that did not complete: {sorted(bad)}", file=sys.stderr)
    late = sorted(one for each in seen for one in each.late_ms[rate:])
    whole = [each for each in seen if each.end == "response.completed"]
    return {
        "streams": number,
        "tokens_per_s": round(sum(each.tokens for each in seen) / took),
        "token_p50_ms": round(percentile(late, 50), 2),
        "token_p99_ms": round(percentile(late, 99), 2),
        "token_cpu_us": round(spent / sum(each.tokens for each in seen) * 1e6, 1) if workers == 1 else 0.0,
        "stream_failures": number - len(whole),
        "stream_lost_events": sum(each.lost + abs(tokens - each.tokens) for each in whole),
    }


async def _ask_all(server: Served, questions: list[str], *, within_s: float) -> list[Seen]:
    opening, ready, go = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(0), asyncio.Event()

    async def one(question: str) -> Seen:
        async with AsyncExitStack() as stack:
            async with opening:
                socket = await stack.enter_async_context(Socket.open(server.ws_url))
            ready.release()
            await go.wait()
            return await answer(socket, question, within_s, Seen())

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(one(question)) for question in questions]
        for _ in questions:
            await ready.acquire()
        gc.freeze()
        go.set()
    return [each.result() for each in asked]


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

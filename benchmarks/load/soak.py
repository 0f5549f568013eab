"""A soak: clients that ask all the time, while things break at random; at the end nothing is lost and nothing is left.

Clients stream tokens and run code. They drop their sockets in mid-answer and resume. Kernels kill themselves, the
server and mongod are stopped for seconds (SIGSTOP), and mongod is killed; with Docker, an engine of the soak's own is
killed and started again, which ends all sandboxes. A client reads every fifth answer once more
after its end and compares it, frame by frame, with what it had seen.

    soak_s, soak_answers         how long, and how many answers ended
    soak_drops, soak_faults      sockets dropped in mid-answer, and faults of server and database
    soak_kernel_kills            answers whose code killed its kernel
    soak_token_p99_ms            a token's way from the model to a client that did not drop its socket, faults included
    soak_answer_p50_s, …_p99_s   from a question to the end of its answer, faults and resumptions included
    soak_failures                answers that did not complete; each is printed with its code
    soak_lost_events             numbers that were missing or repeated, tokens missing, frames that changed later
    slope_mb_per_h               growth of the server's memory after the first fifth, by least squares
    slope_descriptors_per_h      the same of its open files
    leaks                        sandboxes, descriptors (beyond 20 for connections kept) and blobs, once all is idle,
                                 deleted and purged
"""

import asyncio
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load.answers import Seen, answer, follow
from benchmarks.load.client import Closed, Socket
from benchmarks.load.engine import Engine, own_engine
from benchmarks.load.served import Served, served
from codeact.store import Store, embedded_mongod
from sandbox_pool.percentile import percentile

__all__ = ["slope_per_h", "soak"]

CLIENTS, POOL = 12, 6
RATE, TOKENS = 50, 100
DROPS, READ_AGAIN = 0.3, 0.2
FAULT_EVERY_S = 8.0, 20.0
STOPPED_S = 0.5, 4.0
SAMPLE_S = 2.0
QUIET_S = 60.0
SPARE_DESCRIPTORS = 20
LOCKED = '"code":"conversation_locked"'
SETTINGS = {
    "pool_min": "1",
    "pool_max": str(POOL),
    "idle_timeout_s": "8",
    "deleted_retention_days": "0",
    "acquire_timeout_s": "120",
    "events_ttl_s": "600",
}


async def soak(sandbox: str, *, seconds: float, seed: int) -> dict[str, float]:
    """Runs the soak; its end takes up to a minute more."""
    chance = random.Random(seed)
    soaked = _Soak(chance)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(own_engine()) if sandbox == "docker" else None
        docker_host = engine.host if engine is not None else None
        server = await stack.enter_async_context(served(sandbox, docker_host=docker_host, **SETTINGS))
        warm_up = _Soak(chance)  # After it, everything is imported and connected.
        await asyncio.gather(*(warm_up.client(server, until=time.monotonic()) for _ in range(CLIENTS)))
        await _quiet(server)
        descriptors = _descriptors(server)
        async with asyncio.timeout(seconds + 300), asyncio.TaskGroup() as tasks:
            until = time.monotonic() + seconds
            breaking = tasks.create_task(soaked.break_things(server, engine))
            sampling = tasks.create_task(soaked.sample(server))
            clients = [tasks.create_task(soaked.client(server, until=until)) for _ in range(CLIENTS)]
            await asyncio.wait(clients)
            breaking.cancel()
            sampling.cancel()
        left = await _left(server, descriptors, engine) | {"blobs": await _blobs_left(server)}
    for text in (*sorted(soaked.failures), *soaked.oddities):
        print(f"soak: {text}", file=sys.stderr)
    print(f"soak: left {left}", file=sys.stderr)
    samples = soaked.samples[len(soaked.samples) // 5 :]
    late, took = sorted(soaked.late_ms), sorted(soaked.took_s)
    print(f"soak: faults {dict(soaked.by_fault)}", file=sys.stderr)
    return {
        "soak_s": seconds,
        "soak_answers": soaked.answers,
        "soak_drops": soaked.drops,
        "soak_faults": soaked.by_fault.total(),
        "soak_kernel_kills": soaked.kernel_kills,
        "soak_token_p99_ms": round(percentile(late, 99), 1),
        "soak_answer_p50_s": round(percentile(took, 50), 2),
        "soak_answer_p99_s": round(percentile(took, 99), 2),
        "soak_failures": len(soaked.failures),
        "soak_lost_events": soaked.lost,
        "slope_mb_per_h": round(slope_per_h([(at, rss_mb) for at, rss_mb, _ in samples]), 1),
        "slope_descriptors_per_h": round(slope_per_h([(at, descriptors) for at, _, descriptors in samples]), 1),
        "leaks": sum(left.values()),
    }


def slope_per_h(samples: list[tuple[float, float]]) -> float:
    """The growth for an hour of what was sampled, as pairs of seconds and value; 0 for fewer than two."""
    if len(samples) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*samples, strict=True)).slope * 3600


class _Soak:
    def __init__(self, chance: random.Random) -> None:
        self.answers = self.drops = self.kernel_kills = self.lost = 0
        self.by_fault: Counter[str] = Counter()
        self.late_ms: list[float] = []
        self.took_s: list[float] = []
        self.failures: list[str] = []
        self.oddities: list[str] = []
        self.samples: list[tuple[float, float, float]] = []
        self._chance = chance

    async def client(self, server: Served, *, until: float) -> None:
        """Asks one question after the other, at least one; every third begins a conversation."""
        more: dict[str, Any] = {}
        number = 0
        while True:
            question = self._chance.choice([f"say {TOKENS} {RATE}", "run 5", "run 20", "die"])
            seen = Seen(keeps_frames=self._chance.random() < READ_AGAIN)
            began = time.monotonic()
            has_dropped = await self._ask(server, question, seen, more)
            self.took_s.append(time.monotonic() - began)
            self.late_ms += [] if has_dropped else seen.late_ms
            self._note(question, seen)
            if seen.keeps_frames and seen.response_id:
                await self._compare(server, seen)
            number += 1
            more = {"conversation": seen.conversation} if number % 3 and seen.conversation else {}
            if time.monotonic() >= until:
                return

    async def _ask(self, server: Served, question: str, seen: Seen, more: dict[str, Any]) -> bool:
        """Asks, and resumes after every broken or dropped connection, until the answer has ended.

        Returns whether a connection ended before.
        """
        patience, has_dropped = time.monotonic() + 240, False
        while not seen.end and time.monotonic() < patience:
            drops = self._chance.random() < DROPS
            self.drops += drops
            try:
                async with Socket.open(server.ws_url) as socket:
                    within_s = self._chance.uniform(0.2, 2.0) if drops else 120.0
                    if not seen.response_id:
                        seen.next_number = 0
                        await answer(socket, question, within_s, seen, **more)
                        if LOCKED in seen.code:  # The question of a socket that it dropped is still under way.
                            seen.end = seen.code = ""
                            await asyncio.sleep(0.5)
                        continue
                    resume: dict[str, Any] = {"type": "codeact:response.resume", "response_id": seen.response_id}
                    if seen.next_number:
                        resume["starting_after"] = seen.next_number - 1
                    socket.send(resume | {"include": ["codeact:events"]})
                    await follow(socket, within_s, seen)
            except (Closed, TimeoutError, OSError):
                has_dropped = True
                await asyncio.sleep(0.1)
        return has_dropped

    def _note(self, question: str, seen: Seen) -> None:
        self.answers += 1
        self.kernel_kills += question == "die"
        self.lost += seen.lost
        if seen.end != "response.completed":
            self.failures.append(f"{question}: {seen.end or 'no end'} {seen.code}")
        elif question.startswith("say") and seen.tokens != TOKENS:
            self.lost += abs(TOKENS - seen.tokens)
            self.oddities.append(f"{seen.response_id}: {seen.tokens} tokens, {seen.lost} numbers lost")

    async def _compare(self, server: Served, seen: Seen) -> None:
        """Reads the answer from its beginning, and counts the frames that are not what was seen."""
        again = Seen(keeps_frames=True, response_id=seen.response_id)
        for _ in range(20):
            with suppress(Closed, TimeoutError, OSError):
                async with Socket.open(server.ws_url) as socket:
                    again = Seen(keeps_frames=True, response_id=seen.response_id)
                    resume = {"type": "codeact:response.resume", "response_id": seen.response_id}
                    socket.send(resume | {"include": ["codeact:events"]})
                    await follow(socket, 60.0, again)
                    break
            await asyncio.sleep(0.5)
        same = sum(one == other for one, other in zip(seen.frames, again.frames, strict=False))
        self.lost += len(seen.frames) - same
        if len(seen.frames) != same:
            odd = next((pair for pair in zip(seen.frames, again.frames, strict=False) if pair[0] != pair[1]), ())
            self.oddities.append(f"{seen.response_id}: {same} of {len(seen.frames)} frames came again: {odd}"[:1000])

    async def break_things(self, server: Served, engine: Engine | None) -> None:
        """Stops the server, stops mongod, kills mongod, or kills the engine and starts it again, again and again.

        In a random order, in which each comes once before any comes again: so a short soak has all of them.
        """
        faults = ["server stopped", "mongod stopped", "mongod killed", *(["engine killed"] if engine else [])]
        left: list[str] = []
        while True:
            await asyncio.sleep(self._chance.uniform(*FAULT_EVERY_S))
            left = left or self._chance.sample(faults, len(faults))
            fault = left.pop()
            self.by_fault[fault] += 1
            if fault == "engine killed" and engine is not None:
                await asyncio.shield(engine.restart())  # The soak must not end with an engine that is away.
                continue
            with suppress(ProcessLookupError, OSError, ValueError):
                pid = server.process.pid if fault == "server stopped" else server.mongod()
                if fault == "mongod killed":
                    os.kill(pid, signal.SIGKILL)
                    continue
                os.kill(pid, signal.SIGSTOP)
                try:
                    await asyncio.sleep(self._chance.uniform(*STOPPED_S))
                finally:
                    os.kill(pid, signal.SIGCONT)

    async def sample(self, server: Served) -> None:
        """Notes the server's memory and its number of open files again and again."""
        while True:
            self.samples.append((time.monotonic(), server.rss_mb(), server.process.num_fds()))
            await asyncio.sleep(SAMPLE_S)


def _descriptors(server: Served) -> Counter[str]:
    """The server's open files by their kind: `socket`, `pipe`, `anon_inode`, or a path."""
    links = []
    for number in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(OSError):
            links.append(str(number.readlink()))
    return Counter(link.partition(":[")[0] for link in links)


async def _quiet(server: Served) -> dict[str, Any]:
    """Waits until no sandbox is in use, and returns what `/v1/pool` says then."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for _ in range(int(QUIET_S)):
            found: dict[str, Any] = (await client.get(f"{server.url}/v1/pool")).raise_for_status().json()
            pool = found["pool"]
            if pool["leased"] + pool["removing"] + pool["starting"] == 0:
                break
            await asyncio.sleep(1)
        return found


async def _left(server: Served, descriptors: Counter[str], engine: Engine | None) -> dict[str, int]:
    """What is left over once everything is idle and every conversation is deleted."""
    found = await _quiet(server)
    pool = found["pool"]
    async with httpx.AsyncClient(trust_env=False, timeout=60, base_url=server.url) as client:
        while (
            listed := (await client.get("/v1/conversations", params={"limit": 100})).raise_for_status().json()["data"]
        ):
            for one in listed:
                (await client.delete(f"/v1/conversations/{one['id']}")).raise_for_status()
    directories = sum(entry.is_dir() for entry in (server.data_dir / "run").glob("*/*"))
    more = _descriptors(server) - descriptors
    print(f"soak: more descriptors than before: {dict(more)}", file=sys.stderr)
    on_disk = directories - pool["warm"] if directories else 0
    if engine is not None:
        on_disk = max(on_disk, await engine.containers() - pool["warm"])
    return {
        "sandboxes": pool["leased"] + pool["removing"] + found["leaked"] + max(0, on_disk),
        "descriptors": max(0, more.total() - SPARE_DESCRIPTORS),
    }


async def _blobs_left(server: Served) -> int:
    """Purges what is deleted, as the server's maintenance does in time, and returns how many blobs are left."""
    async with embedded_mongod(server.data_dir) as uri, Store.connect(uri) as store:
        for _ in range(2):  # The first call finds which blobs are unused, the second one removes them.
            await store.purging.purge(before=datetime.now(UTC), unused_for=timedelta(0))
        return int(await store._client.get_default_database("codeact")["blobs"].count_documents({}))

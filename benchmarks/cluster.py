"""Measures sandboxes on a Kubernetes cluster beside Docker's, in one run, and looks for leaks.

    KUBECONFIG=FILE python -m benchmarks.cluster IMAGE [CLAIMS] [--warm-pool NAME] [--into FILE]

It prints one flat JSON object. A claim takes a warm sandbox from the pool, runs `print(1)` in it and gives it back; its
time is from the request for a sandbox until the output has arrived. The pool refills meanwhile. Both backends run the
same image, which the cluster and the Docker engine must have; nothing is preloaded. With `--warm-pool`, sandboxes are
claimed from that SandboxWarmPool of agent-sandbox, and each claim waits for a ready sandbox there. Its own client takes
turns with ours then (requirements/peer-agent-sandbox.txt, installed into .venv-peers/ once). With `--into`, the times
are added to those in the file, and the figures are of all: so many claims can be measured in several runs.

    claim_p50_ms, claim_p99_ms      of the cluster; docker_claim_… of Docker, which gets one claim of DOCKER_SHARE
    claims, claim_misses            how many there were, and how many of this run found no warm sandbox
    output_p50_ms                   a `print` in running code until its output arrives
    stop_p50_ms                     an endless loop is interrupted until it has ended
    start_p50_ms                    one sandbox started alone until its kernel has answered
    claimed_p50_ms                  with --warm-pool: a claim until we have the name and address of its ready pod
    agent_sandbox_claimed_p50_ms    the same by agent-sandbox's client
    pods_left, claims_left          what there is of ours after the end
    descriptors_added               open files and sockets of this process, from the tenth claim to the last, of
                                    which four belong to each pod by which the pool has grown
    kb_per_claim                    memory that this process grew by, for each of these claims
    …_ratio                         the cluster's median divided by Docker's
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import structlog

from benchmarks.peers import environment_of, install
from sandbox_pool import Sandbox, SandboxPool, SandboxSpec, Stream
from sandbox_pool.backends.base import Backend
from sandbox_pool.backends.registry import open_backend
from sandbox_pool.percentile import percentile
from sandbox_pool.spec import PodOptions

CLAIMS = 50
DOCKER_SHARE = 5
SETTLED = 10
PRINTS = 50
STOPS = 15
STARTS = 3
WARM = 4
READY = 2
"""So many pods of a warm pool are waited for: it may not have told yet that one has just been taken."""
TIMEOUT_S = 120.0
PRINT_CODE = f"import time\nfor _ in range({PRINTS}):\n    print(f'at={{time.time():.6f}}')\n    time.sleep(0.02)\n"
WHAT = ("claim", "output", "stop", "start")
PEER = "agent-sandbox"
PEER_TURN = """
import sys, time
from k8s_agent_sandbox import SandboxClient
client = SandboxClient()
for line in sys.stdin:
    began = time.perf_counter()
    sandbox = client.create_sandbox(sys.argv[1], sys.argv[2])
    print(f"took={(time.perf_counter() - began) * 1000}", flush=True)
    client.delete_sandbox(sandbox.claim_name, sys.argv[2])
    print("deleted=", flush=True)
"""

Times = dict[str, dict[str, list[float]]]


async def claim(pool: SandboxPool) -> float:
    began = time.perf_counter()
    async with pool.acquire(timeout_s=TIMEOUT_S) as sandbox, sandbox.execute("print(1)") as execution:
        await anext(execution)
        return (time.perf_counter() - began) * 1000


@contextmanager
def timed_claims(into: list[float]) -> Iterator[None]:
    """Adds to the list how many milliseconds each of our claims takes until its pod is known."""
    from sandbox_pool.backends.kubernetes.claimed_pods import ClaimedPods

    obtain = ClaimedPods.obtain

    async def timed(self: ClaimedPods, sandbox_id: str, spec: SandboxSpec) -> tuple[str, str]:
        began = time.perf_counter()
        found = await obtain(self, sandbox_id, spec)
        into.append((time.perf_counter() - began) * 1000)
        return found

    ClaimedPods.obtain = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        ClaimedPods.obtain = obtain  # type: ignore[method-assign]


class Peer:
    """agent-sandbox's client in a process of its own, which makes one claim after another."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def open(cls, warm_pool: str, namespace: str) -> AsyncIterator["Peer"]:
        await install(PEER)
        python = str(environment_of(PEER) / "bin" / "python")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            python, "-c", PEER_TURN, warm_pool, namespace, stdin=pipe, stdout=pipe
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def claim(self) -> float:
        """Claims a sandbox and gives it back; returns the milliseconds until it was there."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        took = await self._line("took=")
        await self._line("deleted=")
        return float(took)

    async def _line(self, name: str) -> str:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():  # It logs to its standard output, too.
            if line.startswith(name.encode()):
                return line.decode().removeprefix(name)
        raise RuntimeError("agent-sandbox's client has ended")


async def output_ms(sandbox: Sandbox) -> list[float]:
    """Both clocks are this machine's if the cluster runs on it. Otherwise the figure means nothing."""
    found = []
    async for output in sandbox.execute(PRINT_CODE):
        assert isinstance(output, Stream)
        if "at=" in output.text:  # The end of the line may come by itself.
            found.append((time.time() - float(output.text.split("at=")[-1])) * 1000)
    return found


async def stop_ms(sandbox: Sandbox) -> float:
    execution = sandbox.execute("print('runs')\nwhile True: pass")
    await anext(execution)
    began = time.perf_counter()
    await sandbox.interrupt()
    return (time.perf_counter() - began) * 1000


async def start_ms(backend: Backend, spec: SandboxSpec, name: str) -> float:
    began = time.perf_counter()
    sandbox = await Sandbox.start(backend, name, spec, deadline_s=TIMEOUT_S)
    spent = (time.perf_counter() - began) * 1000
    await sandbox.close()
    return spent


class Cluster:
    """What the benchmark asks the cluster itself."""

    def __init__(self, warm_pool: str | None) -> None:
        self._warm_pool = warm_pool

    async def __aenter__(self) -> "Cluster":
        from sandbox_pool.backends.kubernetes.claim_state import GROUP, VERSION
        from sandbox_pool.backends.kubernetes.cluster import Cluster as Connection

        self._connection = await Connection.connect(None)
        self.namespace = self._connection.namespace
        self._pools = self._connection.objects(GROUP, VERSION, "sandboxwarmpools")
        self._claims = self._connection.objects(GROUP, VERSION, "sandboxclaims")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def ready(self, pool: SandboxPool) -> None:
        """Waits until a claim will find a warm sandbox."""
        if self._warm_pool is None:
            await pool.until(lambda stats: stats.warm >= 1)
            return
        while ((await self._pools.get(self._warm_pool) or {}).get("status") or {}).get("readyReplicas", 0) < READY:
            await asyncio.sleep(0.2)

    async def left(self) -> dict[str, int]:
        from sandbox_pool.backends.kubernetes.provisioner import selector

        pods, _ = await self._connection.pods.list(selector())
        claims = (await self._claims.list(selector()))[0] if self._warm_pool is not None else []
        return {"pods_left": len(pods), "claims_left": len(claims)}


async def measure(image: str, claims: int, warm_pool: str | None, times: Times) -> dict[str, float]:
    """Adds to the times, and returns the figures."""
    spec = SandboxSpec(image=image, preload=())
    specs = {"docker": spec, "kubernetes": spec}
    if warm_pool is not None:
        specs["kubernetes"] = replace(spec, pods=PodOptions(provisioner="agent-sandbox", warm_pool=warm_pool))
    for name in specs:
        times.setdefault(name, {what: [] for what in WHAT})
    process = psutil.Process()
    settled: tuple[int, int] = (0, 0)
    with tempfile.TemporaryDirectory() as directory:
        async with Cluster(warm_pool) as cluster:
            backends = {}
            for name, each in specs.items():
                found = await open_backend(name, each, state_dir=Path(directory), progress=lambda line: None)
                backends[name] = found.backend
            for number in range(STARTS):
                for name, backend in backends.items():
                    times[name]["start"].append(await start_ms(backend, specs[name], f"bench-{number}"))
            pools = {
                name: SandboxPool(
                    specs[name],
                    backend=backend,
                    min_size=0 if name == "kubernetes" and warm_pool is not None else WARM,
                    max_size=2 * WARM,
                )
                for name, backend in backends.items()
            }
            async with AsyncExitStack() as stack:
                for pool in pools.values():
                    await stack.enter_async_context(pool)
                peer = None
                if warm_pool is not None:
                    stack.enter_context(timed_claims(times["kubernetes"].setdefault("claimed", [])))
                    peer = await stack.enter_async_context(Peer.open(warm_pool, cluster.namespace))
                for number in range(claims):
                    await at_rest(pools["docker"])  # What this process does beside a claim is part of its time.
                    await cluster.ready(pools["kubernetes"])
                    times["kubernetes"]["claim"].append(await claim(pools["kubernetes"]))
                    if peer is not None:
                        await cluster.ready(pools["kubernetes"])
                        times["kubernetes"].setdefault(PEER, []).append(await peer.claim())
                    if number % DOCKER_SHARE == 0:
                        await pools["docker"].until(lambda stats: stats.warm >= 1)
                        times["docker"]["claim"].append(await claim(pools["docker"]))
                    if number == SETTLED - 1:
                        settled = await resources(process, pools)
                last = await resources(process, pools)
                for name, pool in pools.items():
                    async with pool.acquire(timeout_s=TIMEOUT_S) as sandbox:
                        await pool.until(lambda stats: not stats.starting + stats.removing)
                        times[name]["output"] += await output_ms(sandbox)
                        times[name]["stop"] += [await stop_ms(sandbox) for _ in range(STOPS)]
                misses = 0 if warm_pool is not None else pools["kubernetes"].stats().misses
            left = await cluster.left()
    return {
        "claims": len(times["kubernetes"]["claim"]),
        "claim_misses": misses,
        **summary(times),
        **left,
        "descriptors_added": last[0] - settled[0],
        "kb_per_claim": (last[1] - settled[1]) / 1024 / max(1, claims - SETTLED),
    }


async def at_rest(pool: SandboxPool) -> None:
    await pool.until(lambda stats: stats.warm >= stats.target and not stats.starting + stats.removing)


async def resources(process: psutil.Process, pools: dict[str, SandboxPool]) -> tuple[int, int]:
    """Open descriptors and bytes of memory of this process, once both pools rest."""
    for pool in pools.values():
        await at_rest(pool)
    return process.num_fds(), process.memory_info().rss


def summary(times: Times) -> dict[str, float]:
    figures = {}
    for what in WHAT:
        for name, prefix in (("kubernetes", ""), ("docker", "docker_")):
            values = sorted(times[name][what])
            figures[f"{prefix}{what}_p50_ms"] = percentile(values, 50)
            figures[f"{prefix}{what}_p99_ms"] = percentile(values, 99)
        figures[f"{what}_ratio"] = figures[f"{what}_p50_ms"] / figures[f"docker_{what}_p50_ms"]
    for what, name in (("claimed", "claimed"), (PEER, "agent_sandbox_claimed")):
        if values := sorted(times["kubernetes"].get(what, ())):
            figures[f"{name}_p50_ms"] = percentile(values, 50)
            figures[f"{name}_p99_ms"] = percentile(values, 99)
    return figures


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    parser = argparse.ArgumentParser(description=(sys.modules[__name__].__doc__ or "").split("\n")[0])
    parser.add_argument("image")
    parser.add_argument("claims", type=int, nargs="?", default=CLAIMS)
    parser.add_argument("--warm-pool")
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    times: Times = json.loads(given.into.read_text()) if given.into is not None and given.into.exists() else {}
    print(json.dumps(asyncio.run(measure(given.image, given.claims, given.warm_pool, times))))
    if given.into is not None:
        given.into.write_text(json.dumps(times))


if __name__ == "__main__":
    main()

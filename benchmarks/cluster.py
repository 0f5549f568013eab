"""Measures sandboxes on a Kubernetes cluster beside Docker's, alternating, in one run.

    KUBECONFIG=FILE python -m benchmarks.cluster IMAGE [CLAIMS]      prints one flat JSON object

A claim takes a sandbox that is warm from the pool, runs `print(1)` in it and gives it back; its time is from the
question for a sandbox until the output has arrived. Both backends run the same image, which the cluster and the Docker
engine must have; nothing is preloaded.

    claim_p50_ms, claim_p99_ms      of the cluster; docker_claim_… of Docker
    claims, claim_misses            how many there were, and how many of them found no warm sandbox
    output_p50_ms                   a `print` in a running cell until its output arrives
    stop_p50_ms                     an endless loop is interrupted until it has ended
    start_p50_ms                    one sandbox started alone until its kernel has answered
    pods_left                       what is there of ours after the end
    …_ratio                         the cluster's median divided by Docker's
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import structlog

from sandbox_pool import Sandbox, SandboxPool, SandboxSpec, Stream
from sandbox_pool.backends.base import Backend
from sandbox_pool.backends.registry import open_backend
from sandbox_pool.percentile import percentile

CLAIMS = 50
PRINTS = 50
STOPS = 15
STARTS = 5
WARM = 2
TIMEOUT_S = 120.0
PRINT_CODE = f"import time\nfor _ in range({PRINTS}):\n    print(f'at={{time.time():.6f}}')\n    time.sleep(0.02)\n"


async def claim(pool: SandboxPool) -> float:
    began = time.perf_counter()
    async with pool.acquire(timeout_s=TIMEOUT_S) as sandbox, sandbox.execute("print(1)") as execution:
        await anext(execution)
        return (time.perf_counter() - began) * 1000


async def output_ms(sandbox: Sandbox) -> list[float]:
    """Both clocks are this machine's, where the cluster is: else the figure is nothing."""
    found = []
    async for output in sandbox.execute(PRINT_CODE):
        assert isinstance(output, Stream)
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


async def measure(image: str, claims: int) -> dict[str, float]:
    spec = SandboxSpec(image=image, preload=())
    figures: dict[str, float] = {}
    times: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        backends = {}
        for name in ("kubernetes", "docker"):
            found = await open_backend(name, spec, state_dir=Path(directory), progress=lambda line: None)
            backends[name] = found.backend
            times[name] = {"claim": [], "output": [], "stop": [], "start": []}
        for number in range(STARTS):
            for name, backend in backends.items():
                times[name]["start"].append(await start_ms(backend, spec, f"bench-{number}"))
        pools = {
            name: SandboxPool(spec, backend=backend, min_size=WARM, max_size=2 * WARM, concurrent_starts=1)
            for name, backend in backends.items()
        }
        async with pools["kubernetes"], pools["docker"]:
            for _ in range(claims):
                for name, pool in pools.items():
                    # Only what is measured runs: no sandbox is being started or removed meanwhile.
                    await pool.until(lambda stats: stats.warm >= WARM and not stats.starting + stats.removing)
                    times[name]["claim"].append(await claim(pool))
            for name, pool in pools.items():
                async with pool.acquire(timeout_s=TIMEOUT_S) as sandbox:
                    await pool.until(lambda stats: not stats.starting + stats.removing)
                    times[name]["output"] = await output_ms(sandbox)
                    times[name]["stop"] = [await stop_ms(sandbox) for _ in range(STOPS)]
            figures["claims"], figures["claim_misses"] = claims, pools["kubernetes"].stats().misses
    for measured in times.values():
        for values in measured.values():
            values.sort()
    for what in ("claim", "output", "stop", "start"):
        for name, prefix in (("kubernetes", ""), ("docker", "docker_")):
            figures[f"{prefix}{what}_p50_ms"] = percentile(times[name][what], 50)
            figures[f"{prefix}{what}_p99_ms"] = percentile(times[name][what], 99)
        figures[f"{what}_ratio"] = figures[f"{what}_p50_ms"] / figures[f"docker_{what}_p50_ms"]
    figures["pods_left"] = await _pods_left()
    return figures


async def _pods_left() -> int:
    from sandbox_pool.backends.kubernetes.cluster import Cluster
    from sandbox_pool.backends.kubernetes.manifest import OURS

    cluster = await Cluster.connect(None)
    found, _ = await cluster.list(f"{OURS}=codeact")
    await cluster.close()
    return len(found)


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    image, claims = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else CLAIMS
    print(json.dumps(asyncio.run(measure(image, claims))))


if __name__ == "__main__":
    main()

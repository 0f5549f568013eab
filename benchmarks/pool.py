"""Measures how fast the pool leases and refills sandboxes, with the given backend.

The baseline is the plain way, measured in the same run, alternating with ours: for `process`, jupyter_client
starting a stock ipykernel; for `docker`, a plain container of the same image, created and started through
the SDK, whose command is that ipykernel. A start ends with the first reply to `kernel_info_request`. Nothing
is preloaded in either case.

    acquire_hit_p50_ms, _p99   a task is created until it has a warm sandbox, while others are being refilled
    acquire_burst20_p99_ms     20 tasks are created at once until the slowest of 99 % has a warm sandbox
    create_to_warm_ms          one sandbox started alone, without the pool; the median
    create_to_warm_ratio       the same, divided by the baseline's
    refill_per_s               sandboxes made warm in a second, from a burst of 20 until the pool is full again,
                               while the used ones are removed
    refill_ratio               the same, divided by the baseline's rate of sequential starts
    roundtrip_p50_ms           `1+1`: `execute` until its result
    raw_roundtrip_p50_ms       the same through jupyter_client in the baseline's kernel: until idle and the reply
    first_output_p50_ms        a `print` in a running cell until its output arrives
    idle_mb                    resident memory of the kernel of a sandbox just started, as the kernel reads it
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import write_connection_file
from jupyter_client.manager import AsyncKernelManager

from sandbox_pool import Sandbox, SandboxPool, SandboxSpec, Stream
from sandbox_pool.backends.base import Backend
from sandbox_pool.backends.registry import open_backend
from sandbox_pool.percentile import percentile

__all__ = ["measure"]

STARTS = 7
ROUNDTRIPS = 100
PRINTS = 100
BURST = 20
ROUNDS = 2
GAP_S = 0.1
TIMEOUT_S = 60.0
SPEC = SandboxSpec(preload=())

PRINT_CODE = f"import time\nfor i in range({PRINTS}):\n    print(f'at={{time.time():.6f}}')\n    time.sleep(0.02)\n"
MEMORY_CODE = "print(int(open('/proc/self/status').read().split('VmRSS:')[1].split()[0]) / 1024)"

RawKernel = AbstractAsyncContextManager[AsyncKernelClient]


async def measure(sandbox: str) -> dict[str, float]:
    """Runs everything once, in about a minute on two cores. `sandbox` is `process` or `docker`."""
    # Standard output is for the figures.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as folder:
        say = partial(print, file=sys.stderr)
        opened = await open_backend(sandbox, SPEC, state_dir=Path(folder), progress=say)  # type: ignore[arg-type]
        # The pool closes the backend.
        figures = await _starts(opened.backend) | await _running(opened.backend) | await _pool(opened.backend)
    return {name: round(figures[name], 3) for name in sorted(figures)}


# ---- the baseline --------------------------------------------------------------------------------------


def _raw_kernel(sandbox: str) -> RawKernel:
    """Starts a stock kernel on entering, after which it has answered; ends it on exit."""
    return _raw_container() if sandbox == "docker" else _raw_process()


async def _raw_start(sandbox: str) -> float:
    began = time.perf_counter()
    async with _raw_kernel(sandbox):
        return _ms_since(began)


@asynccontextmanager
async def _raw_process() -> AsyncIterator[AsyncKernelClient]:
    with tempfile.TemporaryDirectory() as folder:
        manager = AsyncKernelManager(transport="ipc", ip=f"{folder}/k")
        await manager.start_kernel()
        client = manager.client()
        try:
            await _answer(client)
            yield client
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)


@asynccontextmanager
async def _raw_container() -> AsyncIterator[AsyncKernelClient]:
    import docker

    from sandbox_pool.backends.docker.image import ensure_image

    engine = docker.APIClient(version="auto")
    with tempfile.TemporaryDirectory() as folder:
        file, _ = write_connection_file(f"{folder}/kernel.json", 1, 2, 3, 4, 5, f"{folder}/k", transport="ipc")
        container = await asyncio.to_thread(
            engine.create_container,
            ensure_image(engine, None, print),
            entrypoint=["python", "-m", "ipykernel_launcher", "-f", file],
            user="0:0",
            host_config=engine.create_host_config(network_mode="none", binds=[f"{folder}:{folder}"]),
        )
        client = AsyncKernelClient(connection_file=file)
        client.load_connection_file()
        try:
            await asyncio.to_thread(engine.start, container)
            await _answer(client)
            yield client
        finally:
            client.stop_channels()
            await asyncio.to_thread(engine.remove_container, container, force=True)
            engine.close()


async def _answer(client: AsyncKernelClient) -> None:
    client.start_channels()
    client.kernel_info()
    await client.get_shell_msg(timeout=TIMEOUT_S)


async def _raw_execute(client: AsyncKernelClient, code: str) -> None:
    message_id = client.execute(code)
    idle = replied = False
    while not idle:
        message = await client.get_iopub_msg(timeout=TIMEOUT_S)
        ours = message["parent_header"].get("msg_id") == message_id
        idle = ours and message["content"].get("execution_state") == "idle"
    while not replied:
        replied = (await client.get_shell_msg(timeout=TIMEOUT_S))["parent_header"].get("msg_id") == message_id


# ---- one sandbox ---------------------------------------------------------------------------------------


async def _start(backend: Backend) -> Sandbox:
    return await Sandbox.start(backend, f"cntr_{random.randbytes(22).hex()}", SPEC, deadline_s=TIMEOUT_S)


async def _starts(backend: Backend) -> dict[str, float]:
    raw, ours = [], []
    for _ in range(STARTS):
        raw.append(await _raw_start(backend.name))
        began = time.perf_counter()
        sandbox = await _start(backend)
        ours.append(_ms_since(began))
        await sandbox.close()
    warm_ms = statistics.median(ours)
    return {"create_to_warm_ms": warm_ms, "create_to_warm_ratio": warm_ms / statistics.median(raw)}


async def _running(backend: Backend) -> dict[str, float]:
    sandbox = await _start(backend)
    memory, _ = await sandbox.run(MEMORY_CODE)
    raw, ours, late = [], [], []
    async with _raw_kernel(backend.name) as client:
        # Only after this is its iopub certainly connected. It does not count as part of the start.
        await client.wait_for_ready(timeout=TIMEOUT_S)
        for _ in range(ROUNDTRIPS):
            began = time.perf_counter()
            await _raw_execute(client, "1+1")
            raw.append(_ms_since(began))
            began = time.perf_counter()
            await sandbox.run("1+1")
            ours.append(_ms_since(began))
    async for output in sandbox.execute(PRINT_CODE):
        assert isinstance(output, Stream)
        late += [(time.time() - float(line[3:])) * 1000 for line in output.text.splitlines()]
    await sandbox.close()
    return {
        "idle_mb": float(memory[0].text),  # type: ignore[union-attr]
        "roundtrip_p50_ms": statistics.median(ours),
        "raw_roundtrip_p50_ms": statistics.median(raw),
        "first_output_p50_ms": statistics.median(late),
    }


# ---- the pool ------------------------------------------------------------------------------------------


async def _pool(backend: Backend) -> dict[str, float]:
    hits: list[float] = []
    bursts: list[float] = []
    rates: list[float] = []
    baselines: list[float] = []
    async with SandboxPool(SPEC, backend=backend, min_size=BURST, max_size=2 * BURST) as pool:
        await pool.ready()
        for _ in range(ROUNDS):
            baselines.append(1000 / statistics.median([await _raw_start(backend.name) for _ in range(STARTS)]))
            began = time.perf_counter()
            await _acquire_all(pool, bursts, gap_s=0)
            await pool.until(lambda stats: stats.warm >= BURST)
            rates.append(BURST / (time.perf_counter() - began))
            await _acquire_all(pool, hits, gap_s=GAP_S)
            await pool.until(lambda stats: stats.warm >= BURST)
        assert pool.stats().misses == 0
    return {
        "acquire_hit_p50_ms": statistics.median(hits),
        "acquire_hit_p99_ms": _p99(hits),
        "acquire_burst20_p99_ms": _p99(bursts),
        "refill_per_s": statistics.mean(rates),
        "refill_ratio": statistics.mean(rates) / statistics.mean(baselines),
    }


async def _acquire_all(pool: SandboxPool, times_ms: list[float], *, gap_s: float) -> None:
    async def acquire(began: float) -> None:
        async with pool.acquire():
            times_ms.append(_ms_since(began))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(BURST):
            tasks.create_task(acquire(time.perf_counter()))
            if gap_s:
                await asyncio.sleep(random.uniform(0, gap_s))


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _p99(values: list[float]) -> float:
    return percentile(sorted(values), 99)

"""Measures checkpoints and restorations of a kernel's state, with the given backend.

The state is ten arrays of equal size, in one sandbox; BENCH_STATE_MB ("1,10,100") names other sizes in MB. The baseline
is `dill.dump_module` and `load_module` of the same arrays, in a Python of the same environment.

    whole_N_ms, whole_N_mb    the first checkpoint of N MB, and the bytes of its parts and its manifest
    capture_N_ms              until the copy of the kernel exists, for which a block that starts earlier waits (most)
    delta_N_ms, delta_N_mb    a checkpoint after a block that wrote to 1 MB of one array (all of it, for N = 1)
    manifest_N_mb             of it, the manifest, compressed as it would be stored
    restore_N_ms              the checkpoint restored into a fresh warm sandbox
    dill_N_ms, dill_N_mb      dill's dump of the whole session to a file, and its size
    dill_load_N_ms            dill's load of that file
    next_p50_ms, next_p99_ms  by how much a block takes longer that starts while a checkpoint of the largest state is
                              taken, than the median of the same block without a checkpoint
    next_free_p99_ms          the same of the blocks without a checkpoint: what the machine itself adds
    write_N_ms                a block that rewrites all arrays after the checkpoint, against write_free_N_ms before it
"""

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from functools import partial
from pathlib import Path

import structlog

from sandbox_pool import Limits, Sandbox, SandboxSpec
from sandbox_pool.backends.base import Backend
from sandbox_pool.backends.registry import open_backend
from sandbox_pool.checkpoint import Checkpoint, Manifest, encode_manifest
from sandbox_pool.percentile import percentile

__all__ = ["measure"]

SIZES_MB = [int(size) for size in os.environ.get("BENCH_STATE_MB", "1,10,100,1000").split(",")]
ROUNDS = 3
BLOCKS = 150
START_S = 60.0

MAKE = "import numpy as np\nfor _n in range(10): globals()[f'a{_n}'] = np.random.default_rng(_n).random(%d)"
CHANGE = "import numpy as np\na3[:125_000] = np.random.default_rng(%d).random(min(125_000, a3.size))"
WRITE = "for _n in range(10): globals()[f'a{_n}'] += 1.0"
DILL = """
import sys, time, os
import dill, numpy as np
for _n in range(10): globals()[f"a{_n}"] = np.random.default_rng(_n).random(%d)
began = time.perf_counter()
dill.dump_module(sys.argv[1])
dumped = time.perf_counter() - began
began = time.perf_counter()
dill.load_module(sys.argv[1])
print(dumped, os.path.getsize(sys.argv[1]), time.perf_counter() - began)
"""


async def measure(sandbox: str) -> dict[str, float]:
    """Runs everything once. `sandbox` is `process` or `docker`."""
    # Standard output is for the figures.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as folder:
        for size_mb in SIZES_MB:
            spec = SandboxSpec(preload=("numpy",), limits=Limits(memory_mb=3 * size_mb + 512))
            say = partial(print, file=sys.stderr)
            state_dir = Path(folder) / str(size_mb)
            opened = await open_backend(sandbox, spec, state_dir=state_dir, progress=say)  # type: ignore[arg-type]
            try:
                figures |= await _size(opened.backend, spec, size_mb, last=size_mb == SIZES_MB[-1])
            finally:
                await opened.backend.close()
            figures |= _dill(size_mb, Path(folder) / "dill")
    return {name: round(value, 3) for name, value in figures.items()}


async def _size(backend: Backend, spec: SandboxSpec, size_mb: int, *, last: bool) -> dict[str, float]:
    parts: dict[str, bytes] = {}

    async def store(sha256: str, content: bytes) -> None:
        parts[sha256] = content

    async def fetch(sha256: str) -> bytes:
        return parts[sha256]

    async with asyncio.timeout(600):
        kernel = await Sandbox.start(backend, f"bench-{size_mb}", spec, deadline_s=START_S)
        try:
            await _run(kernel, MAKE % (size_mb * 12_500))
            await _run(kernel, WRITE)
            free_s = await _run(kernel, WRITE)
            whole = await kernel.checkpoint(store)
            figures = {f"whole_{size_mb}_ms": whole.seconds * 1000, f"whole_{size_mb}_mb": _mb(whole)}
            deltas, captures = [], []
            manifest = whole.manifest
            for number in range(ROUNDS):
                await _run(kernel, CHANGE % number)
                began = time.perf_counter()
                captured = partial(_append_since, captures, began)
                deltas.append(await kernel.checkpoint(store, since=manifest, captured=captured))
                manifest = deltas[-1].manifest
            figures[f"capture_{size_mb}_ms"] = max(captures) * 1000
            figures[f"delta_{size_mb}_ms"] = statistics.median(each.seconds for each in deltas) * 1000
            figures[f"delta_{size_mb}_mb"] = statistics.median(_mb(each) for each in deltas)
            figures[f"manifest_{size_mb}_mb"] = _stored(manifest) / 1e6
            if last:
                figures |= await _next_blocks(kernel, manifest)
            figures[f"write_free_{size_mb}_ms"] = free_s * 1000
            figures[f"write_{size_mb}_ms"] = await _run(kernel, WRITE) * 1000
        finally:
            await kernel.close()
        times = []
        for number in range(ROUNDS):
            other = await Sandbox.start(backend, f"bench-{size_mb}-{number}", spec, deadline_s=START_S)
            try:
                restored = await other.restore(manifest, fetch)
                assert len(restored.names) >= 10, restored
                times.append(restored.seconds)
            finally:
                await other.close()
        figures[f"restore_{size_mb}_ms"] = statistics.median(times) * 1000
    return figures


async def _next_blocks(kernel: Sandbox, manifest: Manifest) -> dict[str, float]:
    """Times a short block with and without a checkpoint in progress, one after the other."""
    alone: list[float] = []
    beside: list[float] = []
    for number in range(BLOCKS):
        await _run(kernel, CHANGE % (100 + number))
        alone.append(await _run(kernel, "1 + 1"))
        began = asyncio.Event()

        async def store(sha256: str, content: bytes, began: asyncio.Event = began) -> None:
            began.set()

        checkpoint = asyncio.create_task(kernel.checkpoint(store, since=manifest))
        await began.wait()
        await asyncio.sleep(random.random() * 0.02)
        beside.append(await _run(kernel, "1 + 1"))
        await checkpoint
    usual = statistics.median(alone)
    later, free = (sorted(max(0.0, seconds - usual) * 1000 for seconds in each) for each in (beside, alone))
    return {
        "next_p50_ms": statistics.median(later),
        "next_p99_ms": percentile(later, 99),
        "next_free_p99_ms": percentile(free, 99),
    }


def _append_since(times: list[float], began: float) -> None:
    times.append(time.perf_counter() - began)


async def _run(kernel: Sandbox, code: str) -> float:
    """Runs a block. Returns how long it took."""
    began = time.perf_counter()
    outputs, result = await kernel.run(code)
    assert result.status == "ok", outputs
    return time.perf_counter() - began


def _mb(checkpoint: Checkpoint) -> float:
    return (checkpoint.new_bytes + _stored(checkpoint.manifest)) / 1e6


def _stored(manifest: Manifest) -> int:
    return len(zlib.compress(encode_manifest(manifest), 1))


def _dill(size_mb: int, file: Path) -> dict[str, float]:
    command = [sys.executable, "-c", DILL % (size_mb * 12_500), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    file.unlink(missing_ok=True)
    if done.returncode:
        print(f"dill could not be measured: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return {}
    dumped, size, loaded = map(float, done.stdout.split())
    names = (f"dill_{size_mb}_ms", f"dill_{size_mb}_mb", f"dill_load_{size_mb}_ms")
    return dict(zip(names, (dumped * 1000, size / 1e6, loaded * 1000), strict=True))

"""The server, and the model, of the load benchmark."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.served import codeact_server, until_ok

__all__ = ["Served", "cpu_s", "model_process", "served"]


@dataclass(frozen=True, slots=True)
class Served:
    """A running `codeact serve`, and the process of its model."""

    url: str
    process: psutil.Process
    model: psutil.Process

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/responses"

    @property
    def data_dir(self) -> Path:
        return Path(self.process.cwd())

    def rss_mb(self) -> float:
        return float(self.process.memory_info().rss / 2**20)

    def cpu_s(self) -> float:
        return cpu_s(self.process)

    def mongod(self) -> int:
        return int((self.data_dir / "mongodb" / "data" / "mongod.lock").read_text())


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds of all threads of a process: exactly, while `/proc/PID/stat` counts ticks of 10 ms."""
    return time.clock_gettime(~process.pid << 3 | 2)  # clock_getcpuclockid(3) of Linux


@asynccontextmanager
async def served(sandbox: str, *, docker_host: str | None = None, **settings: str) -> AsyncIterator[Served]:
    """Runs the server with the load's model; `settings` are `CODEACT_*` variables, in lower case without the prefix.

    `docker_host` is the address of the engine, if that is not the machine's.
    """
    asked = {"model": "openai/load", "pool_min": "0", "open_requests_per_owner": "10000", **settings}
    variables = {f"CODEACT_{name.upper()}": value for name, value in asked.items()}
    if docker_host is not None:
        variables["DOCKER_HOST"] = docker_host
    async with (
        model_process() as (api_base, model),
        codeact_server(sandbox, api_base, settings=variables) as (url, process, started),
    ):
        await until_ok(f"{url}/readyz", started)
        yield Served(url, process, model)


@asynccontextmanager
async def model_process() -> AsyncIterator[tuple[str, psutil.Process]]:
    """Runs `benchmarks.load.model`; yields its address and its process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load.model"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}/v1", psutil.Process(process.pid)
    finally:
        process.kill()
        await process.wait()

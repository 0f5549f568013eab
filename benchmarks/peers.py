"""Compares our sandboxes with those of comparable projects, with the given backend.

It measures smolagents' DockerExecutor and llm-sandbox's session, each in its own environment (requirements/peer-*.txt,
installed into .venv-peers/ once), on the same machine, with the same image, alternating with ours. smolagents needs a
kernel gateway in its image, so one is added to a copy of ours. The time of a peer's imports does not count.

    acquire_to_first_output_ms   ours: requesting a warm sandbox until the first output of its first code arrives
    NAME_start_to_first_output_ms  a peer's: creating its sandbox until the output of its first code arrives
    NAME_start_ratio             that over ours
    run_p50_ms, NAME_run_p50_ms  `print(1)` in a sandbox that has run code before, until its result arrives
    NAME_run_ratio               a peer's over ours
    live_ms, NAME_live_ms        in code that prints and then sleeps for a second: until the output arrives
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import anyio
import docker
import structlog

from sandbox_pool import PoolStats, SandboxPool, SandboxSpec
from sandbox_pool.backends.docker.image import ensure_image
from sandbox_pool.backends.registry import open_backend

__all__ = ["environment_of", "install", "measure"]

ROUNDS = 5
RUNS = 20
CODE = "print(1)"
LIVE_CODE = "import time\nprint(1)\ntime.sleep(1)"
PEERS = ("smolagents", "llm-sandbox")
CHECKOUT = Path(__file__).parents[1]
GATEWAY_IMAGE = "codeact-bench-gateway:latest"
GATEWAY_DOCKERFILE = """
FROM {image}
USER root
COPY peer-gateway.txt /peer-gateway.txt
RUN /opt/kernel/bin/pip install --no-cache-dir --require-hashes -r /peer-gateway.txt
ENTRYPOINT []
WORKDIR /tmp
CMD ["jupyter", "kernelgateway", "--KernelGatewayApp.ip=0.0.0.0", "--KernelGatewayApp.port=8888"]
"""

Figures = dict[str, list[float]]


async def measure(sandbox: str) -> dict[str, float]:
    """Runs everything once, in about a minute, after installing the peers."""
    # Standard output is for the figures.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    say = partial(print, file=sys.stderr)
    image = await anyio.to_thread.run_sync(_image)
    for peer in PEERS:
        await install(peer)
    await _build_gateway(image)
    found: dict[str, Figures] = {name: {"start": [], "run": [], "live": []} for name in ("", *PEERS)}
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as folder:
        spec = SandboxSpec()
        opened = await open_backend(sandbox, spec, state_dir=Path(folder), progress=say)  # type: ignore[arg-type]
        async with SandboxPool(spec, backend=opened.backend, min_size=1, max_size=2) as pool:
            for _ in range(ROUNDS):
                await pool.until(_is_quiet)
                _add(found[""], await _ours(pool))
                for peer in PEERS:
                    await pool.until(_is_quiet)
                    _add(found[peer], await _peer(peer, image if peer == "llm-sandbox" else GATEWAY_IMAGE))
    return _report(found)


def _is_quiet(stats: PoolStats) -> bool:
    return stats.warm >= 1 and not stats.starting and not stats.removing


def _add(found: Figures, more: Figures) -> None:
    for name, values in more.items():
        found[name] += values


def _report(found: dict[str, Figures]) -> dict[str, float]:
    medians = {
        name: {figure: statistics.median(values) for figure, values in figures.items()}
        for name, figures in found.items()
    }
    ours = medians.pop("")
    report = {"acquire_to_first_output_ms": ours["start"], "run_p50_ms": ours["run"], "live_ms": ours["live"]}
    for peer, theirs in medians.items():
        name = peer.replace("-", "_")
        report[f"{name}_start_to_first_output_ms"] = theirs["start"]
        report[f"{name}_start_ratio"] = theirs["start"] / ours["start"]
        report[f"{name}_run_p50_ms"] = theirs["run"]
        report[f"{name}_run_ratio"] = theirs["run"] / ours["run"]
        report[f"{name}_live_ms"] = theirs["live"]
    return {name: round(value, 3) for name, value in report.items()}


# ---- ours ----------------------------------------------------------------------------------------------


async def _ours(pool: SandboxPool) -> Figures:
    began = time.perf_counter()
    async with pool.acquire() as sandbox:
        async with sandbox.execute(CODE) as execution:
            await anext(execution)
            start = _ms_since(began)
            await execution.ended()
        runs = []
        for _ in range(RUNS):
            began = time.perf_counter()
            await sandbox.run(CODE)
            runs.append(_ms_since(began))
        began = time.perf_counter()
        async with sandbox.execute(LIVE_CODE) as execution:
            await anext(execution)
            live = _ms_since(began)
            await execution.ended()
    return {"start": [start], "run": runs, "live": [live]}


# ---- theirs: a process of their environment runs this file ---------------------------------------------


async def _peer(peer: str, image: str) -> Figures:
    code = PEER_CODE[peer] + MEASURE_CODE
    arguments = [image, str(RUNS), CODE, LIVE_CODE]
    return dict(json.loads(await _run(str(environment_of(peer) / "bin" / "python"), "-I", "-c", code, *arguments)))


PEER_CODE = {
    "smolagents": """
import socket, sys
from smolagents.monitoring import AgentLogger, LogLevel
from smolagents.remote_executors import DockerExecutor
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
logger = AgentLogger(level=LogLevel.OFF)
def start():
    executor = DockerExecutor([], logger, port=port, image_name=sys.argv[1], build_new_image=False)
    return (lambda code: executor.run_code_raise_errors(code).logs), lambda: executor.container.remove(force=True)
""",
    "llm-sandbox": """
import sys
from llm_sandbox import SandboxSession
def start():
    settings = {"user": "root", "entrypoint": ["sleep", "600"], "working_dir": "/tmp"}
    session = SandboxSession(image=sys.argv[1], lang="python", skip_environment_setup=True, keep_template=True,
                             workdir="/tmp", runtime_configs=settings)
    session.open()
    return (lambda code: session.run(code).stdout), lambda: session.container.remove(force=True)
""",
}

MEASURE_CODE = """
import json, time
def timed(code):
    began = time.perf_counter()
    shown = run(code)
    assert shown.strip() == "1", shown
    return (time.perf_counter() - began) * 1000
began = time.perf_counter()
run, close = start()
try:
    timed(sys.argv[3])
    start_ms = (time.perf_counter() - began) * 1000
    runs = [timed(sys.argv[3]) for _ in range(int(sys.argv[2]))]
    print(json.dumps({"start": [start_ms], "run": runs, "live": [timed(sys.argv[4])]}))
finally:
    close()
"""


# ---- what they need ------------------------------------------------------------------------------------


def environment_of(peer: str) -> Path:
    """Returns the folder of the peer's environment."""
    return CHECKOUT / ".venv-peers" / peer


async def install(peer: str) -> None:
    """Installs requirements/peer-NAME.txt into the peer's environment, unless it is there already."""
    environment = environment_of(peer)
    requirements = CHECKOUT / "requirements" / f"peer-{peer}.txt"
    done = environment / ".installed"
    if done.exists() and done.read_bytes() == requirements.read_bytes():
        return
    await _run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(environment))
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(environment / "bin" / "python")
    await _run(uv, "pip", "install", "--python", python, "--require-hashes", "-r", str(requirements))
    done.write_bytes(requirements.read_bytes())


def _image() -> str:
    engine = docker.APIClient(version="auto")
    try:
        return ensure_image(engine, None, partial(print, file=sys.stderr))
    finally:
        engine.close()


async def _build_gateway(image: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "Dockerfile").write_text(GATEWAY_DOCKERFILE.format(image=image))
        requirements = "peer-gateway.txt"
        (context / requirements).write_bytes((CHECKOUT / "requirements" / requirements).read_bytes())
        await _run("docker", "build", "--network", "host", "--tag", GATEWAY_IMAGE, folder)


async def _run(*command: str) -> bytes:
    """Runs a command; returns its standard output. Raises `RuntimeError` with its output if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {errors.decode()[-2000:]}{output.decode()[-2000:]}")
    return output


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000

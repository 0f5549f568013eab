"""Measures the server's latencies, with the given backend.

It uses a real `codeact serve` in a separate process, a scripted OpenAI-compatible model server in this one, a
real sandbox, and a WebSocket client. Latencies across processes compare `time.time()` of one machine.

    listen_s               process start until the port accepts
    ready_s                process start until GET /readyz says 200
    acquire_p50_ms, _p99   a warm sandbox for a new conversation, from the timings of its answer
    created_p50_ms, …      a question sent until its client reads `response.created`: in a new conversation, and as its
                           5th, 55th and 115th turn (`created_turn_5_p50_ms`, …)
    first_output_p50_ms,…  a `print` in the kernel until its frame is at the client's socket
    roundtrip_p50_ms       `1+1`: `interpreting` at the client until `completed` at the client
    raw_roundtrip_p50_ms   `1+1` in a plain ipykernel of the same Python, through jupyter_client, in the same run
    token_added_p99_ms     a token written by the model server until its frame is at the client, minus what a bare
                           httpx reader needs (p50) for the same stream in the same run
    token_cpu_us           CPU of the server per token, minus that of such a reader in a separate process
    litellm_cpu_us         what litellm alone needs per token; only models without an address of their own use it
    server_mb, sandbox_mb  resident memory of the server, and of one idle sandbox (all its processes)
"""

import asyncio
import json
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
import psutil
import websockets
from jupyter_client.manager import start_new_async_kernel

from benchmarks.served import codeact_server, model_server, until_ok
from sandbox_pool.percentile import percentile

__all__ = ["measure"]

PRINTS = 150
ROUNDTRIPS = 100
TOKENS = 2000
SENT = re.compile(r"at=([0-9]{10}\.[0-9]{6})")
"""When the model sent a token. One that a long delta divides is left out."""
CONVERSATIONS = 12
CREATED, TURNS = 15, (5, 55, 115)

PRINT_CODE = f"import time\nfor i in range({PRINTS}):\n    print(f'at={{time.time():.6f}}')\n    time.sleep(0.03)\n"


async def measure(sandbox: str) -> dict[str, float]:
    """Runs everything once, in about half a minute. `sandbox` is `process` or `docker`."""
    async with model_server(_say) as api_base, codeact_server(sandbox, api_base) as (url, process, started):
        figures = {"listen_s": await until_ok(url + "/healthz", started)}
        figures["ready_s"] = await until_ok(url + "/readyz", started)
        async with websockets.connect(url.replace("http", "ws") + "/v1/responses", max_size=None) as socket:
            await _ask(socket, "tokens 1")
            figures |= await _created(socket)
            figures |= await _acquires(socket, url)
            figures |= await _first_output(socket)
            figures |= await _roundtrip(socket)
            await _idle(process)
            figures |= await _tokens(socket, process, api_base)
        figures["server_mb"] = process.memory_info().rss / 2**20
        figures["sandbox_mb"] = _sandbox_mb(process, sandbox)
    figures["raw_roundtrip_p50_ms"] = await _raw_roundtrip()
    return {name: round(value, 3) for name, value in figures.items()}


# ---- the model: the question says what to answer -----------------------------------------------------


async def _say(messages: Sequence[dict[str, Any]]) -> AsyncIterator[str]:
    """The model: `run CODE` is answered with a code block once, `tokens N` with N tokens that contain their time."""
    last = str(messages[-1]["content"])
    if last.startswith("tokens "):
        for _ in range(int(last[7:])):
            yield f"at={time.time():.6f} "
            await asyncio.sleep(0.002)
    for text in ["<execute>\n", last[4:], "\n</execute>"] if last.startswith("run ") else ["Done."]:
        yield text


def _sandbox_mb(server: psutil.Process, sandbox: str) -> float:
    """The median resident memory of the processes that run our kernel's script, in MB."""
    kernels = [
        process.memory_info().rss / 2**20
        for process in psutil.process_iter(["cmdline"])
        if any("kernel_main.py" in part for part in process.info["cmdline"] or [])
        and "bwrap" not in (process.info["cmdline"] or [""])[0]
        and (sandbox == "docker" or server in process.parents())
    ]
    return statistics.median(kernels) if kernels else float("nan")


# ---- the measurements --------------------------------------------------------------------------------

Watch = Callable[[dict[str, Any], float], None]


async def _ask(
    socket: websockets.ClientConnection, text: str, watch: Watch = lambda event, at: None, **more: Any
) -> dict[str, Any]:
    """Asks, passes each event with its arrival time to `watch`, and returns the finished response."""
    await socket.send(json.dumps({"type": "response.create", "input": text, "include": ["codeact:events"], **more}))
    while True:
        frame = await socket.recv(decode=False)
        at = time.time()
        event = json.loads(frame)
        if event["type"] == "error":
            raise RuntimeError(event["error"]["message"])
        watch(event, at)
        if event["type"] in ("response.completed", "response.incomplete", "response.failed"):
            if event["response"]["status"] != "completed":
                raise RuntimeError(f"the response ended {event['response']['status']}: {event['response']['error']}")
            return dict(event["response"])


async def _acquires(socket: websockets.ClientConnection, url: str) -> dict[str, float]:
    waits = []
    for _ in range(CONVERSATIONS):
        await _warm(url)
        response = await _ask(socket, "run 1+1")
        waits.append(response["codeact:ledger"]["sandbox_wait_s"] * 1000)
    return {"acquire_p50_ms": statistics.median(waits), "acquire_p99_ms": _p99(waits)}


async def _created(socket: websockets.ClientConnection) -> dict[str, float]:
    """Measures each depth several times, with branches that begin at the same turn."""
    figures = {"created_p50_ms": statistics.median([await _until_created(socket) for _ in range(CREATED)])}
    previous: dict[str, str] = {}
    for turn in range(1, TURNS[-1] + 1):
        if turn in TURNS:
            times = [await _until_created(socket, **previous) for _ in range(CREATED)]
            figures[f"created_turn_{turn}_p50_ms"] = statistics.median(times)
        previous = {"previous_response_id": (await _ask(socket, "Hello", **previous))["id"]}
    return figures


async def _until_created(socket: websockets.ClientConnection, **more: Any) -> float:
    times: list[float] = []

    def watch(event: dict[str, Any], at: float) -> None:
        if event["type"] == "response.created":
            times.append((at - begun) * 1000)

    begun = time.time()
    await _ask(socket, "Hello", watch, **more)
    return times[0]


async def _warm(url: str) -> None:
    """Waits until a sandbox is warm and none is being started."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            pool = (await client.get(url + "/v1/status")).json()["pool"]
            if pool["warm"] and not pool["starting"]:
                return
            await asyncio.sleep(0.05)


async def _idle(process: psutil.Process) -> None:
    """Waits until the server is idle: the sandboxes of earlier conversations end in the background."""
    while process.cpu_percent(interval=1.0) > 2:
        pass


async def _first_output(socket: websockets.ClientConnection) -> dict[str, float]:
    late: list[float] = []

    def watch(event: dict[str, Any], at: float) -> None:
        if event["type"] == "codeact:code_interpreter_call.output":
            for line in event["output"].get("text", "").splitlines():
                if line.startswith("at="):
                    late.append((at - float(line[3:])) * 1000)

    await _ask(socket, "run " + PRINT_CODE, watch)
    return {"first_output_p50_ms": statistics.median(late), "first_output_p99_ms": _p99(late)}


async def _roundtrip(socket: websockets.ClientConnection) -> dict[str, float]:
    times: list[float] = []
    begun = 0.0

    def watch(event: dict[str, Any], at: float) -> None:
        nonlocal begun
        if event["type"] == "response.code_interpreter_call.interpreting":
            begun = at
        elif event["type"] == "response.code_interpreter_call.completed":
            times.append((at - begun) * 1000)

    conversation: dict[str, str] = {}
    for _ in range(ROUNDTRIPS):
        response = await _ask(socket, "run 1+1", watch, **conversation)
        conversation = {"conversation": response["conversation"]["id"]}
        if len(times) % 10 == 0:
            conversation = {}  # a long conversation would measure its history
    return {"roundtrip_p50_ms": statistics.median(times), "roundtrip_p99_ms": _p99(times)}


async def _raw_roundtrip() -> float:
    manager, client = await start_new_async_kernel()
    try:
        times = []
        for _ in range(ROUNDTRIPS + 10):
            begun = time.perf_counter()
            message_id = client.execute("1+1")
            idle = replied = False
            while not idle:
                message = await client.get_iopub_msg(timeout=10)
                idle = (
                    message["parent_header"].get("msg_id") == message_id
                    and message["msg_type"] == "status"
                    and message["content"]["execution_state"] == "idle"
                )
            while not replied:
                replied = (await client.get_shell_msg(timeout=10))["parent_header"].get("msg_id") == message_id
            times.append((time.perf_counter() - begun) * 1000)
        return statistics.median(times[10:])
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def _tokens(socket: websockets.ClientConnection, process: psutil.Process, api_base: str) -> dict[str, float]:
    late: list[float] = []

    def watch(event: dict[str, Any], at: float) -> None:
        if event["type"] == "response.output_text.delta" and "at=" in event["delta"]:
            # A delta has several tokens if they were there at once.
            late.extend((at - float(sent)) * 1000 for sent in SENT.findall(event["delta"]))

    before = process.cpu_times()
    await _ask(socket, f"tokens {TOKENS}", watch)
    after = process.cpu_times()
    cpu_us = (after.user + after.system - before.user - before.system) / TOKENS * 1e6
    bare, litellm = await _alone(BARE, api_base), await _alone(LITELLM, api_base)
    return {
        "token_p50_ms": statistics.median(late),
        "token_p99_ms": _p99(late),
        "token_added_p99_ms": _p99(late) - bare["p50_ms"],
        "token_total_cpu_us": cpu_us,
        "token_cpu_us": cpu_us - bare["cpu_us"],
        "bare_p50_ms": bare["p50_ms"],
        "bare_p99_ms": bare["p99_ms"],
        "bare_cpu_us": bare["cpu_us"],
        "litellm_p50_ms": litellm["p50_ms"],
        "litellm_p99_ms": litellm["p99_ms"],
        "litellm_cpu_us": litellm["cpu_us"],
    }


LITELLM = """
import os
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
async def texts(url, n):
    stream = await litellm.acompletion(model="openai/bench", api_base=url, api_key="x", stream=True,
        messages=[{"role": "user", "content": f"tokens {n}"}], stream_options={"include_usage": True})
    async for chunk in stream:
        yield chunk.choices[0].delta.content or "" if chunk.choices else ""
"""

BARE = """
import httpx
client = httpx.AsyncClient(trust_env=False, timeout=60)
async def texts(url, n):
    body = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": f"tokens {n}"}]}
    async with client.stream("POST", url + "/chat/completions", json=body) as response:
        async for piece in response.aiter_raw():
            for line in piece.split(b"\\n"):
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])["choices"][0]["delta"]["content"]
"""

ALONE = """
import asyncio, json, resource, statistics, sys, time
import uvloop
%s
async def main():
    async def ask(n):
        said = texts(sys.argv[1], n)
        return [(time.time() - float(text[3:])) * 1000 async for text in said if text.startswith("at=")]
    await ask(5)
    before = resource.getrusage(resource.RUSAGE_SELF)
    late = await ask(int(sys.argv[2]))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    late.sort()
    p99 = late[int(len(late) * 0.99)]
    print(json.dumps({"p50_ms": statistics.median(late), "p99_ms": p99, "cpu_us": cpu / len(late) * 1e6}))
uvloop.run(main())
"""


async def _alone(texts: str, api_base: str) -> dict[str, float]:
    """Reads the same stream in a separate process that does nothing else."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ALONE % texts, api_base, str(TOKENS), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    return dict(json.loads(out.splitlines()[-1]))


def _p99(values: list[float]) -> float:
    return percentile(sorted(values), 99)

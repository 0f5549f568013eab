"""What becomes of pods: whoever ends them, nothing is left, and users are told why."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox_pool import SandboxPool
from sandbox_pool.backends.kubernetes.manifest import PORT
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.cluster.conftest import DEADLINE_S, IMAGE, Open, pods_in, within
from tests.sandbox_pool.conftest import new_id, text

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

SERVER = """
import asyncio, sys
from pathlib import Path
from sandbox_pool.backends.kubernetes.backend import KubernetesBackend
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import PodOptions, SandboxSpec

async def main():
    spec = SandboxSpec(image=sys.argv[1], preload=(), pods=PodOptions(namespace=sys.argv[2]))
    backend = KubernetesBackend(Path(sys.argv[3]))
    await backend.prepare(spec, lambda line: None)
    await Sandbox.start(backend, "cntr_of_a_dead_server", spec, deadline_s=90)
    print("started", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_pod_that_somebody_deletes_is_told_so(api: Any, namespace: str, opened: Open) -> None:
    from kubernetes_asyncio import client

    spec = within(namespace)
    backend = await opened(spec)
    sandbox = await Sandbox.start(backend, new_id(), spec, deadline_s=DEADLINE_S)
    [name] = await pods_in(api, namespace)
    await client.CoreV1Api(api).delete_namespaced_pod(name, namespace)
    async with asyncio.timeout(DEADLINE_S):
        death = await sandbox.died()
    assert "deleted" in death.detail
    await sandbox.close()


async def test_the_pods_of_a_killed_server_end_themselves_and_the_next_server_removes_them(
    api: Any, namespace: str, opened: Open, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SERVER, IMAGE, namespace, str(tmp_path)]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert await server.stdout.readline() == b"started\n"
        backend = await opened(within(namespace))
        assert await backend.list() == []
    finally:
        server.kill()
        await server.wait()
    async with asyncio.timeout(DEADLINE_S):
        while await backend.list() != ["cntr_of_a_dead_server"]:
            pass
    await backend.destroy("cntr_of_a_dead_server")
    assert await backend.list() == []
    assert await pods_in(api, namespace) == []


async def test_a_pool_lends_pods_and_leaves_none(api: Any, namespace: str, opened: Open) -> None:
    spec = within(namespace)
    backend = await opened(spec)
    async with SandboxPool(spec, backend=backend, min_size=2, max_size=3) as pool:
        await pool.ready()
        assert len(await pods_in(api, namespace)) == 2
        for _ in range(4):
            async with pool.acquire(timeout_s=DEADLINE_S) as sandbox:
                outputs, result = await sandbox.run("print(6 * 7)")
                assert (text(outputs), result.status) == ("42\n", "ok")
        assert pool.stats().failures == 0
    assert await pods_in(api, namespace) == []


async def test_another_pod_finds_one_port_and_gets_nothing_from_it(namespace: str, opened: Open) -> None:
    spec = within(namespace)
    backend = await opened(spec)
    attacker = await Sandbox.start(backend, new_id(), spec, deadline_s=DEADLINE_S)
    victim = await Sandbox.start(backend, new_id(), spec, deadline_s=DEADLINE_S)
    address = backend._held[victim.id].door.host
    code = f"""
import socket
def reaches(port):
    try:
        return socket.create_connection(({address!r}, port), timeout=1)
    except OSError:
        return None
ports = [port for port in (1, 22, 80, 5555, 8000, 8888, *range({PORT} - 5, {PORT} + 6)) if reaches(port)]
guess = reaches({PORT})
answer = b""
if guess:
    guess.settimeout(5)
    guess.sendall(bytes(32) + bytes(32) + (2).to_bytes(4, "big") + b"{{}}")
    while piece := guess.recv(4096):
        answer += piece
print(ports, len(answer))
"""
    try:
        outputs, result = await attacker.run(code, timeout_s=60)
        assert result.status == "ok", result
        # Where the cluster enforces network policies, not even that.
        assert text(outputs).strip() in (f"[{PORT}] 64", "[] 0")
        outputs, _ = await victim.run("print('unharmed')")
        assert text(outputs) == "unharmed\n"
    finally:
        await attacker.close()
        await victim.close()


async def test_the_code_can_neither_read_the_pods_first_process_nor_end_it(namespace: str, opened: Open) -> None:
    spec = within(namespace)
    backend = await opened(spec)
    sandbox = await Sandbox.start(backend, new_id(), spec, deadline_s=DEADLINE_S)
    try:
        outputs, _ = await sandbox.run(
            "import os, signal\n"
            "for name in ('mem', 'environ', 'maps', 'fd/0', 'root'):\n"
            "    try:\n        open(f'/proc/1/{name}', 'rb').read(1); print('read', name)\n"
            "    except OSError as error: print(error.errno)\n"
            "for number in (signal.SIGKILL, signal.SIGSTOP): os.kill(1, number)\n"
            "print('sent')"
        )
        assert "read" not in text(outputs)
        outputs, result = await sandbox.run("print('lives')")
        assert (text(outputs), result.status) == ("lives\n", "ok")
    finally:
        await sandbox.close()

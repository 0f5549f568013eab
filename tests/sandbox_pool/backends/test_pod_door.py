"""The pod's one port: both sides prove that they have the key; nobody else can connect."""

import asyncio
import importlib.util
import json
import select
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sandbox_pool.backends.base import GUEST
from sandbox_pool.backends.kubernetes import door

pytestmark = pytest.mark.anyio

KEY = b"k" * 32
LONG_S = 30.0


def guest(name: str) -> ModuleType:
    """A module from the guest's folder, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, GUEST / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Pod:
    """The guest's side in a thread. It answers each proven request with `+` and the request."""

    def __init__(self, key: bytes) -> None:
        self.poll = select.poll()
        self.door = guest("pod_door").Door(self.poll, 0, key)
        self.port: int = self.door.listener.getsockname()[1]
        self.asked: list[dict[str, Any]] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.stop.is_set():
            for descriptor, _ in self.poll.poll(20):
                if descriptor == self.door.fileno():
                    self.door.welcome()
                elif descriptor in self.door and (found := self.door.ask(descriptor)) is not None:
                    server, request = found
                    self.asked.append(request)
                    server.sendall(b"+" + json.dumps(request).encode())
                    server.close()

    def close(self) -> None:
        self.stop.set()
        self.thread.join()
        for descriptor in list(self.door.strangers):
            self.door.forget(descriptor)
        self.door.listener.close()


@pytest.fixture
def pod() -> Iterator[Pod]:
    pod = Pod(KEY)
    yield pod
    pod.close()


async def test_who_has_the_key_gets_what_is_asked_for(pod: Pod) -> None:
    connection = await door.Door("127.0.0.1", pod.port, KEY).program("print(1)", "argument")
    reader, writer = await asyncio.open_connection(sock=connection)
    assert json.loads(await reader.read()) == {"kind": "program", "source": "print(1)", "arguments": ["argument"]}
    writer.close()
    await writer.wait_closed()


async def test_a_server_without_the_key_sees_that_the_pod_has_another(pod: Pod) -> None:
    with pytest.raises(ConnectionError, match="does not have the pod's key"):
        await door.Door("127.0.0.1", pod.port, b"x" * 32).dial("shell")
    assert pod.asked == []


def exchange(port: int, *parts: bytes) -> bytes:
    """The answer after sending these parts, each after an answer to the previous one."""
    with socket.create_connection(("127.0.0.1", port), timeout=LONG_S) as stranger:
        answer = b""
        for part in parts:
            stranger.sendall(part)
            answer = stranger.recv(4096)
        return answer


async def test_a_stranger_gets_nothing_by_guessing_nor_by_sending_back_what_the_pod_sent(pod: Pod) -> None:
    body = json.dumps({"kind": "program", "source": "", "arguments": []}).encode()
    request = len(body).to_bytes(4, "big") + body
    assert await asyncio.to_thread(exchange, pod.port, bytes(32), bytes(32) + request) == b""

    def reflect() -> bytes:
        with socket.create_connection(("127.0.0.1", pod.port), timeout=LONG_S) as stranger:
            stranger.sendall(bytes(32))
            answer = b""
            while len(answer) < 64:
                answer += stranger.recv(64)
            stranger.sendall(answer[32:] + request)
            return stranger.recv(4096)

    assert await asyncio.to_thread(reflect) == b""
    assert pod.asked == []


async def test_a_request_over_its_limit_is_not_waited_for(pod: Pod) -> None:
    assert await asyncio.to_thread(exchange, pod.port, bytes(32), bytes(32) + (1 << 31).to_bytes(4, "big")) == b""


async def test_many_strangers_keep_no_server_out(pod: Pod) -> None:
    strangers = [socket.create_connection(("127.0.0.1", pod.port), timeout=LONG_S) for _ in range(40)]
    connection = await door.Door("127.0.0.1", pod.port, KEY).dial("shell")
    connection.close()
    for stranger in strangers:
        stranger.close()
    assert pod.asked == [{"kind": "channel", "name": "shell"}]


async def test_a_pod_that_has_another_key_is_not_spoken_to() -> None:
    """A program in the pod's place learns nothing that it could use elsewhere."""
    impostor = Pod(b"other" + bytes(27))
    try:
        with pytest.raises(ConnectionError):
            await door.Door("127.0.0.1", impostor.port, KEY).life()
        assert impostor.asked == []
    finally:
        impostor.close()


def test_the_programs_of_a_pod_need_nothing_but_the_standard_library() -> None:
    for path in Path(GUEST).glob("pod_*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("import ", "from ")):
                name = line.split()[1].split(".")[0]
                assert name in sys.stdlib_module_names or name in ("pod_door", "pod_relay"), line

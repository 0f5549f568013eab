"""The client of a kernel, with a peer that follows the protocol or violates it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from jupyter_client.session import Session

from sandbox_pool.calls import Call
from sandbox_pool.kernel.client import KernelClient, Request
from sandbox_pool.kernel.messages import Reply
from sandbox_pool.outputs import Output, Stream
from sandbox_pool.sandbox.inbox import Inbox
from sandbox_pool.spec import SandboxSpec

pytestmark = pytest.mark.anyio

KEY = "a key"
DEADLINE_S = 60.0
LIMIT_BYTES = 5_000_000


def connection_in(directory: Path) -> dict[str, Any]:
    return {
        "transport": "ipc",
        "ip": str(directory / "k"),
        "key": KEY,
        "signature_scheme": "hmac-sha256",
        "shell_port": 1,
        "iopub_port": 2,
        "control_port": 3,
    }


class Peer:
    """The other side: a kernel's sockets, controlled by the test."""

    def __init__(self, directory: Path) -> None:
        self.session = Session(key=KEY.encode())
        self.connection = connection_in(directory)
        self.context = zmq.asyncio.Context()
        self.shell = self._bind(zmq.ROUTER, 1)
        self.iopub = self._bind(zmq.XPUB, 2)
        self.control = self._bind(zmq.ROUTER, 3)

    def _bind(self, kind: int, port: int) -> zmq.asyncio.Socket:
        bound = self.context.socket(kind)
        bound.bind(f"ipc://{self.connection['ip']}-{port}")
        return bound

    async def receive(self, channel: zmq.asyncio.Socket) -> tuple[bytes, dict[str, Any]]:
        """A request: its sender and the message."""
        async with asyncio.timeout(DEADLINE_S):
            [identity], frames = self.session.feed_identities(await channel.recv_multipart())
        return identity, self.session.deserialize(frames)

    async def reply(self, channel: zmq.asyncio.Socket, to: tuple[bytes, dict[str, Any]], content: Any) -> None:
        identity, request = to
        kind = request["msg_type"].replace("request", "reply")
        reply = self.session.msg(kind, content, parent=request)
        await channel.send_multipart(self.session.serialize(reply, ident=identity))

    async def publish(self, kind: str, content: Any, parent: Any) -> None:
        await self.iopub.send_multipart(self.session.serialize(self.session.msg(kind, content, parent=parent)))

    async def print(self, text: str, parent: Any) -> None:
        await self.publish("stream", {"name": "stdout", "text": text}, parent)

    async def greet(self) -> None:
        """Does what a kernel does when a client connects."""
        async with asyncio.timeout(DEADLINE_S):
            await self.iopub.recv()
        await self.publish("iopub_welcome", {"subscription": ""}, None)
        await self.reply(self.shell, await self.receive(self.shell), {"status": "ok"})

    async def finish(self, request: tuple[bytes, dict[str, Any]]) -> None:
        await self.reply(self.shell, request, {"status": "ok", "execution_count": 1})
        await self.publish("status", {"execution_state": "idle"}, request[1])

    def close(self) -> None:
        self.context.destroy(linger=0)


class Connected:
    """A client and its peer, and what the client has passed on."""

    def __init__(self, peer: Peer, attention_s: float) -> None:
        self.peer = peer
        self.outputs: list[Output] = []
        self.came = asyncio.Event()
        self.omitted_bytes = 0
        self.calls: list[Call] = []
        self.is_full = False
        self.client = KernelClient(peer.connection, self, limit_bytes=LIMIT_BYTES, attention_s=attention_s)

    def output(self, output: Output, size_bytes: int) -> None:
        self.outputs.append(output)
        self.came.set()

    def omitted(self, size_bytes: int) -> None:
        self.omitted_bytes += size_bytes

    def call(self, call: Call) -> str | None:
        self.calls.append(call)
        return None

    @property
    def costly(self) -> bool:
        return self.client.fault == "costly"

    async def execute(self) -> tuple[Request, tuple[bytes, dict[str, Any]]]:
        request = self.client.execute("code")
        return request, await self.peer.receive(self.peer.shell)

    async def done(self, request: Request) -> Reply | None:
        async with asyncio.timeout(DEADLINE_S):
            return await request.done


@asynccontextmanager
async def connect(peer: Peer, *, attention_s: float = 10.0) -> AsyncIterator[Connected]:
    connected = Connected(peer, attention_s)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(peer.greet())
        async with asyncio.timeout(DEADLINE_S):
            await connected.client.connect(tasks)
        yield connected
        connected.client.close()


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    peer = Peer(tmp_path)
    yield peer
    peer.close()


@pytest.fixture
async def connected(peer: Peer) -> AsyncIterator[Connected]:
    async with connect(peer) as connected:
        yield connected


async def test_an_execution_is_done_when_its_reply_and_its_idle_have_come(connected: Connected) -> None:
    peer = connected.peer
    for idle_first in (False, True):
        request, received = await connected.execute()
        steps = [
            peer.reply(peer.shell, received, {"status": "ok", "execution_count": 1}),
            peer.publish("status", {"execution_state": "idle"}, received[1]),
        ]
        await steps.pop(-1 if idle_first else 0)
        await peer.print("between", received[1])
        async with asyncio.timeout(DEADLINE_S):
            await connected.came.wait()
        connected.came.clear()
        assert not request.done.done()
        await steps.pop()
        assert await connected.done(request) == Reply("ok", 1)


async def test_the_request_carries_the_code_and_allows_no_input(connected: Connected) -> None:
    _, (_, received) = await connected.execute()
    content = received["content"]
    assert (content["code"], content["silent"], content["allow_stdin"]) == ("code", False, False)


async def test_an_interrupt_names_its_request_and_is_over_when_answered(connected: Connected) -> None:
    request, _ = await connected.execute()
    sent = connected.client.interrupt(request)
    received = await connected.peer.receive(connected.peer.control)
    assert received[1]["content"] == {"request_id": request.message_id}
    assert not sent.done()
    await connected.peer.reply(connected.peer.control, received, {"status": "ok"})
    async with asyncio.timeout(DEADLINE_S):
        assert await sent is not None


async def test_what_is_malformed_or_unasked_for_is_counted_and_ignored(connected: Connected) -> None:
    peer = connected.peer
    request, received = await connected.execute()
    parent = received[1]
    stranger = Session(key=b"another key")
    print_x = {"name": "stdout", "text": "x"}
    await peer.iopub.send_multipart([b"garbage"])
    await peer.iopub.send_multipart([b"<IDS|MSG>"])
    await peer.iopub.send_multipart([b""] * 20)
    await peer.iopub.send_multipart(stranger.serialize(stranger.msg("stream", print_x, parent=parent)))
    await peer.print("no parent of ours", {"header": {"msg_id": "somebody else's"}})
    await peer.publish("stream", {"name": "stdout"}, parent)
    await peer.publish("no_such_type", {}, parent)
    await peer.publish("status", {"execution_state": ["idle"]}, parent)
    await peer.shell.send_multipart([received[0], b"garbage"])
    await peer.reply(peer.shell, (received[0], {**parent, "msg_type": "kernel_info_request"}), {})
    await peer.print("still here", parent)
    await peer.finish(received)
    assert await connected.done(request) == Reply("ok", 1)
    assert connected.outputs == [Stream("stdout", "still here")]
    assert connected.client.rejected == 10


async def test_an_output_over_the_limit_is_counted_as_omitted(connected: Connected) -> None:
    request, received = await connected.execute()
    await connected.peer.publish("display_data", {"data": {"text/plain": "x" * LIMIT_BYTES}}, received[1])
    await connected.peer.finish(received)
    await connected.done(request)
    assert connected.outputs == []
    assert connected.omitted_bytes > LIMIT_BYTES


async def test_the_output_of_an_earlier_execution_is_passed_on_with_its_number(connected: Connected) -> None:
    request, earlier = await connected.execute()
    await connected.peer.finish(earlier)
    await connected.done(request)
    request, received = await connected.execute()
    await connected.peer.print("late", earlier[1])
    await connected.peer.finish(received)
    await connected.done(request)
    assert connected.outputs == [Stream("stdout", "late", execution_count=1)]


async def test_an_output_that_the_kernel_did_not_send_is_counted_as_omitted(connected: Connected) -> None:
    request, received = await connected.execute()
    await connected.peer.publish("codeact_omitted", {"size_bytes": 10**9}, received[1])
    await connected.peer.publish("codeact_omitted", {"size_bytes": -1}, received[1])
    await connected.peer.finish(received)
    await connected.done(request)
    assert (connected.omitted_bytes, connected.client.rejected) == (10**9, 1)


async def test_when_the_kernel_goes_what_it_said_before_is_still_read(connected: Connected) -> None:
    request, received = await connected.execute()
    for number in range(900):
        await connected.peer.print(f"{number}\n", received[1])
    connected.peer.iopub.close(linger=2000)
    connected.peer.shell.close()
    connected.peer.control.close()
    assert await connected.done(request) is None
    assert connected.client.gone.is_set()
    assert connected.outputs == [Stream("stdout", f"{number}\n") for number in range(900)]
    assert connected.client.execute("more").done.result() is None


async def test_one_ended_connection_is_enough(connected: Connected) -> None:
    request, _ = await connected.execute()
    connected.peer.control.close()
    assert await connected.done(request) is None


async def test_a_message_that_no_memory_should_hold_is_counted_and_the_kernel_goes_on(connected: Connected) -> None:
    request, received = await connected.execute()
    await connected.peer.iopub.send_multipart([b"x" * 65 * 1024 * 1024, b"y" * 100])
    await connected.peer.print("still here", received[1])
    await connected.peer.finish(received)
    assert await connected.done(request) == Reply("ok", 1)
    assert connected.outputs == [Stream("stdout", "still here")]
    assert connected.omitted_bytes == 65 * 1024 * 1024 + 100


async def test_a_connection_that_ended_is_never_opened_again(peer: Peer) -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        kernel_reader, kernel_writer = await asyncio.open_unix_connection(f"{peer.connection['ip']}-1")
        await asyncio.gather(forward(reader, kernel_writer), forward(kernel_reader, writer))

    server = await asyncio.start_unix_server(accept, f"{peer.connection['ip']}-9")
    peer.connection["shell_port"] = 9
    async with connect(peer) as connected:
        accepted[0].close()
        # It takes half a second, since the other connections stay: a new one would be there by now.
        async with asyncio.timeout(DEADLINE_S):
            await connected.client.gone.wait()
        assert len(accepted) == 1
    server.close()


def unused_client(directory: Path) -> KernelClient:
    return KernelClient(connection_in(directory), Inbox(SandboxSpec().limits), limit_bytes=1)


async def test_it_connects_once_somebody_listens(tmp_path: Path) -> None:
    client = unused_client(tmp_path)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        connecting = tasks.create_task(client.connect(tasks))
        await asyncio.sleep(0.05)
        peer = Peer(tmp_path)
        await peer.greet()
        await connecting
        client.close()
    peer.close()


async def test_what_does_not_speak_the_protocol_is_no_kernel(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
        writer.close()

    server = await asyncio.start_unix_server(answer, tmp_path / "k-3")
    client = unused_client(tmp_path)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), asyncio.TaskGroup() as tasks:
            await client.connect(tasks)
    client.close()
    server.close()


async def test_output_over_its_limit_is_dropped_by_its_size_and_never_decoded(connected: Connected) -> None:
    peer = connected.peer
    _, (_, parent) = await connected.execute()
    connected.is_full = True
    await peer.publish("display_data", {"data": "no bundle"}, parent)
    await peer.publish("error", {"ename": "E", "evalue": "", "traceback": []}, parent)
    async with asyncio.timeout(DEADLINE_S):
        await connected.came.wait()
    assert connected.omitted_bytes > 0
    assert connected.client.rejected == 0
    assert [type(output).__name__ for output in connected.outputs] == ["Error"]


@pytest.mark.parametrize("what", ["forged", "over the limit"])
async def test_a_kernel_that_wastes_the_server_s_time_is_given_up(peer: Peer, what: str) -> None:
    async with connect(peer, attention_s=0.01) as connected:
        _, (_, parent) = await connected.execute()
        connected.is_full = what == "over the limit"
        content = {"data": {"text/plain": "x" * 50_000}, "metadata": {}}
        async with asyncio.timeout(DEADLINE_S):
            while not connected.costly:
                await peer.publish("display_data", content, parent if connected.is_full else None)
                await asyncio.sleep(0)
            await connected.client.gone.wait()


async def test_a_kernel_that_does_not_read_is_not_written_to_for_ever(connected: Connected) -> None:
    value = "x" * 1_000_000
    async with asyncio.timeout(DEADLINE_S):
        for _ in range(200):
            connected.client.answer("call", value=value)
            if connected.costly:
                break
            await asyncio.sleep(0)
        await connected.client.gone.wait()
    assert connected.costly

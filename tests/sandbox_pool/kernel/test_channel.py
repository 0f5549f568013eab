"""A connection to a kernel's socket, with a peer that does or does not answer pings."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sandbox_pool.kernel import channel, zmtp
from sandbox_pool.kernel.channel import Channel
from sandbox_pool.kernel.zmtp import TooLarge

pytestmark = pytest.mark.anyio

DEADLINE_S = 60.0
PING_BEGINS = b"\x04PING"
"""The command's name in its frame (ZMTP 3.1)."""
PONG = bytes([zmtp.PING[0], 5]) + b"\x04PONG"
LIMIT_BYTES = 100_000


class Peer:
    """Implements ZMTP itself, because libzmq always answers pings. `reply` is its answer to each ping."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._pinged = asyncio.Condition()
        self.pings = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(zmtp.GREETING + zmtp.ready("DEALER"))
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                number = data.count(PING_BEGINS)
                writer.write(self._reply * number)
                async with self._pinged:
                    self.pings += number
                    self._pinged.notify_all()
        writer.close()

    async def pinged(self, times: int) -> None:
        async with self._pinged:
            await self._pinged.wait_for(lambda: self.pings >= times)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(channel, "SILENCE_S", 1.0)


@contextlib.asynccontextmanager
async def connected(
    directory: Path, peer: Peer, take: Callable[[list[bytes] | TooLarge], None]
) -> AsyncIterator[Channel]:
    address = str(directory / "s")
    server = await asyncio.start_unix_server(peer.serve, address)
    async with server, asyncio.timeout(DEADLINE_S):
        opened = await Channel.open(
            f"ipc://{address}", "DEALER", limit_bytes=LIMIT_BYTES, on_message=take, heartbeat=True
        )
        try:
            yield opened
        finally:
            opened.close()


@pytest.mark.parametrize(
    "reply",
    [b"", zmtp.message([b"still here"]), zmtp.message([b"a" * (LIMIT_BYTES + 1)]), zmtp.PING],
    ids=["nothing", "messages", "messages over the limit", "pings of its own"],
)
async def test_only_a_pong_is_a_sign_of_life(quick: None, tmp_path: Path, reply: bytes) -> None:
    got: list[list[bytes] | TooLarge] = []
    peer = Peer(reply)
    async with connected(tmp_path, peer, got.append) as opened:
        await opened.ended()
    assert peer.pings > 2
    assert bool(got) == (reply not in (b"", zmtp.PING))


async def test_a_peer_that_answers_pings_may_say_nothing_else(quick: None, tmp_path: Path) -> None:
    got: list[list[bytes] | TooLarge] = []
    peer = Peer(PONG)
    async with connected(tmp_path, peer, got.append) as opened:
        ended = asyncio.ensure_future(opened.ended())
        await peer.pinged(2 * int(channel.SILENCE_S / channel.HEARTBEAT_S))
        assert not ended.done()
        ended.cancel()
    assert got == []


async def test_a_pause_of_this_process_is_no_silence_of_its_peer(quick: None, tmp_path: Path) -> None:
    peer = Peer(PONG)
    async with connected(tmp_path, peer, lambda message: None) as opened:
        ended = asyncio.ensure_future(opened.ended())
        await peer.pinged(1)
        time.sleep(1.5 * channel.SILENCE_S)  # noqa: ASYNC251 - the loop stands still, as after a SIGSTOP
        await peer.pinged(peer.pings + 3)
        assert not ended.done()
        ended.cancel()

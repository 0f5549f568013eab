"""One answer on a socket, with what a client can tell of it: its numbers, its delays, its end."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load.client import ENDS, NUMBER, Frame, Socket

__all__ = ["Seen", "answer", "follow"]

TOKEN = re.compile(rb"at=([0-9]{10}\.[0-9]{6})")
"""A token of the model (`benchmarks.load.model`): the time at which it was sent."""
TOKEN_BYTES = len("at=1700000000.123456")


@dataclass(slots=True)
class Seen:
    """What one client has seen of one answer. `late_ms` are the delays of its tokens, from the model to the client, and
    `sent_at` when the model sent them (Unix seconds).
    """

    response_id: str = ""
    conversation: str = ""
    next_number: int = 0
    lost: int = 0
    tokens: int = 0
    late_ms: list[float] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    end: str = ""
    code: str = ""
    frames: list[bytes] = field(default_factory=list)
    keeps_frames: bool = False
    rest: bytes = b""

    def read(self, frames: list[Frame]) -> bool:
        """Takes note of frames that arrived; returns whether the answer has ended."""
        for at, frame in frames:
            if frame.startswith(b'{"type":"error"'):
                self.end, self.code = "error", frame.decode()[:300]
                return True
            number = NUMBER.search(frame)
            if number is None:
                continue
            self.lost += int(number[1]) != self.next_number
            self.next_number = int(number[1]) + 1
            if self.keeps_frames:
                self.frames.append(frame)
            if frame.startswith(b'{"type":"response.output_text.delta"'):
                self._take(frame.partition(b'"delta":"')[2].partition(b'"')[0], at)
            elif frame.startswith(ENDS):
                self.end = frame[len(b'{"type":"') :].split(b'"')[0].decode()
                self.code = _after(frame, b'"error":{"code":"') if self.end == "response.failed" else ""
                return True
            elif not self.response_id and frame.startswith(b'{"type":"response.created"'):
                self.response_id = _after(frame, b'"response":{"id":"')
                self.conversation = _after(frame, b'"conversation":{"id":"')
        return False

    def _take(self, delta: bytes, at: float) -> None:
        """Finds the tokens of a delta. A long one may end within a token, whose beginning `rest` holds until then."""
        text, end = self.rest + delta, 0
        for token in TOKEN.finditer(text):
            sent, end = float(token[1]), token.end()
            self.tokens += 1
            self.sent_at.append(sent)
            self.late_ms.append((at - sent) * 1000)
        self.rest = text[end:][-TOKEN_BYTES:]


def _after(frame: bytes, key: bytes) -> str:
    return frame.partition(key)[2].split(b'"')[0].decode()


async def answer(socket: Socket, question: str, within_s: float, seen: Seen, **more: Any) -> Seen:
    """Asks, and reads until the end. Raises `Closed` and `TimeoutError`; `seen` has what came until then."""
    socket.send({"type": "response.create", "input": question, "include": ["codeact:events"], **more})
    await follow(socket, within_s, seen)
    return seen


async def follow(socket: Socket, within_s: float, seen: Seen) -> None:
    """Reads until the answer's end. Raises as `answer`."""
    async with asyncio.timeout(within_s):
        async for frames in socket.frames():
            if seen.read(frames):
                return

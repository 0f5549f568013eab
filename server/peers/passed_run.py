"""A run of another server, as this one's transports see it: the frames of its log arrive over a stream between servers.

The stream has one line for each thing: `R` and the response as it begins, `F` and a frame of its log, and at the end
`E` and the messages of the user with which no response could go on. An empty line says that the server lives. If the
stream breaks, or nothing arrives for some time, the rest of the log comes from the database, where every server finds
it: from whoever runs the response then, or from the server that has ended it for the dead one.
"""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

import httpx
import msgspec

from codeact import events as e
from codeact.errors import CodeActError, ServerGone
from codeact.runs.event_log import EventLog
from codeact.runs.streams import TERMINAL

__all__ = ["ALIVE", "ENDED", "FRAME", "RUN", "Answer", "Follow", "Lines", "PassedRun"]

RUN, FRAME, ENDED, ALIVE = b"R", b"F", b"E", b"\n"
MOST_LINE_BYTES = 128_000_000

Follow = Callable[[str, int, float], AsyncGenerator[list[str], None]]
"""Reads the frames of a response from the database: its id, the first number, and the seconds after which to yield
an empty list.
"""


class Answer(Protocol):
    """What transports need of a run, of this server or another one."""

    @property
    def id(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def response(self) -> e.Response: ...
    @property
    def log(self) -> EventLog: ...
    @property
    def steering(self) -> Sequence[e.InputMessage]: ...
    async def end(self) -> None: ...
    async def successor(self) -> "Answer | None": ...


class PassedRun:
    """A run of another server. One reader reads its log, once. `follows`: the stream goes on with its successors."""

    def __init__(
        self, response: e.Response, *, owner: str, lines: "Lines | None", follow: Follow, follows: bool = False
    ) -> None:
        self.response = response
        self.owner = owner
        self.steering: list[e.InputMessage] = []
        self.log = _PassedLog(self, lines, follow)
        self._lines = lines
        self._follow = follow
        self._follows = follows

    @classmethod
    async def begun(cls, lines: "Lines", *, owner: str, follow: Follow, follows: bool) -> "PassedRun":
        """The run that the stream begins with. Raises `httpx.HTTPError` if it breaks before."""
        kind, content = await anext(lines)
        if kind != RUN:
            raise httpx.RemoteProtocolError("The stream does not begin with a response.")
        return cls(_response(content), owner=owner, lines=lines, follow=follow, follows=follows)

    @property
    def id(self) -> str:
        return self.response.id

    async def end(self) -> None:
        """Reads to the response's end."""
        async with aclosing(self.log.read()) as stream:
            async for _ in stream:
                pass
        await self.close()

    async def successor(self) -> "PassedRun | None":
        """The run that continues this one; None if there is none, or if the stream is broken."""
        if not self._follows or self._lines is None or self._lines.is_broken:
            await self.close()
            return None
        try:
            async for kind, content in self._lines:
                if kind == RUN:
                    response = _response(content)
                    return PassedRun(response, owner=self.owner, lines=self._lines, follow=self._follow, follows=True)
                if kind == ENDED:
                    self.steering = msgspec.json.decode(content, type=list[e.InputMessage])
                    break
        except httpx.HTTPError:
            pass  # Whatever continues the response is in the database.
        await self.close()
        return None

    async def close(self) -> None:
        """Ends the stream. The response goes on."""
        if self._lines is not None:
            await self._lines.close()


class _PassedLog(EventLog):
    """The log of a run of another server, while it arrives."""

    def __init__(self, run: PassedRun, lines: "Lines | None", follow: Follow) -> None:
        super().__init__(run.id, None)
        self._run = run
        self._lines = lines
        self._follow = follow
        self._at = 0

    async def read(self, start: int = 0, *, idle_s: float = math.inf) -> AsyncGenerator[list[str], None]:
        """Yields the frames; see `EventLog.read`. Raises `ServerGone` if an unstored response is lost."""
        if self.ended:
            return
        try:
            async with aclosing(self._live(idle_s)) as live:
                async for frames in live:
                    yield frames
            if self.ended:
                return
        except httpx.HTTPError:
            pass
        except BaseException:
            await self._run.close()
            raise
        await self._run.close()
        if not self._run.response.store:
            raise ServerGone("The server that was answering is gone, and this response is not stored; ask again.")
        async with aclosing(self._follow(self._run.id, self._at, idle_s)) as stored:
            async for frames in stored:
                self._take(frames)
                yield frames

    def forget(self, upto: int) -> None:
        """Nothing is kept."""

    async def _live(self, idle_s: float) -> AsyncGenerator[list[str], None]:
        heard = time.monotonic()
        if self._lines is None:
            return
        async for kind, content in self._lines:
            if kind == FRAME:
                frames, heard = [content.decode()], time.monotonic()
                self._take(frames)
                yield frames
                if self.ended:
                    return
            elif time.monotonic() - heard >= idle_s:
                heard = time.monotonic()
                yield []

    def _take(self, frames: list[str]) -> None:
        self._at += len(frames)
        if frames and frames[-1].startswith(TERMINAL):
            event = e.decode_event(frames[-1])
            if isinstance(event, e.ResponseCompleted | e.ResponseIncomplete | e.ResponseFailed):
                self._run.response = event.response
            self.ended = True


class Lines:
    """The lines of a stream between servers: each is its kind and its content; `ALIVE` has no content."""

    def __init__(self, answer: httpx.Response) -> None:
        self.is_broken = False
        self._answer = answer
        self._lines = self._read()

    def __aiter__(self) -> "Lines":
        return self

    async def __anext__(self) -> tuple[bytes, bytes]:
        """Raises `httpx.HTTPError` if the stream breaks, also if it ends before its last line."""
        try:
            return await anext(self._lines)
        except httpx.HTTPError:
            self.is_broken = True
            raise
        except StopAsyncIteration:
            self.is_broken = True
            raise httpx.RemoteProtocolError("The stream ended too soon.") from None

    async def close(self) -> None:
        self.is_broken = True
        await self._answer.aclose()

    async def _read(self) -> AsyncIterator[tuple[bytes, bytes]]:
        rest = bytearray()
        async for piece in self._answer.aiter_raw():
            *whole, last = piece.split(b"\n")
            for line in whole:
                rest += line
                yield (bytes(rest[:1]) or ALIVE), bytes(rest[1:])
                rest.clear()
            rest += last
            if len(rest) > MOST_LINE_BYTES:
                raise httpx.RemoteProtocolError("A line is too long.")


def _response(content: bytes) -> e.Response:
    try:
        return msgspec.json.decode(content, type=e.Response)
    except msgspec.DecodeError as error:
        raise CodeActError(f"Another server's response cannot be read: {error}.") from error

"""Follows the engine's events, and reports those about our containers and images as notices."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlencode

import anyio
from anyio import to_thread
from anyio.streams.buffered import BufferedByteReceiveStream

from sandbox_pool.backends.base import Notice
from sandbox_pool.backends.docker.engine import Engine
from sandbox_pool.backends.docker.errors import translated
from sandbox_pool.backoff import Backoff
from sandbox_pool.errors import SandboxError
from sandbox_pool.logs import Logger

__all__ = ["Events"]

log = Logger(__name__)

FILTERS = {"type": ["container", "image"], "event": ["pause", "die", "tag", "pull"]}
SENTENCES = {"pause": "Its container was paused.", "die": "Its container ended."}
EVENT_BYTES = 1_000_000
INTERRUPTIONS = (
    OSError,
    ValueError,
    SandboxError,
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.BrokenResourceError,
    anyio.DelimiterNotFound,
)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


class Events:
    """Watches the engine's events. Containers of this server have the label `ours` (name and value), and their
    sandbox's id in the label `sandbox_label`.

    The values of `images` are the names of the images in use. The caller may add images at any time.
    """

    def __init__(
        self, engine: Engine, sandbox_label: str, ours: tuple[str, str], images: Mapping[str | None, str]
    ) -> None:
        self._engine = engine
        self._sandbox_label = sandbox_label
        self._ours = ours
        self._images = images
        self._known: dict[str, str] = {}

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        """Calls `notice` with events until it is cancelled. Reconnects when the connection to the engine ends."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            try:
                async with aclosing(self._stream()) as events:
                    async for event in events:
                        backoff.reset()
                        await self._handle(event, notice)
            except INTERRUPTIONS as error:
                log.warning("events of the engine interrupted", reason=repr(error))
            await backoff.pause()

    async def _handle(self, event: dict[str, Any], notice: Callable[[Notice], None]) -> None:
        if event.get("Type") == "image":
            if await self._are_others():
                notice(Notice(None, "The image is another one."))
            return
        attributes = event["Actor"]["Attributes"]
        label, value = self._ours
        if attributes.get(label) == value:
            notice(Notice(attributes[self._sandbox_label], SENTENCES[event["Action"]]))

    async def _are_others(self) -> bool:
        """Whether one of the names refers to another image than at the last check."""
        before = {name: self._known[name] for name in self._images.values() if name in self._known}
        self._known = await to_thread.run_sync(self._look, list(self._images.values()))
        return any(self._known.get(name) != image for name, image in before.items())

    def _look(self, names: list[str]) -> dict[str, str]:
        with translated(SandboxError):
            return {name: self._engine.api.inspect_image(name)["Id"] for name in names}

    async def _stream(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yields the engine's events (Engine API, "Monitor events").

        The first event is made up, so that `watch` checks for images that changed before the connection. The request
        uses HTTP/1.0, so that the response body is plain lines, without chunks.
        """
        query = urlencode({"filters": json.dumps(FILTERS)})
        async with await self._engine.dial() as connection:
            await connection.send(f"GET /events?{query} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            lines = BufferedByteReceiveStream(connection)
            head = await lines.receive_until(b"\r\n\r\n", EVENT_BYTES)
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise ValueError(head.partition(b"\r\n")[0].decode(errors="replace"))
            yield {"Type": "image"}
            while True:
                yield json.loads(await lines.receive_until(b"\n", EVENT_BYTES))

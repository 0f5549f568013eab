"""Carries connections to a kernel's sockets through the engine, one engine connection for each.

Everything goes through the engine's own connection, under its own protection, wherever the engine is. The
sandbox needs neither a network nor a port for it, nor a directory that we share.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import anyio
from anyio.abc import ByteStream

from sandbox_pool.backends.shared.unix_stream import listen_once

__all__ = ["Tunnel"]


class Tunnel:
    """Make it with `open`. A connection ends when either of its sides does, and there is no second one."""

    def __init__(self, resources: AsyncExitStack) -> None:
        self._resources = resources
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, streams: Mapping[Path, ByteStream], resources: AsyncExitStack) -> "Tunnel":
        """Listens at these paths; `resources` keeps the streams open until `close`."""
        tunnel = cls(resources)
        connections = {path: await resources.enter_async_context(listen_once(path)) for path in streams}

        async def connect(path: Path) -> None:
            near = await connections[path]()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(near, streams[path]))
                tasks.create_task(_pump(streams[path], near))

        async def carry() -> None:
            async with asyncio.TaskGroup() as tasks:
                for path in streams:
                    tasks.create_task(connect(path))

        # Like a sandbox's life, of which it is a part: `close` ends it, and it owns its group.
        tunnel._task = asyncio.create_task(carry())
        return tunnel

    async def close(self) -> None:
        """Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._resources.aclose()


async def _pump(source: ByteStream, sink: ByteStream) -> None:
    """Until one of them ends; then both have."""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for piece in source:
            await sink.send(piece)
    for stream in (source, sink):
        await stream.aclose()

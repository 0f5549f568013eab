"""Forwards connections to a kernel's sockets through the engine, with one engine connection for each.

The data uses the engine's own connections with their authentication and encryption, wherever the engine runs. The
sandbox needs no network, no port and no shared directory.
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
    """Forwards one connection per socket. When one side closes it, the other is closed, and it is not reopened.

    Create it with `open`.
    """

    def __init__(self, resources: AsyncExitStack) -> None:
        self._resources = resources
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, streams: Mapping[Path, ByteStream], resources: AsyncExitStack) -> "Tunnel":
        """Listens at these paths, and forwards each one's connection to its stream. `close` closes `resources`."""
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

        # This task belongs to no group, like that of a sandbox's lifecycle: `close` ends it.
        tunnel._task = asyncio.create_task(carry())
        return tunnel

    async def close(self) -> None:
        """Ends the connections. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._resources.aclose()


async def _pump(source: ByteStream, sink: ByteStream) -> None:
    """Copies data until one of the streams ends, then closes both."""

    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for piece in source:
            await sink.send(piece)
    for stream in (source, sink):
        await stream.aclose()

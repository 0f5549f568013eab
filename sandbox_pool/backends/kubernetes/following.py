"""Follows the objects of one kind by the cluster's events, instead of asking again and again."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from sandbox_pool.backends.base import Notice
from sandbox_pool.backends.kubernetes.manifest import SANDBOX
from sandbox_pool.backends.kubernetes.resource import Expired
from sandbox_pool.backoff import Backoff
from sandbox_pool.errors import SandboxError
from sandbox_pool.logs import Logger

__all__ = ["Followed", "Source"]

log = Logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
T = TypeVar("T")


class Source(Protocol):
    """What `Resource` offers for following objects."""

    async def list(self, selector: str) -> tuple[list[dict[str, Any]], str]: ...

    def watch(self, selector: str, resource_version: str) -> AsyncGenerator[tuple[str, dict[str, Any]], None]: ...


class Followed:
    """The last seen state of the objects that the caller expects. `follow` keeps it up to date.

    All of them have the labels of `selector`, and the label SANDBOX. `ending` says why the sandbox of an object cannot
    be used any more, or returns None; the function given to `tell` learns of each such object.
    """

    def __init__(self, source: Source, selector: str, ending: Callable[[dict[str, Any]], str | None]) -> None:
        self._source = source
        self._selector = selector
        self._ending = ending
        self._expected: set[str] = set()
        self._known: dict[str, dict[str, Any]] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._notice: Callable[[Notice], None] = lambda notice: None

    def expect(self, name: str) -> None:
        """Begins to keep the state of this object. Call it before the object is created."""
        self._expected.add(name)

    def get(self, name: str) -> dict[str, Any] | None:
        """Returns the object as it was last seen. A deleted one has the key `gone`."""
        return self._known.get(name)

    def forget(self, name: str) -> None:
        """Drops the state of this object, and ignores its further events."""
        self._expected.discard(name)
        self._known.pop(name, None)

    def tell(self, notice: Callable[[Notice], None]) -> None:
        """Sets the function that is called for objects whose sandbox has ended."""
        self._notice = notice

    async def follow(self) -> None:
        """Follows the events until it is cancelled, and reconnects when the API fails."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                async with aclosing(self._source.watch(self._selector, version)) as events:
                    async for kind, seen in events:
                        backoff.reset()
                        version = seen["metadata"]["resourceVersion"]
                        self._see(kind, seen)
                continue
            except Expired:
                version = ""
            except (SandboxError, ValueError, KeyError) as error:
                version = ""
                log.warning("events of the cluster interrupted", reason=str(error))
            await backoff.pause()

    async def until(self, name: str, found: Callable[[dict[str, Any]], T | None]) -> T:
        """Waits until `found` returns something for this object, and returns that. It is called after each change."""
        while True:
            seen = self._known.get(name)
            if seen is not None and (value := found(seen)) is not None:
                return value
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(change)
            try:
                await change
            finally:
                self._waiting.discard(change)

    async def _list(self) -> str:
        found, version = await self._source.list(self._selector)
        there = {each["metadata"]["name"]: each for each in found}
        for name, seen in list(self._known.items()):
            if name not in there:
                self._see("DELETED", seen)
        for seen in there.values():
            self._see("MODIFIED", seen)
        return version

    def _see(self, kind: str, seen: dict[str, Any]) -> None:
        name = seen["metadata"].get("name")
        if kind == "BOOKMARK" or name not in self._expected:
            return
        self._known[name] = {**seen, "gone": True} if kind == "DELETED" else seen
        for change in self._waiting:
            if not change.done():
                change.set_result(None)
        if (what := self._ending(self._known[name])) is not None:
            self._notice(Notice(seen["metadata"]["labels"][SANDBOX], what))

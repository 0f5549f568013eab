"""Knows the state of this server's pods: follows the cluster's events instead of asking again and again."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, TypeVar

from sandbox_pool.backends.base import Notice
from sandbox_pool.backends.kubernetes.cluster import Cluster, Expired
from sandbox_pool.backends.kubernetes.manifest import SANDBOX
from sandbox_pool.backends.kubernetes.pod_state import address_of, is_over, notice_of, obstacle, unschedulable
from sandbox_pool.backoff import Backoff
from sandbox_pool.errors import SandboxError
from sandbox_pool.logs import Logger

__all__ = ["Pods"]

log = Logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
T = TypeVar("T")


class Pods:
    """The pods with the labels of `selector`. `follow` keeps their states; `watch` is told of those that are over."""

    def __init__(self, cluster: Cluster, selector: str) -> None:
        self._cluster = cluster
        self._selector = selector
        self._known: dict[str, dict[str, Any]] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._notice: Callable[[Notice], None] = lambda notice: None

    def get(self, name: str) -> dict[str, Any] | None:
        """As it was last seen; one that is gone has the key `gone`."""
        return self._known.get(name)

    def forget(self, name: str) -> None:
        self._known.pop(name, None)

    def tell(self, notice: Callable[[Notice], None]) -> None:
        """From now on this function is told of pods that are over."""
        self._notice = notice

    async def follow(self) -> None:
        """Until it is cancelled, whether or not the API answers all the time."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                async with aclosing(self._cluster.watch(self._selector, version)) as events:
                    async for kind, pod in events:
                        backoff.reset()
                        version = pod["metadata"]["resourceVersion"]
                        self._see(kind, pod)
                continue
            except Expired:
                version = ""
            except (SandboxError, ValueError, KeyError) as error:
                version = ""
                log.warning("events of the cluster interrupted", reason=str(error))
            await backoff.pause()

    async def until(self, name: str, found: Callable[[dict[str, Any]], T | None]) -> T:
        """What `found` says of the pod, once it is not None; it is asked after each change."""
        while True:
            pod = self._known.get(name)
            if pod is not None and (value := found(pod)) is not None:
                return value
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(change)
            try:
                await change
            finally:
                self._waiting.discard(change)

    async def running(self, name: str, *, pending_timeout_s: float) -> str:
        """The pod's address, once its container runs.

        Raises `ImageUnavailable` or `SandboxStartFailed` as soon as the cluster says that it never will, and
        `AtCapacity` where no node has had room for it for `pending_timeout_s`.
        """

        started = asyncio.create_task(self.until(name, _outcome))
        full = asyncio.create_task(self._no_room(name, pending_timeout_s))
        try:
            done, _ = await asyncio.wait({started, full}, return_when=asyncio.FIRST_COMPLETED)
            if started not in done:
                raise full.result()
            return started.result()
        finally:
            for task in (started, full):
                task.cancel()
            await asyncio.wait({started, full})

    async def _no_room(self, name: str, pending_timeout_s: float) -> SandboxError:
        while True:
            await self.until(name, unschedulable)
            await asyncio.sleep(pending_timeout_s)
            pod = self._known.get(name)
            if pod is not None and (full := unschedulable(pod)) is not None:
                return full

    async def _list(self) -> str:
        found, version = await self._cluster.list(self._selector)
        there = {pod["metadata"]["name"]: pod for pod in found}
        for name, pod in list(self._known.items()):
            if name not in there:
                self._see("DELETED", pod)
        for pod in there.values():
            self._see("MODIFIED", pod)
        return version

    def _see(self, kind: str, pod: dict[str, Any]) -> None:
        if kind == "BOOKMARK":
            return
        name = pod["metadata"]["name"]
        self._known[name] = {**pod, "gone": True} if kind == "DELETED" else pod
        for change in self._waiting:
            if not change.done():
                change.set_result(None)
        if is_over(self._known[name]) and (what := notice_of(self._known[name])) is not None:
            self._notice(Notice(pod["metadata"]["labels"][SANDBOX], what))


def _outcome(pod: dict[str, Any]) -> str | None:
    """The address of this pod, once its container runs. Raises why that will never be."""
    if (reason := obstacle(pod)) is not None:
        raise reason
    return address_of(pod)

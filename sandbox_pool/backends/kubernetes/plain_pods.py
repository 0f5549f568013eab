"""Creates pods, watches them, and deletes them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from sandbox_pool.backends.base import Death, Notice
from sandbox_pool.backends.kubernetes.cluster import Cluster, Right
from sandbox_pool.backends.kubernetes.following import Followed
from sandbox_pool.backends.kubernetes.manifest import manifest
from sandbox_pool.backends.kubernetes.pod_state import (
    address_of,
    death_of,
    is_over,
    notice_of,
    obstacle,
    unschedulable,
)
from sandbox_pool.backends.kubernetes.provisioner import sandboxes_of, selector
from sandbox_pool.errors import SandboxError
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["PlainPods"]

ABANDONED_S = 900.0
"""A pod that has not started for so long belongs to no living server."""


class PlainPods:
    """A `Provisioner` that creates one pod for each sandbox. `instance` is the server's name in their labels."""

    rights = (
        *(Right(verb, "pods") for verb in ("create", "list", "watch", "delete")),
        Right("create", "pods/exec"),
        Right("get", "pods/exec"),
    )
    keeps_warm = False
    summary = "Kubernetes pod"
    missing: tuple[str, ...] = ()

    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._pods = cluster.pods
        self._instance = instance
        self._seen = Followed(cluster.pods, selector(of=instance), _ending)
        self._made: set[str] = set()
        """The ids of sandboxes whose pods may exist."""

    async def obtain(self, sandbox_id: str, spec: SandboxSpec) -> tuple[str, str]:
        """Raises `ImageUnavailable` or `SandboxStartFailed` as soon as the cluster says that the pod cannot start.

        Raises `AtCapacity` if no node has had room for it for the spec's `pending_timeout_s`.
        """
        name = self._name(sandbox_id)
        self._made.add(sandbox_id)
        self._seen.expect(name)
        await self._pods.create(manifest(name, sandbox_id, self._instance, spec), sandbox_id=sandbox_id)
        started = asyncio.create_task(self._seen.until(name, _outcome))
        full = asyncio.create_task(self._no_room(name, spec.pods.pending_timeout_s))
        try:
            done, _ = await asyncio.wait({started, full}, return_when=asyncio.FIRST_COMPLETED)
            if started not in done:
                raise full.result()
            return name, started.result()
        finally:
            for task in (started, full):
                task.cancel()
            await asyncio.wait({started, full})

    async def reason(self, sandbox_id: str, limits: Limits, *, timeout_s: float) -> Death | None:
        name = self._name(sandbox_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._seen.until(name, lambda pod: is_over(pod) or None)
        pod = self._seen.get(name)
        return death_of(pod, limits) if pod is not None else None

    async def release(self, sandbox_id: str, *, ended: bool) -> None:
        if sandbox_id in self._made:
            name = self._name(sandbox_id)
            await self._pods.delete(name, grace_s=0 if ended else 1)
            self._seen.forget(name)
            self._made.discard(sandbox_id)
            return
        found, _ = await self._pods.list(selector(sandbox_id=sandbox_id))
        for pod in found:
            await self._pods.delete(pod["metadata"]["name"], grace_s=1)

    async def abandoned(self) -> list[str]:
        found, _ = await self._pods.list(selector(not_of=self._instance))
        return sandboxes_of(found, _is_abandoned)

    def tell(self, notice: Callable[[Notice], None]) -> None:
        self._seen.tell(notice)

    async def follow(self) -> None:
        await self._seen.follow()

    def _name(self, sandbox_id: str) -> str:
        """Returns the pod's name. Ids are unique in a server, and several servers may share a namespace."""
        return f"codeact-{self._instance}-{sandbox_id.lower().replace('_', '-')}"

    async def _no_room(self, name: str, pending_timeout_s: float) -> SandboxError:
        while True:
            await self._seen.until(name, unschedulable)
            await asyncio.sleep(pending_timeout_s)
            pod = self._seen.get(name)
            if pod is not None and (full := unschedulable(pod)) is not None:
                return full


def _outcome(pod: dict[str, Any]) -> str | None:
    """Returns the pod's address, once its container runs. Raises the reason why it never will."""
    if (reason := obstacle(pod)) is not None:
        raise reason
    return address_of(pod)


def _ending(pod: dict[str, Any]) -> str | None:
    return notice_of(pod) if is_over(pod) else None


def _is_abandoned(pod: dict[str, Any]) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False
    if is_over(pod):
        return True
    made_at = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    waits = (pod.get("status") or {}).get("phase") == "Pending"
    return waits and (datetime.now(made_at.tzinfo) - made_at).total_seconds() > ABANDONED_S

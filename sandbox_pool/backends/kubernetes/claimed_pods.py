"""Claims pods from a warm pool of agent-sandbox, renews the claims, and deletes them."""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sandbox_pool.backends.base import Death, Notice
from sandbox_pool.backends.kubernetes import claim_state
from sandbox_pool.backends.kubernetes.claim_state import GROUP, VERSION
from sandbox_pool.backends.kubernetes.cluster import Cluster, Right
from sandbox_pool.backends.kubernetes.following import Followed
from sandbox_pool.backends.kubernetes.pod_state import death_of, obstacle, unschedulable
from sandbox_pool.backends.kubernetes.provisioner import sandboxes_of, selector
from sandbox_pool.errors import SandboxError
from sandbox_pool.logs import Logger
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["ClaimedPods"]

log = Logger(__name__)

LEASE_S, RENEW_S = 300.0, 60.0
RENEWALS_AT_ONCE = 8
ABANDONED_S = 60.0
"""A claim that expired so long ago is no living server's, and its controller has not deleted it."""


class ClaimedPods:
    """A `Provisioner` that claims each pod from the warm pool `warm_pool`. `instance` is the server's name in labels.

    A claim expires `LEASE_S` after its last renewal, and is renewed every `RENEW_S`.
    """

    rights = (
        *(Right(verb, "sandboxclaims", GROUP) for verb in ("create", "list", "watch", "patch", "delete")),
        Right("get", "pods"),
        Right("create", "pods/exec"),
        Right("get", "pods/exec"),
    )
    keeps_warm = True
    missing: tuple[str, ...] = (
        "pids is not enforced for each sandbox: pods of a warm pool share a user. Set podPidsLimit of the nodes'"
        " kubelets.",
    )

    def __init__(self, cluster: Cluster, instance: str, warm_pool: str) -> None:
        self.summary = f"Kubernetes pod of the warm pool {warm_pool}"
        self._pods = cluster.pods
        self._claims = cluster.objects(GROUP, VERSION, "sandboxclaims")
        self._instance = instance
        self._seen = Followed(self._claims, selector(of=instance), claim_state.ending)
        self._made: dict[str, str | None] = {}
        """The names of pods by the ids of sandboxes; None before a claim has got its pod."""
        self._lease_s, self._renew_s = LEASE_S, RENEW_S

    async def obtain(self, sandbox_id: str, spec: SandboxSpec) -> tuple[str, str]:
        """Raises the error of each final reason in `claim_state.FINAL` as soon as the controller reports it.

        Raises `AtCapacity` or `EngineUnavailable` if the claim has got no pod for the spec's `pending_timeout_s`.
        """
        name = self._name(sandbox_id)
        self._made[sandbox_id] = None
        self._seen.expect(name)
        described = claim_state.claim(name, sandbox_id, self._instance, spec.pods, lease_s=self._lease_s)
        await self._claims.create(described, sandbox_id=sandbox_id)
        try:
            async with asyncio.timeout(spec.pods.pending_timeout_s):
                pod, address = await self._seen.until(name, _outcome)
        except TimeoutError:
            raise await self._why_late(name, spec) from None
        self._made[sandbox_id] = pod
        return pod, address

    async def reason(self, sandbox_id: str, limits: Limits, *, timeout_s: float) -> Death | None:
        """Reads the pod while the claim still holds it: the claim says that it failed, and only the pod says why."""
        name = self._name(sandbox_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._seen.until(name, claim_state.ending)
        if (pod_name := self._made.get(sandbox_id)) is not None:
            pod = await self._pods.get(pod_name)
            if pod is not None and (death := death_of(pod, limits)) is not None:
                return death
        seen = self._seen.get(name)
        sentence = claim_state.ending(seen) if seen is not None else None
        return Death(sentence) if sentence is not None else None

    async def release(self, sandbox_id: str, *, ended: bool) -> None:
        """Deletes the claim, and with it the cluster's controller deletes the pod."""
        if sandbox_id in self._made:
            name = self._name(sandbox_id)
            await self._claims.delete(name)
            self._seen.forget(name)
            del self._made[sandbox_id]
            return
        found, _ = await self._claims.list(selector(sandbox_id=sandbox_id))
        for each in found:
            await self._claims.delete(each["metadata"]["name"])

    async def abandoned(self) -> list[str]:
        found, _ = await self._claims.list(selector(not_of=self._instance))
        return sandboxes_of(found, _is_abandoned)

    def tell(self, notice: Callable[[Notice], None]) -> None:
        self._seen.tell(notice)

    async def follow(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._seen.follow())
            tasks.create_task(self._renew_all())

    async def _renew_all(self) -> None:
        """Renews all claims again and again. A renewal that fails is tried again in the next round."""
        while True:
            await asyncio.sleep(self._renew_s)
            at_once = asyncio.Semaphore(RENEWALS_AT_ONCE)
            async with asyncio.TaskGroup() as tasks:
                for sandbox_id in list(self._made):
                    tasks.create_task(self._renew(sandbox_id, at_once))

    async def _renew(self, sandbox_id: str, at_once: asyncio.Semaphore) -> None:
        async with at_once:
            if sandbox_id not in self._made:
                return
            try:
                patch = {"spec": {"lifecycle": claim_state.lifecycle(self._lease_s)}}
                await self._claims.merge(self._name(sandbox_id), patch)
            except SandboxError as error:
                log.warning("the claim of a sandbox could not be renewed", sandbox=sandbox_id, reason=error.message)

    async def _why_late(self, name: str, spec: SandboxSpec) -> SandboxError:
        """Returns why a claim has got no pod, which the pod itself may say."""
        seen = self._seen.get(name)
        pod_name = (((seen or {}).get("status") or {}).get("sandbox") or {}).get("name")
        pod = await self._pods.get(str(pod_name)) if pod_name else None
        known = (obstacle(pod) or unschedulable(pod)) if pod is not None else None
        return known or claim_state.slowness(seen, spec.pods.warm_pool, spec.pods.pending_timeout_s)

    def _name(self, sandbox_id: str) -> str:
        """Returns the claim's name. It is short, because names of other objects may be made from it."""
        return f"codeact-{self._instance}-{hashlib.sha256(sandbox_id.encode()).hexdigest()[:16]}"


def _outcome(found: dict[str, Any]) -> tuple[str, str] | None:
    if (error := claim_state.refusal(found)) is not None:
        raise error
    return claim_state.pod_of(found)


def _is_abandoned(found: dict[str, Any]) -> bool:
    if found["metadata"].get("deletionTimestamp"):
        return False
    return claim_state.ending(found) is not None or claim_state.is_expired(found, since_s=ABANDONED_S)

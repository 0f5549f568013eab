"""A stand-in for agent-sandbox's controller in one namespace of a real cluster, which may be too old for the real one.

It follows the published behaviour of v1beta1 as far as a client sees it: a warm pool keeps ready pods; a claim adopts
one, or gets a new one if none is ready; Ready and Finished report it; at `shutdownTime` the claim ends; a deleted claim
takes its pod along. It makes no Sandbox objects, and knows `shutdownPolicy: Delete` only.

    python -m tests.cluster.agent_sandbox NAMESPACE      runs it on the cluster of KUBECONFIG until it is ended
"""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client.exceptions import ApiException

__all__ = ["Controller", "running"]

GROUP, VERSION = "extensions.agents.x-k8s.io", "v1beta1"
POOL, CLAIMED = "stand-in/pool", "stand-in/claim"
ALLOWED_DOMAIN = "sandbox.users.io"
LOST = 422
MERGE_PATCH = "application/merge-patch+json"

Object = dict[str, Any]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: bool, reason: str, message: str = "") -> Object:
    return {
        "type": kind,
        "status": str(status),
        "reason": reason,
        "message": message,
        "lastTransitionTime": now(),
    }


class Controller:
    """Reconciles one namespace. `renewed` counts the changes of `shutdownTime` that it saw."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.renewed = 0
        self._api, self._namespace = api, namespace
        self._core, self._objects = client.CoreV1Api(api), client.CustomObjectsApi(api)
        self._claims: dict[str, Object] = {}
        self._pods: dict[str, Any] = {}
        self._changed = asyncio.Event()
        self._changed.set()
        self._expiry: dict[str, asyncio.TimerHandle] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_claims())
            tasks.create_task(self._follow_pods())
            while True:
                await self._changed.wait()
                self._changed.clear()
                with suppress(ApiException):
                    await self._reconcile()

    # ---- what is seen ------------------------------------------------------------------------------------

    async def _follow_claims(self) -> None:
        while True:
            async with watch.Watch() as events:
                args = (GROUP, VERSION, self._namespace, "sandboxclaims")
                async for event in events.stream(self._objects.list_namespaced_custom_object, *args):
                    claim, name = event["object"], event["object"]["metadata"]["name"]
                    before = self._claims.pop(name, None)
                    if event["type"] != "DELETED":
                        self._claims[name] = claim
                        self.renewed += before is not None and before["spec"] != claim["spec"]
                        self._expire(name, claim)
                    self._changed.set()

    async def _follow_pods(self) -> None:
        while True:
            async with watch.Watch() as events:
                async for event in events.stream(self._core.list_namespaced_pod, self._namespace, label_selector=POOL):
                    pod = event["object"]
                    self._pods[pod.metadata.name] = pod
                    if event["type"] == "DELETED":
                        del self._pods[pod.metadata.name]
                    self._changed.set()

    def _expire(self, name: str, claim: Object) -> None:
        if (timer := self._expiry.pop(name, None)) is not None:
            timer.cancel()
        if until := claim["spec"].get("lifecycle", {}).get("shutdownTime"):
            left_s = (datetime.fromisoformat(until) - datetime.now(UTC)).total_seconds()
            self._expiry[name] = asyncio.get_running_loop().call_later(max(0, left_s) + 0.05, self._changed.set)

    # ---- what is done ------------------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        for name, claim in list(self._claims.items()):
            if not claim["metadata"].get("deletionTimestamp"):
                await self._serve(name, claim)
        for name, pod in list(self._pods.items()):
            owner = pod.metadata.labels.get(CLAIMED)
            if owner is not None and owner not in self._claims and pod.metadata.deletion_timestamp is None:
                await self._core.delete_namespaced_pod(name, self._namespace, grace_period_seconds=1)
        pools = await self._objects.list_namespaced_custom_object(GROUP, VERSION, self._namespace, "sandboxwarmpools")
        for pool in pools["items"]:
            await self._refill(pool)

    async def _refill(self, pool: Object) -> None:
        name = pool["metadata"]["name"]
        free = [pod for pod in self._pods.values() if self._is_free(pod, name)]
        for _ in range(pool["spec"]["replicas"] - len(free)):
            await self._create_pod(pool, {})
        ready = sum(map(self._is_ready, free))
        if (pool.get("status") or {}).get("readyReplicas") != ready:
            await self._objects.patch_namespaced_custom_object_status(
                *(GROUP, VERSION, self._namespace, "sandboxwarmpools", name, {"status": {"readyReplicas": ready}}),
                _content_type=MERGE_PATCH,
            )

    async def _create_pod(self, pool: Object, labels: dict[str, str]) -> str:
        name = pool["metadata"]["name"]
        args = (GROUP, VERSION, self._namespace, "sandboxtemplates", pool["spec"]["sandboxTemplateRef"]["name"])
        template = (await self._objects.get_namespaced_custom_object(*args))["spec"]["podTemplate"]
        own = {**template.get("metadata", {}).get("labels", {}), POOL: name, **labels}
        metadata = {"name": f"{name}-{secrets.token_hex(4)}", "labels": own}
        made = await self._core.create_namespaced_pod(self._namespace, {"metadata": metadata, "spec": template["spec"]})
        self._pods[made.metadata.name] = made
        return str(made.metadata.name)

    async def _serve(self, name: str, claim: Object) -> None:
        until = claim["spec"].get("lifecycle", {}).get("shutdownTime")
        if until and datetime.fromisoformat(until) <= datetime.now(UTC):
            await self._report(claim, condition("Ready", False, "ClaimExpired", "Claim expired."))
            await self._objects.delete_namespaced_custom_object(GROUP, VERSION, self._namespace, "sandboxclaims", name)
            return
        if refused := self._refused(claim):
            await self._report(claim, condition("Ready", False, refused, "not allowed"))
            return
        own = next((pod for pod in self._pods.values() if pod.metadata.labels.get(CLAIMED) == name), None)
        if own is None:
            await self._adopt(name, claim)
        elif own.status.phase in ("Failed", "Succeeded"):
            reason = f"Pod{own.status.phase}"
            ready = condition("Ready", False, "DependenciesNotReady", "the pod has ended")
            await self._report(claim, ready, condition("Finished", True, reason), pod=own)
        elif self._is_ready(own):
            await self._report(claim, condition("Ready", True, "DependenciesReady"), pod=own)
        else:
            await self._report(claim, condition("Ready", False, "DependenciesNotReady", "the pod starts"), pod=own)

    async def _adopt(self, name: str, claim: Object) -> None:
        wanted = claim["spec"]["warmPoolRef"]["name"]
        if claim.get("status", {}).get("sandbox", {}).get("name"):
            await self._report(claim, condition("Ready", False, "SandboxMissing", "Sandbox does not exist"))
            return
        try:
            pool = await self._objects.get_namespaced_custom_object(
                GROUP, VERSION, self._namespace, "sandboxwarmpools", wanted
            )
        except ApiException as error:
            if error.status != 404:
                raise
            await self._report(claim, condition("Ready", False, "WarmPoolNotFound", f"{wanted} not found"))
            return
        for pod in list(self._pods.values()):
            if self._is_free(pod, wanted) and self._is_ready(pod):
                test = {"op": "test", "path": "/metadata/resourceVersion", "value": pod.metadata.resource_version}
                mark = {"op": "add", "path": f"/metadata/labels/{CLAIMED.replace('/', '~1')}", "value": name}
                try:
                    own = await self._core.patch_namespaced_pod(pod.metadata.name, self._namespace, [test, mark])
                except ApiException as error:
                    if error.status not in (LOST, 404):
                        raise
                    continue
                self._pods[pod.metadata.name] = own
                await self._report(claim, condition("Ready", True, "DependenciesReady"), pod=own)
                return
        await self._create_pod(pool, {CLAIMED: name})

    async def _report(self, claim: Object, *conditions: Object, pod: Any = None) -> None:
        before = {each["type"]: each for each in claim.get("status", {}).get("conditions", ())}
        sandbox = {}
        if pod is not None:
            sandbox = {"name": pod.metadata.name, "podIPs": [pod.status.pod_ip] if pod.status.pod_ip else []}
        same = all(
            (old := before.get(each["type"])) and (old["status"], old["reason"]) == (each["status"], each["reason"])
            for each in conditions
        )
        if same and claim.get("status", {}).get("sandbox", {}) == sandbox:
            return
        status = {"sandbox": sandbox, "conditions": list(conditions)}
        claim["status"] = status
        with suppress(ApiException):  # It may be gone.
            await self._objects.patch_namespaced_custom_object_status(
                *(GROUP, VERSION, self._namespace, "sandboxclaims", claim["metadata"]["name"], {"status": status}),
                _content_type=MERGE_PATCH,
            )

    def _refused(self, claim: Object) -> str | None:
        if claim["spec"].get("env"):
            return "EnvVarsInjectionRejected"
        labels = claim["spec"].get("additionalPodMetadata", {}).get("labels", {})
        return "InvalidMetadata" if any(ALLOWED_DOMAIN not in label for label in labels) else None

    def _is_free(self, pod: Any, pool: str) -> bool:
        labels, is_over = pod.metadata.labels, pod.status.phase in ("Failed", "Succeeded")
        gone = pod.metadata.deletion_timestamp is not None
        return labels.get(POOL) == pool and CLAIMED not in labels and not gone and not is_over

    def _is_ready(self, pod: Any) -> bool:
        conditions = {each.type: each.status for each in pod.status.conditions or ()}
        return conditions.get("Ready") == "True" and bool(pod.status.pod_ip)


@asynccontextmanager
async def running(api: client.ApiClient, namespace: str) -> AsyncIterator[Controller]:
    """Runs the controller in a namespace, whose pods and claims are the caller's to remove."""
    controller = Controller(api, namespace)
    task = asyncio.create_task(controller.run())
    try:
        yield controller
    finally:
        task.cancel()
        await asyncio.wait({task})
        for timer in controller._expiry.values():
            timer.cancel()


async def main(namespace: str) -> None:
    await config.load_kube_config()
    async with client.ApiClient() as api, running(api, namespace):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

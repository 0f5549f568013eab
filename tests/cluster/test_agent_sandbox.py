"""Sandboxes claimed from a warm pool of agent-sandbox: its objects are the chart's, its controller is a stand-in."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sandbox_pool import SandboxPool
from sandbox_pool.backends.kubernetes import claimed_pods
from sandbox_pool.backends.kubernetes.claim_state import GROUP, VERSION
from sandbox_pool.errors import EngineUnavailable
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec
from tests.cluster.conftest import DEADLINE_S, IMAGE, Open, pods_in, within
from tests.helm.test_chart import LEAST, ask
from tests.sandbox_pool.conftest import new_id, text

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

POOL = "codeact-default"
REPLICAS = 2


@pytest.fixture(scope="module")
def chart_objects() -> list[dict[str, Any]]:
    values = {**LEAST, "sandbox": {"image": IMAGE, "memoryMb": 300}}
    values["agentSandbox"] = {"enabled": True, "pools": {"default": {"replicas": REPLICAS}}}
    found = ask({"pool": values}, versions=[])["pool"]
    assert "error" not in found, found
    return [each for each in found["objects"] if each["kind"] in ("SandboxTemplate", "SandboxWarmPool")]


@pytest.fixture
async def warm_pool(
    api: Any, namespace: str, custom_resources: None, chart_objects: list[dict[str, Any]]
) -> AsyncIterator[Any]:
    """The stand-in controller of a warm pool whose pods are ready."""
    from kubernetes_asyncio import client

    from tests.cluster.agent_sandbox import running

    objects, core = client.CustomObjectsApi(api), client.CoreV1Api(api)
    for each in chart_objects:
        described = {**each, "metadata": {"name": each["metadata"]["name"]}}
        await objects.create_namespaced_custom_object(GROUP, VERSION, namespace, f"{each['kind'].lower()}s", described)
    async with running(api, namespace) as controller:
        while True:
            found = (await core.list_namespaced_pod(namespace)).items
            ready = [
                pod
                for pod in found
                if any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())
            ]
            if len(ready) == REPLICAS:
                break
        yield controller


def claiming(namespace: str, **options: Any) -> SandboxSpec:
    return within(namespace, provisioner="agent-sandbox", warm_pool=POOL, **options)


async def claims_in(api: Any, namespace: str) -> list[dict[str, Any]]:
    from kubernetes_asyncio import client

    found = await client.CustomObjectsApi(api).list_namespaced_custom_object(GROUP, VERSION, namespace, "sandboxclaims")
    return list(found["items"])


async def test_the_cluster_keeps_sandboxes_warm_and_the_pool_claims_them(
    api: Any, namespace: str, warm_pool: Any, opened: Open
) -> None:
    spec = claiming(namespace)
    backend = await opened(spec)
    assert f"warm pool {POOL}" in backend.isolation.summary
    before = set(await pods_in(api, namespace))
    async with SandboxPool(spec, backend=backend, min_size=0, max_size=3) as pool:
        await pool.ready()
        assert pool.stats().warm == 0
        async with pool.acquire(timeout_s=DEADLINE_S) as sandbox:
            outputs, result = await sandbox.run("import os, sys; print(os.getuid(), 'pandas' in sys.modules)")
            # The template's user; and its pods import modules before anybody asks for one.
            assert (text(outputs), result.status) == ("1000000 True\n", "ok")
            assert (await sandbox.write_file("a.txt", b"hello")).size_bytes == 5
            [claim] = await claims_in(api, namespace)
            assert claim["status"]["sandbox"]["name"] in before
        assert pool.stats().failures == 0
        assert pool.stats().target == 0
    assert await claims_in(api, namespace) == []


async def test_memory_that_is_used_up_is_told_by_name(namespace: str, warm_pool: Any, opened: Open) -> None:
    spec = claiming(namespace)
    backend = await opened(spec)
    sandbox = await Sandbox.start(backend, new_id(), spec, deadline_s=DEADLINE_S)
    _, result = await sandbox.run("x = bytearray(2_000_000_000)")
    assert (result.status, result.limit) == ("died", "memory_mb")
    await sandbox.close()


async def test_a_claim_is_renewed_and_expires_when_it_is_not(
    api: Any, namespace: str, warm_pool: Any, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimed_pods, "LEASE_S", 6.0)
    monkeypatch.setattr(claimed_pods, "RENEW_S", 1.0)
    spec = claiming(namespace)
    backend = await opened(spec)
    sandbox = await Sandbox.start(backend, new_id(), spec, deadline_s=DEADLINE_S)
    async with asyncio.timeout(DEADLINE_S):
        while warm_pool.renewed < 8:
            await claims_in(api, namespace)
    outputs, _ = await sandbox.run("print('lives on')")
    assert text(outputs) == "lives on\n"
    monkeypatch.setattr(backend._provisioner, "_renew_s", 1_000.0)
    async with asyncio.timeout(DEADLINE_S):
        death = await sandbox.died()
    assert "claim" in death.detail or "deleted" in death.detail
    await sandbox.close()
    assert await claims_in(api, namespace) == []


async def test_the_claim_of_a_killed_server_is_found_and_removed(
    api: Any, namespace: str, warm_pool: Any, opened: Open
) -> None:
    spec = claiming(namespace)
    dead, living = await opened(spec), await opened(spec)
    sandbox_id = new_id()
    await dead.create(sandbox_id, spec)
    assert await living.list() == []
    await dead.close()
    async with asyncio.timeout(DEADLINE_S):
        while await living.list() != [sandbox_id]:
            pass
    await living.destroy(sandbox_id)
    assert await claims_in(api, namespace) == []


async def test_a_warm_pool_that_is_not_there_is_named(namespace: str, custom_resources: None, opened: Open) -> None:
    with pytest.raises(EngineUnavailable, match=f"no SandboxWarmPool {POOL}.*CODEACT_KUBERNETES_PROVISIONER=pods"):
        await opened(claiming(namespace))
    backend = await opened(within(namespace, warm_pool=POOL))
    assert backend.isolation.summary.startswith("Kubernetes pod in")

"""Claims on a warm pool of agent-sandbox, against a stand-in API server that checks them by the published schemas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sandbox_pool.backends.base import Notice
from sandbox_pool.backends.kubernetes import claimed_pods, resource
from sandbox_pool.backends.kubernetes.choosing import choose
from sandbox_pool.backends.kubernetes.claim_state import FINAL
from sandbox_pool.backends.kubernetes.claimed_pods import ClaimedPods
from sandbox_pool.backends.kubernetes.cluster import Cluster
from sandbox_pool.backends.kubernetes.plain_pods import PlainPods
from sandbox_pool.backends.kubernetes.provisioner import Provisioner
from sandbox_pool.errors import AtCapacity, EngineUnavailable, ImageUnavailable, SandboxError, SandboxStartFailed
from sandbox_pool.spec import Limits, PodOptions, SandboxSpec
from tests.agent_sandbox_api import CLAIMS, PODS, POOLS, Api, condition, serving

pytestmark = pytest.mark.anyio

OPTIONS = PodOptions(provisioner="agent-sandbox", warm_pool="warm", owner=("server-1", "uid-1"))
SPEC = SandboxSpec(pods=OPTIONS)
QUICK = SandboxSpec(pods=PodOptions(provisioner="agent-sandbox", warm_pool="warm", pending_timeout_s=0.2))
READY = condition("Ready", "True", "DependenciesReady")
SOON_S = 30.0


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """An API server with the warm pool `warm`, whose claims get a pod at once."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    async with serving(tmp_path / "config") as api:
        api.put(POOLS, {"kind": "SandboxWarmPool", "metadata": {"name": "warm"}, "spec": {"replicas": 2}})
        api.behave = lambda claim: api.report(claim, READY, pod="warm-1")
        yield api


@asynccontextmanager
async def chosen(options: PodOptions = OPTIONS, instance: str = "abcd") -> AsyncIterator[Provisioner]:
    cluster = await Cluster.connect(options.namespace)
    try:
        provisioner = await choose(cluster, options, instance, lambda line: None)
        following = asyncio.create_task(provisioner.follow())
        yield provisioner
        following.cancel()
        await asyncio.wait({following})
    finally:
        await cluster.close()


@pytest.fixture
async def claims(api: Api) -> AsyncIterator[ClaimedPods]:
    async with chosen() as provisioner:
        assert isinstance(provisioner, ClaimedPods)
        yield provisioner


async def test_a_claim_names_the_pool_expires_by_itself_and_belongs_to_the_server(
    api: Api, claims: ClaimedPods
) -> None:
    assert await claims.obtain("cntr_1", SPEC) == ("warm-1", "192.0.2.7")
    [claim] = api.objects[CLAIMS].values()
    assert claim["spec"]["warmPoolRef"] == {"name": "warm"}
    assert claim["spec"]["lifecycle"]["shutdownPolicy"] == "Delete"
    left = datetime.fromisoformat(claim["spec"]["lifecycle"]["shutdownTime"]) - datetime.now(UTC)
    assert timedelta(seconds=200) < left <= timedelta(seconds=300)
    # These would make the controller start a new pod instead of handing over a warm one.
    assert not {"env", "volumeClaimTemplates", "additionalPodMetadata"} & claim["spec"].keys()
    [owner] = claim["metadata"]["ownerReferences"]
    assert (owner["name"], owner["uid"]) == ("server-1", "uid-1")
    await claims.release("cntr_1", ended=True)
    assert api.objects[CLAIMS] == {}


async def test_claims_are_renewed_before_they_expire_by_a_merge_patch_of_their_time(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimed_pods, "RENEW_S", 0.05)
    async with chosen() as claims:
        await claims.obtain("cntr_1", SPEC)
        await api.until(lambda: len(api.patches) >= 2)
        assert all(patch["spec"]["lifecycle"].keys() == {"shutdownTime"} for patch in api.patches)
        await claims.release("cntr_1", ended=True)


async def test_nothing_is_polled(api: Api, claims: ClaimedPods) -> None:
    api.behave = lambda claim: None
    getting = asyncio.create_task(claims.obtain("cntr_1", SPEC))
    await api.until(lambda: api.objects[CLAIMS])
    [claim] = api.objects[CLAIMS].values()
    for reason in ("SandboxMissing", "AdoptionConflict", "DependenciesNotReady"):
        api.report(claim, condition("Ready", "False", reason))
    api.report(claim, READY, pod="warm-2")
    assert (await getting)[0] == "warm-2"
    # One list and at most one watch, however many changes there were. The list may come after all of them.
    assert [path for method, path in api.requests if method == "GET" and path.startswith(CLAIMS)] in (
        [CLAIMS],
        [CLAIMS] * 2,
    )


@pytest.mark.parametrize("reason", FINAL)
async def test_each_final_reason_of_a_start_is_an_error_of_its_own(api: Api, claims: ClaimedPods, reason: str) -> None:
    kind = "Finished" if reason.startswith("Pod") else "Ready"
    status = "True" if kind == "Finished" else "False"
    api.behave = lambda claim: api.report(claim, condition(kind, status, reason, "said by the controller"))
    with pytest.raises(FINAL[reason].error, match=reason):
        await claims.obtain("cntr_1", SPEC)


@pytest.mark.parametrize("reason", FINAL)
async def test_each_final_reason_of_a_sandbox_in_use_is_noticed(api: Api, claims: ClaimedPods, reason: str) -> None:
    noticed: asyncio.Queue[Notice] = asyncio.Queue()
    claims.tell(noticed.put_nowait)
    await claims.obtain("cntr_1", SPEC)
    [claim] = api.objects[CLAIMS].values()
    kind = "Finished" if reason.startswith("Pod") else "Ready"
    api.report(claim, condition(kind, "True" if kind == "Finished" else "False", reason), pod="warm-1")
    assert await noticed.get() == Notice("cntr_1", FINAL[reason].sentence)
    death = await claims.reason("cntr_1", Limits(), timeout_s=SOON_S)
    assert death is not None
    assert death.detail == FINAL[reason].sentence


async def test_the_pod_tells_why_it_failed_before_its_claim_is_let_go(api: Api, claims: ClaimedPods) -> None:
    await claims.obtain("cntr_1", SPEC)
    terminated = {"reason": "OOMKilled", "exitCode": 137}
    status = {"phase": "Failed", "containerStatuses": [{"state": {"terminated": terminated}}]}
    api.put(PODS, {"kind": "Pod", "metadata": {"name": "warm-1"}, "status": status})
    [claim] = api.objects[CLAIMS].values()
    api.report(claim, condition("Finished", "True", "PodFailed"), pod="warm-1")
    death = await claims.reason("cntr_1", Limits(memory_mb=300), timeout_s=SOON_S)
    assert death is not None
    assert (death.limit, "300 MB" in death.detail) == ("memory_mb", True)


async def test_a_claim_that_is_deleted_is_noticed(api: Api, claims: ClaimedPods) -> None:
    noticed: asyncio.Queue[Notice] = asyncio.Queue()
    claims.tell(noticed.put_nowait)
    await claims.obtain("cntr_1", SPEC)
    api.remove(CLAIMS, next(iter(api.objects[CLAIMS])))
    assert "claim of the sandbox was deleted" in (await noticed.get()).what


def not_ready(reason: str) -> dict[str, Any]:
    return condition("Ready", "False", reason, "said by the controller")


WAITING = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
CONTAINER = {"phase": "Pending", "containerStatuses": [{"state": WAITING}]}
FULL = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]}


@pytest.mark.parametrize(
    ("reason", "pod", "kind", "words"),
    [
        (None, None, EngineUnavailable, "Does the controller of agent-sandbox run"),
        ("WarmPoolNotFound", None, EngineUnavailable, "CODEACT_KUBERNETES_WARM_POOL"),
        ("TemplateNotFound", None, EngineUnavailable, "Create the SandboxTemplate"),
        ("SandboxMissing", None, AtCapacity, "Raise its replicas"),
        ("DependenciesNotReady", CONTAINER, ImageUnavailable, "no such image"),
        ("DependenciesNotReady", FULL, AtCapacity, "0/3 nodes are available"),
    ],
)
async def test_why_no_pod_comes_is_said(
    api: Api, claims: ClaimedPods, reason: str | None, pod: dict[str, Any] | None, kind: type[SandboxError], words: str
) -> None:
    if reason is None:
        api.behave = lambda claim: None
    else:
        named = "cold-1" if pod is not None else None
        api.behave = lambda claim: api.report(claim, not_ready(reason), pod=named)
    if pod is not None:
        described = {"containers": [{"image": "registry/none"}]}
        api.put(PODS, {"kind": "Pod", "metadata": {"name": "cold-1"}, "spec": described, "status": pod})
    with pytest.raises(kind, match=words):
        await claims.obtain("cntr_1", QUICK)
    await claims.release("cntr_1", ended=False)
    assert api.objects[CLAIMS] == {}


async def test_claims_of_servers_that_are_gone_are_found_and_those_of_living_ones_are_not(
    api: Api, claims: ClaimedPods
) -> None:
    async with chosen(instance="other") as other:
        for number in range(3):
            await other.obtain(f"cntr_{number}", SPEC)
        living, ended, expired = api.objects[CLAIMS].values()
        assert await claims.abandoned() == []
        api.report(ended, condition("Finished", "True", "PodSucceeded"))
        expired["spec"]["lifecycle"]["shutdownTime"] = "2020-01-01T00:00:00Z"
        assert await claims.abandoned() == ["cntr_1", "cntr_2"]
        await claims.release("cntr_1", ended=False)
        assert await claims.abandoned() == ["cntr_2"]
        assert living["metadata"]["name"] in api.objects[CLAIMS]


async def test_what_a_sandbox_left_is_forgotten(api: Api, claims: ClaimedPods) -> None:
    for number in range(5):
        await claims.obtain(f"cntr_{number}", SPEC)
        await claims.release(f"cntr_{number}", ended=True)
    await claims.obtain("cntr_last", SPEC)
    assert len(claims._seen._known) == len(claims._seen._expected) == len(claims._made) == 1


async def test_agent_sandbox_is_chosen_if_the_cluster_has_the_pool_and_can_be_forbidden_or_demanded(api: Api) -> None:
    choices = {
        PodOptions(): PlainPods,
        PodOptions(warm_pool="warm"): ClaimedPods,
        PodOptions(warm_pool="none"): PlainPods,
        PodOptions(provisioner="pods", warm_pool="warm"): PlainPods,
    }
    for options, kind in choices.items():
        async with chosen(options) as provisioner:
            assert type(provisioner) is kind
    demanded = partial(PodOptions, provisioner="agent-sandbox")
    with pytest.raises(EngineUnavailable, match=r"no SandboxWarmPool none.*CODEACT_KUBERNETES_PROVISIONER=pods"):
        async with chosen(demanded(warm_pool="none")):
            pass
    with pytest.raises(EngineUnavailable, match="CODEACT_KUBERNETES_WARM_POOL"):
        async with chosen(demanded()):
            pass
    api.denied = {"get sandboxwarmpools"}
    with pytest.raises(EngineUnavailable, match=r"may not get sandboxwarmpools\.extensions"):
        async with chosen(demanded(warm_pool="warm")):
            pass


async def test_an_answer_without_an_end_is_not_read(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "BODY_BYTES", 1_000)
    api.page = "x" * 100_000
    cluster = await Cluster.connect(None)
    try:
        with pytest.raises(EngineUnavailable, match="more than 1,000 bytes"):
            await cluster.pods.list("")
    finally:
        await cluster.close()


async def test_an_api_that_refuses_claims_says_why(api: Api, claims: ClaimedPods) -> None:
    await claims.obtain("cntr_1", SPEC)
    with pytest.raises(SandboxStartFailed, match="409"):
        await claims.obtain("cntr_1", SPEC)


@pytest.mark.parametrize("page", ["<html>", "[]", "{}"])
async def test_an_address_that_is_no_clusters_is_named(api: Api, page: str) -> None:
    api.page = page
    for options in (OPTIONS, PodOptions()):
        cluster = await Cluster.connect(None)
        try:
            with pytest.raises(EngineUnavailable, match="not the API of a Kubernetes cluster"):
                await cluster.missing_rights((await choose(cluster, options, "abcd", lambda line: None)).rights)
        finally:
            await cluster.close()

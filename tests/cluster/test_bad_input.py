"""A cluster that cannot have sandboxes: one clear error with its remedy each, and nothing is left behind."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox_pool.errors import AtCapacity, EngineUnavailable, ImageUnavailable
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.cluster.conftest import DEADLINE_S, IMAGE, Open, pods_in, with_user, within

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]


async def test_a_token_that_the_cluster_does_not_know(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(with_user(tmp_path / "config", token="wrong")))
    with pytest.raises(EngineUnavailable, match="does not know who we are"):
        await opened()


async def test_a_namespace_without_rights(
    api: Any, namespace: str, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernetes_asyncio import client

    core = client.CoreV1Api(api)
    answer = await core.create_namespaced_service_account_token("default", namespace, {"spec": {}})
    monkeypatch.setenv("KUBECONFIG", str(with_user(tmp_path / "config", token=answer.status.token)))
    with pytest.raises(EngineUnavailable, match=rf"{namespace} .* may not: create pods, list pods,.* get pods/exec"):
        await opened(within(namespace))


async def test_a_namespace_that_does_not_exist(opened: Open) -> None:
    with pytest.raises(EngineUnavailable, match="CODEACT_KUBERNETES_NAMESPACE"):
        await opened(within("codeact-nowhere"))


async def quota(api: Any, namespace: str, pods: int) -> None:
    from kubernetes_asyncio import client

    core = client.CoreV1Api(api)
    await core.create_namespaced_resource_quota(
        namespace, {"metadata": {"name": "few"}, "spec": {"hard": {"pods": str(pods)}}}
    )
    # It counts once its controller has looked.
    while True:
        found = await core.read_namespaced_resource_quota_status("few", namespace)
        if found.status.used is not None:
            return


async def test_a_quota_of_zero(api: Any, namespace: str, opened: Open) -> None:
    await quota(api, namespace, 0)
    with pytest.raises(EngineUnavailable, match=r"quota few .* no room for a single sandbox \(pods\)"):
        await opened(within(namespace))
    assert await pods_in(api, namespace) == []


async def test_a_quota_that_is_used_up_is_capacity(api: Any, namespace: str, opened: Open) -> None:
    spec = within(namespace)
    backend = await opened(spec)
    await quota(api, namespace, 1)
    sandbox = await Sandbox.start(backend, "cntr_first", spec, deadline_s=DEADLINE_S)
    try:
        with pytest.raises(AtCapacity, match="quota few") as caught:
            await Sandbox.start(backend, "cntr_second", spec, deadline_s=DEADLINE_S)
        assert caught.value.retry_after_s > 0
    finally:
        await sandbox.close()
    assert await pods_in(api, namespace) == []


async def test_no_node_with_room_is_capacity(api: Any, namespace: str, opened: Open) -> None:
    spec = within(namespace, node_selector=(("codeact/nowhere", "1"),), pending_timeout_s=0.5)
    backend = await opened(spec)
    with pytest.raises(AtCapacity, match="No node of the cluster has room"):
        await Sandbox.start(backend, "cntr_nowhere", spec, deadline_s=DEADLINE_S)
    assert await pods_in(api, namespace) == []


@pytest.mark.parametrize("image", ["localhost:1/none:1", "not an image"])
async def test_an_image_that_cannot_be_pulled(api: Any, namespace: str, opened: Open, image: str) -> None:
    with pytest.raises((ImageUnavailable, EngineUnavailable), match=r"CODEACT_SANDBOX_IMAGE|not valid"):
        await opened(replace(within(namespace), image=image))
    assert await pods_in(api, namespace) == []


async def test_a_webhook_that_refuses(api: Any, namespace: str, opened: Open) -> None:
    from kubernetes_asyncio import client

    hooks = client.AdmissionregistrationV1Api(api)
    hook = {
        "name": "refuses.codeact.example",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"codeact-test": namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
        "timeoutSeconds": 2,
    }
    await hooks.create_validating_webhook_configuration({"metadata": {"name": namespace}, "webhooks": [hook]})
    try:
        refused = None
        # The API server learns of a webhook a moment later.
        while refused is None:
            try:
                await (await opened(within(namespace))).close()
            except EngineUnavailable as error:
                refused = error.message
        assert "refuses.codeact.example" in refused
        assert "webhook" in refused
    finally:
        await hooks.delete_validating_webhook_configuration(namespace)
    assert await pods_in(api, namespace) == []


def doctor(image: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "CODEACT_SANDBOX": "kubernetes",
        "CODEACT_SANDBOX_IMAGE": image,
        "CODEACT_MODEL": "demo",
    }
    command = [Path(sys.executable).with_name("codeact"), "doctor"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_doctor_tries_a_sandbox_and_says_what_this_cluster_does_not_promise() -> None:
    found = doctor(IMAGE)
    assert "Kubernetes pod in the namespace" in found.stdout, found
    assert "workspace_inodes is not enforced" in found.stdout
    assert "CODEACT_SANDBOX_IMAGE" in doctor("localhost:1/none:1").stdout

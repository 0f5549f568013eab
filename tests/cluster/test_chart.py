"""The chart on a real cluster: its API takes every object, a rollback works, and the server has the least rights."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.helm.test_chart import CHART, LEAST, PYTHON

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

FULL = {**LEAST, "autoscaling": {"enabled": True, "cpu": 80}, "ingress": {"enabled": True, "host": "chat.example"}}
PROGRAM = Path(__file__).parents[1] / "helm" / "release.py"

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

"""Namespaces, accounts and backends on a real cluster: the one that `make test-cluster` was given."""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sandbox_pool.backends.kubernetes.claim_state import GROUP, VERSION
from sandbox_pool.spec import PodOptions, SandboxSpec
from tests.agent_sandbox_schemas import CRDS
from tests.needs import CLUSTER

if TYPE_CHECKING:
    from sandbox_pool.backends.kubernetes.backend import KubernetesBackend

IMAGE = os.environ.get("TEST_CLUSTER_IMAGE", "none")
SPEC = SandboxSpec(image=IMAGE, preload=())
DEADLINE_S = 90.0

Open = Callable[..., Awaitable["KubernetesBackend"]]


@pytest.fixture(autouse=True)
def _needs_a_cluster() -> None:
    if not CLUSTER:
        pytest.skip("no cluster is given: `make test-cluster` runs it")


@pytest.fixture
async def api() -> AsyncIterator[Any]:
    """The client's module, and a client that is the cluster's administrator."""
    from kubernetes_asyncio import client, config

    await config.load_kube_config()
    async with client.ApiClient() as api:
        yield api
        await api.rest_client.pool_manager.connector.close(abort_ssl=True)


@pytest.fixture
async def namespace(api: Any) -> AsyncIterator[str]:
    """A namespace of the test's own, with its default account."""
    from kubernetes_asyncio import client, watch

    core = client.CoreV1Api(api)
    name = f"codeact-test-{secrets.token_hex(4)}"
    await core.create_namespace({"metadata": {"name": name, "labels": {"codeact-test": name}}})
    async with watch.Watch() as accounts:
        async for event in accounts.stream(core.list_namespaced_service_account, name, timeout_seconds=60):
            if event["object"].metadata.name == "default":
                break
    yield name
    await core.delete_namespace(name)


@pytest.fixture
async def custom_resources(api: Any) -> None:
    """Adds agent-sandbox's kinds of objects to the cluster, where they are not there."""
    from kubernetes_asyncio import client
    from kubernetes_asyncio.client.exceptions import ApiException

    extensions, objects = client.ApiextensionsV1Api(api), client.CustomObjectsApi(api)
    for crd in CRDS:
        try:
            await extensions.create_custom_resource_definition(crd)
        except ApiException as error:
            if error.status != 409:
                raise
    for crd in CRDS:
        while True:
            try:
                await objects.list_namespaced_custom_object(GROUP, VERSION, "default", crd["spec"]["names"]["plural"])
                break
            except ApiException as error:
                if error.status != 404:
                    raise


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens prepared backends, which are closed after the test."""
    from sandbox_pool.backends.kubernetes.backend import KubernetesBackend

    async with AsyncExitStack() as stack:

        async def open(spec: SandboxSpec = SPEC) -> KubernetesBackend:
            backend = KubernetesBackend(tmp_path)
            stack.push_async_callback(backend.close)
            await backend.prepare(spec, print)
            return backend

        yield open


def within(namespace: str, **options: Any) -> SandboxSpec:
    return replace(SPEC, pods=PodOptions(namespace=namespace, **options))


async def pods_in(api: Any, namespace: str) -> list[str]:
    """Names of the pods there that are not about to go."""
    from kubernetes_asyncio import client

    found = await client.CoreV1Api(api).list_namespaced_pod(namespace)
    return [pod.metadata.name for pod in found.items if pod.metadata.deletion_timestamp is None]


def with_user(path: Path, **user: Any) -> Path:
    """A copy of the KUBECONFIG with somebody else in it."""
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    config["users"] = [{"name": each["name"], "user": user} for each in config["users"]]
    path.write_text(yaml.safe_dump(config))
    return path

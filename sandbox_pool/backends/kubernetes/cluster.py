"""Speaks to a cluster's API: creates, deletes, lists, watches and enters pods of one namespace.

Pods are dicts, as the API's JSON has them. Every call has a deadline, and raises `SandboxError`s (errors.py).
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import yaml
from kubernetes_asyncio import client, config
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.stream import WsApiClient

from sandbox_pool.backends.kubernetes.errors import translated
from sandbox_pool.backends.kubernetes.manifest import CONTAINER
from sandbox_pool.errors import EngineUnavailable, SandboxError, SandboxStartFailed

__all__ = ["Cluster", "Expired"]

REQUEST_S = 30.0
WATCH_S = 300
"""After so long the API server ends a watch, and we begin the next."""
LINE_BYTES = 2_000_000
ANSWER_BYTES = 100_000
GONE = 410
STDOUT, FAILURE = 1, 3
"""Channels of an `exec` (subprotocol v4.channel.k8s.io)."""
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
RIGHTS = (("create", ""), ("list", ""), ("watch", ""), ("delete", ""), ("get", "exec"))
BAD_CONFIG = (ValueError, TypeError, KeyError, AttributeError, IndexError, yaml.YAMLError)
"""What the client raises for a KUBECONFIG that is none."""


class Expired(Exception):
    """The API server no longer knows what came after this resource version: list anew."""


class Cluster:
    """One namespace of a cluster. Make it with `connect`."""

    def __init__(self, configuration: client.Configuration, namespace: str) -> None:
        self.namespace = namespace
        self.address = str(configuration.host)
        self._client = client.ApiClient(configuration)
        self._pods = client.CoreV1Api(self._client)
        self._sockets = WsApiClient(configuration)

    @classmethod
    async def connect(cls, namespace: str | None) -> "Cluster":
        """By KUBECONFIG where it is set, else by the account of the pod that we run in, else by ~/.kube/config.

        `namespace` None: that of the KUBECONFIG's context, or of our pod. Raises `EngineUnavailable`.
        """
        configuration = client.Configuration()
        named = os.environ.get("KUBECONFIG")
        with translated(EngineUnavailable):
            try:
                if not named and (ACCOUNT / "token").exists():
                    config.load_incluster_config(configuration)
                    home = (ACCOUNT / "namespace").read_text().strip()
                else:
                    loader = await config.load_kube_config(named, client_configuration=configuration)
                    home = loader.current_context["context"].get("namespace") or "default"
            except BAD_CONFIG as error:
                raise EngineUnavailable(
                    f"The KUBECONFIG {named or '~/.kube/config'} cannot be read: {error!r}. Try: kubectl get pods."
                ) from error
            return cls(configuration, namespace or home)

    async def missing_rights(self) -> list[str]:
        """What we need and may not do here; empty where the cluster does not answer such questions."""
        reviews = client.AuthorizationV1Api(self._client)
        missing = []
        for verb, subresource in RIGHTS:
            attributes = {"namespace": self.namespace, "verb": verb, "resource": "pods", "subresource": subresource}
            review = {"spec": {"resourceAttributes": attributes}}
            with translated(SandboxError):
                try:
                    answer = await reviews.create_self_subject_access_review(review, _request_timeout=REQUEST_S)
                except ApiException as error:
                    if error.status == 403:
                        return []
                    raise
            if not answer.status.allowed:
                missing.append(f"{verb} pods{'/' + subresource if subresource else ''}")
        return missing

    async def create(self, pod: dict[str, Any], *, sandbox_id: str) -> None:
        """Cancelled, it waits until the cluster has answered: what it made is there to be deleted."""
        making = asyncio.create_task(
            self._pods.create_namespaced_pod(self.namespace, pod, _preload_content=False, _request_timeout=REQUEST_S)
        )
        try:
            response = await asyncio.shield(making)
        except asyncio.CancelledError:
            await asyncio.wait({making}, timeout=REQUEST_S)
            raise
        except Exception:
            with translated(SandboxStartFailed, sandbox_id=sandbox_id):
                raise
        with translated(SandboxStartFailed, sandbox_id=sandbox_id):
            await _checked(response)

    async def delete(self, name: str, *, grace_s: int) -> None:
        """Idempotent. With a grace of 0 the pod's object is gone at once, whether or not its processes are."""
        with translated(SandboxError):
            response = await self._pods.delete_namespaced_pod(
                name,
                self.namespace,
                grace_period_seconds=grace_s,
                _preload_content=False,
                _request_timeout=REQUEST_S,
            )
            try:
                await _checked(response)
            except ApiException as error:
                if error.status != 404:
                    raise

    async def list(self, selector: str) -> tuple[list[dict[str, Any]], str]:
        """The pods with these labels, and the resource version of the list."""
        with translated(SandboxError):
            response = await self._pods.list_namespaced_pod(
                self.namespace, label_selector=selector, _preload_content=False, _request_timeout=REQUEST_S
            )
            found = json.loads(await _checked(response))
        return found["items"], found["metadata"]["resourceVersion"]

    async def watch(self, selector: str, resource_version: str) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """What happens to the pods with these labels: ADDED, MODIFIED or DELETED, and the pod; BOOKMARK.

        Ends now and then. Raises `Expired`.
        """
        with translated(SandboxError):
            response = await self._pods.list_namespaced_pod(
                self.namespace,
                label_selector=selector,
                resource_version=resource_version,
                watch=True,
                allow_watch_bookmarks=True,
                timeout_seconds=WATCH_S,
                _preload_content=False,
                _request_timeout=WATCH_S + REQUEST_S,
            )
            try:
                if response.status == GONE:
                    raise Expired
                if response.status != 200:
                    await _checked(response)
                line = b""
                async for piece in response.content.iter_any():
                    *lines, line = (line + piece).split(b"\n")
                    if len(line) > LINE_BYTES:
                        raise EngineUnavailable("The cluster's API sent an event without an end.")
                    for each in lines:
                        event = json.loads(each)
                        if event["type"] == "ERROR":
                            raise Expired
                        yield event["type"], event["object"]
            finally:
                response.close()

    async def exec(self, name: str, command: Sequence[str], *, sandbox_id: str) -> bytes:
        """What a command writes to stdout in a pod's container. Raises `SandboxStartFailed`."""
        api = client.CoreV1Api(self._sockets)
        answer = b""
        with translated(SandboxStartFailed, sandbox_id=sandbox_id):
            connecting = await api.connect_get_namespaced_pod_exec(
                name,
                self.namespace,
                container=CONTAINER,
                command=list(command),
                stdout=True,
                stderr=True,
                stdin=False,
                tty=False,
                _preload_content=False,
            )
            async with connecting as socket:
                async for message in socket:
                    data = message.data if isinstance(message.data, bytes) else str(message.data).encode()
                    if data[:1] == bytes([STDOUT]):
                        answer += data[1:]
                    elif data[:1] == bytes([FAILURE]):
                        break
                    if len(answer) > ANSWER_BYTES:
                        raise SandboxStartFailed("The sandbox said too much.", sandbox_id=sandbox_id)
        return answer

    async def close(self) -> None:
        for each in (self._sockets, self._client):
            if (connections := each.rest_client.pool_manager.connector) is not None:
                # Else they are still open when the client says that they are closed.
                await connections.close(abort_ssl=True)
            await each.close()


async def _checked(response: Any) -> bytes:
    """The body of a good answer. Raises `ApiException` for another."""
    try:
        body: bytes = await response.read()
    finally:
        response.release()
    if not 200 <= response.status <= 299:
        raise ApiException(http_resp=_Answer(response.status, response.reason, body, response.headers))
    return body


class _Answer:
    """As the client wants a response whose content it has not read itself."""

    def __init__(self, status: int, reason: str, data: bytes, headers: Any) -> None:
        self.status, self.reason, self.data, self._headers = status, reason, data, headers

    def getheaders(self) -> Any:
        return self._headers

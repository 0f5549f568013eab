"""Connects to one namespace of a cluster: its objects, the rights of our account there, and commands in its pods.

Every call has a deadline, and raises `SandboxError`s (errors.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kubernetes_asyncio import client
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.stream import WsApiClient

from sandbox_pool.backends.kubernetes.answers import bounded
from sandbox_pool.backends.kubernetes.errors import translated
from sandbox_pool.backends.kubernetes.kubeconfig import configured
from sandbox_pool.backends.kubernetes.manifest import CONTAINER
from sandbox_pool.backends.kubernetes.resource import NOT_KUBERNETES, Resource
from sandbox_pool.errors import EngineUnavailable, SandboxStartFailed

__all__ = ["Cluster", "Right"]

ANSWER_BYTES = 100_000
STDOUT, FAILURE = 1, 3
"""Channels of an `exec` (subprotocol v4.channel.k8s.io)."""


@dataclass(frozen=True, slots=True)
class Right:
    """What an account may be allowed to do: a verb, and a resource such as `pods` or `pods/exec` of an API group."""

    verb: str
    resource: str
    group: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' if self.group else ''}{self.group}"


class Cluster:
    """One namespace of a cluster. Make it with `connect`."""

    def __init__(self, configuration: client.Configuration, namespace: str) -> None:
        self.namespace = namespace
        self.address = str(configuration.host)
        self._client = client.ApiClient(configuration)
        self.pods = self._resource("api/v1", "pods")
        self._sockets = WsApiClient(configuration)

    @classmethod
    async def connect(cls, namespace: str | None) -> "Cluster":
        """Finds the cluster as `kubeconfig.configured` describes. Raises `EngineUnavailable`."""
        configuration, chosen = await configured(namespace)
        with translated(EngineUnavailable):
            try:
                return cls(configuration, chosen)
            except OSError as error:  # The TLS library reads the certificates.
                raise EngineUnavailable(
                    f"A certificate or key of the KUBECONFIG cannot be used: {bounded(str(error))}. Fetch a new one."
                ) from error

    def objects(self, group: str, version: str, plural: str) -> Resource:
        """Returns the namespace's objects of a kind that a CustomResourceDefinition adds."""
        return self._resource(f"apis/{group}/{version}", plural)

    def _resource(self, group: str, plural: str) -> Resource:
        return Resource(self._client, f"/{group}/namespaces/{self.namespace}/{plural}")

    async def missing_rights(self, wanted: Iterable[Right]) -> list[Right]:
        """Returns those that our account lacks in the namespace. Empty if we may not ask."""
        reviews = Resource(self._client, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        missing = []
        for right in wanted:
            resource, _, subresource = right.resource.partition("/")
            attributes = {"namespace": self.namespace, "verb": right.verb, "group": right.group}
            attributes |= {"resource": resource, "subresource": subresource}
            try:
                answer = await reviews.create({"spec": {"resourceAttributes": attributes}})
                allowed = answer["status"]["allowed"]
            except SandboxStartFailed as error:
                raise EngineUnavailable(f"{error.message} {NOT_KUBERNETES}") from error
            except EngineUnavailable as error:
                if isinstance(error.__cause__, ApiException) and error.__cause__.status == 403:
                    return []
                raise
            except (KeyError, TypeError):
                raise EngineUnavailable(NOT_KUBERNETES) from None
            if not allowed:
                missing.append(right)
        return missing

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

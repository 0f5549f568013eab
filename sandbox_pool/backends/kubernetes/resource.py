"""Creates, reads, patches, deletes, lists and watches the objects of one kind in one namespace of a cluster.

Objects are dicts, as the API's JSON has them. Every call has a deadline, and raises `SandboxError`s (errors.py).
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.client.exceptions import ApiException

from sandbox_pool.backends.kubernetes.errors import translated
from sandbox_pool.errors import EngineUnavailable, SandboxError, SandboxStartFailed

__all__ = ["NOT_KUBERNETES", "Expired", "Resource"]

REQUEST_S = 30.0
WATCH_S = 300
"""After so long the API server ends a watch, and we begin the next."""
LINE_BYTES = 2_000_000
BODY_BYTES = 64_000_000
"""More than the list of all sandboxes of a large cluster has."""
GONE, NOT_FOUND = 410, 404
NOT_KUBERNETES = (
    "What answers at the address in the KUBECONFIG is not the API of a Kubernetes cluster. Correct `server` there, and"
    " try: kubectl cluster-info."
)
MERGE_PATCH = "application/merge-patch+json"


class Expired(Exception):
    """The API server no longer knows what came after this resource version: list anew."""


class Resource:
    """The objects of one kind. `path` is where the API has them, such as `/api/v1/namespaces/default/pods`."""

    def __init__(self, api: ApiClient, path: str) -> None:
        self._api = api
        self._path = path

    async def create(self, described: Mapping[str, Any], *, sandbox_id: str | None = None) -> dict[str, Any]:
        """Creates an object, and returns it. Raises `SandboxStartFailed` if the cluster refuses it for unclear reasons.

        If it is cancelled, it still waits until the cluster has answered, so that the caller can delete the object.
        """
        making = asyncio.create_task(self._call("POST", self._path, body=described))
        try:
            response = await asyncio.shield(making)
        except asyncio.CancelledError:
            await asyncio.wait({making}, timeout=REQUEST_S)
            if making.done() and not making.cancelled() and making.exception() is None:
                making.result().release()
            raise
        except Exception:
            with translated(SandboxStartFailed, sandbox_id=sandbox_id):
                raise
        with translated(SandboxStartFailed, sandbox_id=sandbox_id):
            return await _read(response)

    async def get(self, name: str) -> dict[str, Any] | None:
        """Returns one object; None if there is none of this name, or none of this kind."""
        with translated(SandboxError):
            try:
                return await _read(await self._call("GET", f"{self._path}/{name}"))
            except ApiException as error:
                if error.status == NOT_FOUND:
                    return None
                raise

    async def merge(self, name: str, patch: Mapping[str, Any]) -> bool:
        """Applies a merge patch (RFC 7386), without a resource version. Returns False if the object is gone."""
        with translated(SandboxError):
            try:
                await _checked(await self._call("PATCH", f"{self._path}/{name}", body=patch, content_type=MERGE_PATCH))
            except ApiException as error:
                if error.status == NOT_FOUND:
                    return False
                raise
        return True

    async def delete(self, name: str, *, grace_s: int | None = None) -> None:
        """Deletes an object. Idempotent. With a grace of 0, a pod's object is gone before its processes are."""
        query = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        with translated(SandboxError):
            try:
                await _checked(await self._call("DELETE", f"{self._path}/{name}", query=query))
            except ApiException as error:
                if error.status != NOT_FOUND:
                    raise

    async def list(self, selector: str) -> tuple[list[dict[str, Any]], str]:
        """Returns the objects with these labels, and the resource version of the list."""
        with translated(SandboxError):
            response = await self._call("GET", self._path, query={"labelSelector": selector})
            found = await _read(response)
            try:
                return list(found["items"]), str(found["metadata"]["resourceVersion"])
            except (KeyError, TypeError):
                raise EngineUnavailable(NOT_KUBERNETES) from None

    async def watch(self, selector: str, resource_version: str) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """Yields the changes of the objects with these labels: ADDED, MODIFIED, DELETED or BOOKMARK, and the object.

        The API server ends it now and then. Raises `Expired`.
        """
        query = {
            "labelSelector": selector,
            "resourceVersion": resource_version,
            "watch": True,
            "allowWatchBookmarks": True,
            "timeoutSeconds": WATCH_S,
        }
        with translated(SandboxError):
            response = await self._call("GET", self._path, query=query, timeout_s=WATCH_S + REQUEST_S)
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

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout_s: float = REQUEST_S,
    ) -> Any:
        return await self._api.call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=timeout_s,
        )


async def _read(response: Any) -> dict[str, Any]:
    """Returns the object of a good answer. Raises `ApiException` for another, `EngineUnavailable` for no object."""
    try:
        found = json.loads(await _checked(response))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise EngineUnavailable(NOT_KUBERNETES)
    return found


async def _checked(response: Any) -> bytes:
    """Returns the body of a good answer. Raises `ApiException` for another."""
    pieces, size = [], 0
    try:
        async for piece in response.content.iter_any():
            pieces.append(piece)
            if (size := size + len(piece)) > BODY_BYTES:
                response.close()
                raise EngineUnavailable(f"The cluster's API sent an answer of more than {BODY_BYTES:,} bytes.")
    finally:
        response.release()
    body = b"".join(pieces)
    if not 200 <= response.status <= 299:
        error = ApiException(status=response.status, reason=response.reason)
        error.body, error.headers = body, response.headers
        raise error
    return body

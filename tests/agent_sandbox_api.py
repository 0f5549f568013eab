"""A stand-in for a Kubernetes API server with agent-sandbox, in this process: it checks each claim against the schemas.

It serves what codeact asks for: pods, claims and warm pools of one namespace, their watches, and reviews of rights. A
test decides what becomes of a claim by `behave`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.agent_sandbox_schemas import faults

__all__ = ["Api", "condition", "serving"]

Object = dict[str, Any]
CLAIMS = "/apis/extensions.agents.x-k8s.io/v1beta1/namespaces/agents/sandboxclaims"
POOLS = "/apis/extensions.agents.x-k8s.io/v1beta1/namespaces/agents/sandboxwarmpools"
PODS = "/api/v1/namespaces/agents/pods"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def condition(kind: str, status: str, reason: str, message: str = "") -> Object:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


class Api:
    """The state of the API server. `denied` has the rights that the account lacks, as `VERB RESOURCE`."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Object]] = {CLAIMS: {}, POOLS: {}, PODS: {}}
        self.denied: set[str] = set()
        self.page: str | None = None
        """What it answers to everything, if it is no API server."""
        self.patches: list[Object] = []
        self.requests: list[tuple[str, str]] = []
        self.behave: Callable[[Object], None] = lambda claim: None
        self._version = 100
        self._changed = asyncio.Event()
        self._is_closed = False
        self._history: list[tuple[int, str, str, Object]] = []

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits until the condition holds; looks after each change of an object."""
        while not condition():
            await self._changed.wait()

    def close(self) -> None:
        """Ends all watches."""
        self._is_closed = True
        self._changed.set()

    def put(self, kind: str, described: Object) -> None:
        """Creates or replaces an object, and tells those who watch."""
        self._version += 1
        described["metadata"]["resourceVersion"] = str(self._version)
        event = "MODIFIED" if described["metadata"]["name"] in self.objects[kind] else "ADDED"
        self.objects[kind][described["metadata"]["name"]] = described
        self._tell(event, kind, described)

    def remove(self, kind: str, name: str) -> Object | None:
        found = self.objects[kind].pop(name, None)
        if found is not None:
            self._version += 1
            self._tell("DELETED", kind, found)
        return found

    def report(self, claim: Object, *conditions: Object, pod: str | None = None) -> None:
        """Sets a claim's status, as the controller does."""
        claim["status"] = {"conditions": list(conditions)}
        if pod is not None:
            claim["status"]["sandbox"] = {"name": pod, "podIPs": ["192.0.2.7"]}
        self.put(CLAIMS, claim)

    def _tell(self, event: str, kind: str, described: Object) -> None:
        self._history.append((self._version, event, kind, json.loads(json.dumps(described))))
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        kind = next((kind for kind in self.objects if request.path.startswith(kind)), None)
        name = request.path.removeprefix(f"{kind}/") if kind and request.path != kind else None
        self.requests.append((request.method, request.path))
        if self.page is not None:
            return web.Response(text=self.page)
        if request.path == REVIEWS:
            asked = (await request.json())["spec"]["resourceAttributes"]
            right = f"{asked['verb']} {asked['resource']}"
            return web.json_response({"status": {"allowed": right not in self.denied}}, status=201)
        if kind is None:
            return _status(404, "the server could not find the requested resource")
        if request.method == "POST":
            return self._create(kind, await request.json())
        if name is None:
            return await self._list(kind, request)
        if name not in self.objects[kind]:
            return _status(404, f'"{name}" not found')
        if request.method == "DELETE":
            return web.json_response(self.remove(kind, name))
        if request.method == "PATCH":
            return self._patch(self.objects[kind][name], request, await request.json())
        return web.json_response(self.objects[kind][name])

    def _create(self, kind: str, described: Object) -> web.Response:
        if wrong := faults(described):
            return _status(422, f"{described['kind']} is invalid: {wrong}")
        if described["metadata"]["name"] in self.objects[kind]:
            return _status(409, "already exists")
        self.put(kind, described)
        self.behave(described)
        return web.json_response(described, status=201)

    def _patch(self, found: Object, request: web.Request, patch: Object) -> web.Response:
        if request.content_type != "application/merge-patch+json" or "resourceVersion" in patch.get("metadata", {}):
            return _status(415, "a merge patch without a resource version is expected")
        self.patches.append(patch)
        found["spec"]["lifecycle"] |= patch["spec"]["lifecycle"]
        if wrong := faults(found):
            return _status(422, f"invalid: {wrong}")
        self.put(CLAIMS, found)
        return web.json_response(found)

    async def _list(self, kind: str, request: web.Request) -> web.StreamResponse:
        selector = request.query.get("labelSelector", "")
        if "watch" not in request.query:
            items = [each for each in self.objects[kind].values() if _matches(each, selector)]
            return web.json_response({"items": items, "metadata": {"resourceVersion": str(self._version)}})
        response = web.StreamResponse()
        await response.prepare(request)
        seen = int(request.query["resourceVersion"])
        while not self._is_closed:
            changed = self._changed
            for version, event, of, described in [each for each in self._history if each[0] > seen]:
                seen = version
                if of == kind and _matches(described, selector):
                    await response.write(json.dumps({"type": event, "object": described}).encode() + b"\n")
            await changed.wait()
        return response


def _matches(described: Object, selector: str) -> bool:
    labels = described["metadata"].get("labels", {})
    for term in filter(None, selector.split(",")):
        if "!=" in term:
            name, value = term.split("!=")
            if labels.get(name) == value:
                return False
        elif "=" in term:
            name, value = term.split("=")
            if labels.get(name) != value:
                return False
        elif term not in labels:
            return False
    return True


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


@asynccontextmanager
async def serving(kubeconfig: Path) -> AsyncIterator[Api]:
    """Serves the API on a free port of loopback, and writes a KUBECONFIG that leads there."""
    api = Api()
    runner = web.ServerRunner(web.Server(api.answer), shutdown_timeout=30)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    described = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": f"http://{host}:{port}"}}],
        "users": [{"name": "here", "user": {"token": "x"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here", "namespace": "agents"}}],
    }
    await asyncio.to_thread(kubeconfig.write_text, yaml.safe_dump(described))
    try:
        yield api
    finally:
        api.close()
        await runner.cleanup()

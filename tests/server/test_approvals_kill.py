"""A server is killed while something waits for approval; the decision comes to the next server."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.processes import ServerProcess, serving

pytestmark = pytest.mark.xdist_group("kill")

QUESTION = "What is the 100th Fibonacci number?"


def post(server: ServerProcess, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/responses", json=body, trust_env=False, timeout=60)


def items(response: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item for item in response["output"] if item["type"] == kind]


def test_what_waits_survives_the_death_of_its_server_and_goes_on_at_the_next(tmp_path: Path) -> None:
    with serving(tmp_path, approval="code") as server:
        first = post(server, {"input": QUESTION}).raise_for_status().json()
        (request,) = items(first, "codeact:approval_request")
        decision = {"type": "codeact:approval_response", "approval_request_id": request["id"], "approve": True}
        server.kill()
    with serving(tmp_path, approval="code") as server:
        (waiting,) = server.get("/v1/approvals").json()["data"]
        assert (waiting["id"], waiting["response_id"]) == (request["id"], first["id"])
        second = post(server, {"previous_response_id": waiting["response_id"], "input": [decision]})
        answer = second.raise_for_status().json()
        (block,) = items(answer, "code_interpreter_call")
        assert "354224848179261915075" in "".join(output["logs"] for output in block["outputs"])
        assert answer["status"] == "completed"
        server.kill()
    with serving(tmp_path, approval="code") as server:
        again = post(server, {"previous_response_id": first["id"], "input": [decision]})
        assert (again.status_code, again.json()["error"]["code"]) == (409, "approval_decided")
        assert server.get("/v1/approvals").json()["data"] == []
        assert server.get(f"/v1/approvals/{request['id']}").json()["decision_id"] == answer["id"]

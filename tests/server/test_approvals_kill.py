"""A server is killed while something waits for approval; the decision comes to the next server."""

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.model_server import ModelServer
from tests.needs import only_long
from tests.server.processes import ServerProcess, serving
from tests.server.test_approvals import MCP_SERVER
from tests.server.test_faults import scripted
from tests.server.test_functions import run_code

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


@pytest.mark.long
@only_long
def test_a_call_that_waits_survives_the_death_of_its_server_and_is_made_once(
    tmp_path: Path, model_server: ModelServer
) -> None:
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"sums": {"command": sys.executable, "args": [str(MCP_SERVER)]}}}))
    settings = scripted(model_server) | {"checkpoint": True, "mcp_config": config, "approval": "calls"}

    def asked(server: ServerProcess) -> dict[str, Any]:
        """An answer whose code waits in a call. The functions are there a little later than the server."""
        while True:
            model_server.reset()
            run_code(model_server, "n = 40\nprint(sums.add(a=n, b=2)['result'], n)")
            answer: dict[str, Any] = post(server, {"input": "go"}).raise_for_status().json()
            if items(answer, "mcp_approval_request"):
                return answer

    with serving(tmp_path, **settings) as server:
        first = asked(server)
        (request,) = items(first, "mcp_approval_request")
        server.kill()
    decision = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
    answer = {"previous_response_id": first["id"], "input": [decision]}
    with serving(tmp_path, **settings) as server:
        (waiting,) = server.get("/v1/approvals").json()["data"]
        assert (waiting["id"], waiting["kind"]) == (request["id"], "call")
        asked(server)
        second = post(server, answer).raise_for_status().json()
        assert [item["output"] for item in items(second, "mcp_call")] == ['{"result": 42}']
        assert "42 40" in str(items(second, "code_interpreter_call")[0]["outputs"])
        server.kill()
    with serving(tmp_path, **settings) as server:
        again = post(server, answer)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "approval_decided")

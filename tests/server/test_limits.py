"""Each limit of a sandbox, from the code that exceeds it to the user and the model, who see its name."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.asking import frame
from tests.model_server import ModelServer
from tests.server.conftest import Running, hurry
from tests.server.test_approvals import until

CODE = {
    "execution_timeout_s": "import time\ntime.sleep(600)",
    "memory_mb": "blocks = []\nwhile True: blocks.append(b'x' * 10_000_000)",
    "output_bytes": "for _ in range(1_000): print('x' * 99)",
    "pids": "import subprocess\nchildren = [subprocess.Popen(['sleep', '60']) for _ in range(100)]",
    "shm_mb": "open('/dev/shm/large', 'wb').write(bytes(20_000_000))",
    "tmp_mb": "open('/tmp/large', 'wb').write(bytes(20_000_000))",
    # In a hidden directory: files that the answer would keep are read one by one, which takes long.
    "workspace_inodes": "import os\nos.mkdir('.many')\nfor n in range(5_000): open(f'.many/{n}', 'w').close()",
    "workspace_mb": "open('large', 'wb').write(bytes(20_000_000))",
}


@pytest.fixture(scope="module")
def limited(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    return make_server(
        model="openai/scripted",
        model_api_base=model_server.base_url,
        model_api_key="test",
        execution_timeout_s=90,
        memory_mb=256,
        output_bytes=10_000,
        pids=60,
        shm_mb=8,
        tmp_mb=8,
        workspace_inodes=1_000,
        workspace_mb=8,
    )


def answer(server: Running, limit: str) -> dict[str, Any]:
    with connect(server.ws_url, max_size=None) as socket:
        socket.send(frame({"type": "response.create", "input": "go"}))
        event: dict[str, Any] = {}
        waits = limit == "execution_timeout_s"
        while event.get("type") != "response.completed":
            event = json.loads(socket.recv(timeout=60))
            if waits and event["type"] == "response.code_interpreter_call.interpreting":
                until(lambda: hurry(server) > 0)
                waits = False
    response: dict[str, Any] = event["response"]
    return response


@pytest.mark.parametrize("limit", CODE)
def test_each_limit_is_named_to_user_and_model(limited: Running, model_server: ModelServer, limit: str) -> None:
    missing = httpx.get(f"{limited.url}/v1/status", trust_env=False).json()["sandbox"]["missing"]
    if reason := next((sentence for sentence in missing if limit in sentence), None):
        pytest.skip(reason)
    model_server.reset()
    model_server.reply(f"<execute>\n{CODE[limit]}\n</execute>\n")
    model_server.reply("<execute>\nprint('goes on')\n</execute>\n")
    model_server.reply("Done.")
    response = answer(limited, limit)
    first, second = [item for item in response["output"] if item["type"] == "code_interpreter_call"]
    assert first["codeact:result"]["limit"] == limit
    assert [limit in notice["message"] for notice in response["codeact:notices"]] == [True]
    observation = model_server.requests[1].messages[-1]["content"]
    assert f"Limit reached: {limit}\n" in observation
    # The conversation goes on; only memory costs the kernel its life.
    assert second["outputs"] == [{"type": "logs", "logs": "goes on\n"}]
    assert (first["container_id"] == second["container_id"]) == (limit != "memory_mb")

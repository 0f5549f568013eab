"""A server is killed while code waits for a client's function; the value comes to the next server."""

import random
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response

from tests.model_server import ModelServer
from tests.needs import LONG
from tests.server.processes import ServerProcess, serving
from tests.server.test_faults import scripted
from tests.server.test_functions import SHOWS_CODE, WEATHER, calls, logs, output, run_code

pytestmark = pytest.mark.xdist_group("kill")

ROUNDS = 20 if LONG else 1
CODE = "n += 1\nprint('asking', n)\none = get_weather('Bern')\nprint(one)\nprint(get_weather('Basel'), n)"


def connected(server: ServerProcess) -> openai.OpenAI:
    server.get("/readyz")
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=60, max_retries=0)


def ask(client: openai.OpenAI, **more: Any) -> Response:
    return client.responses.create(
        model="codeact", **{"input": "go", "tools": [WEATHER], "include": SHOWS_CODE, **more}
    )


def notices(response: Response) -> list[str]:
    return [each["code"] for each in response.model_extra["codeact:notices"]]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_code_that_waits_survives_the_death_of_its_server_also_while_it_is_restored(
    tmp_path: Path, model_server: ModelServer, seed: int
) -> None:
    model_server.reset()
    moment = random.Random(seed).uniform(0.05, 0.8)
    settings = scripted(model_server) | {"checkpoint": True}
    with serving(tmp_path, **settings) as server, connected(server) as client:
        run_code(model_server, "n = 1")
        before = ask(client)
        assert before.conversation is not None
        while not server.get(f"/v1/conversations/{before.conversation.id}/checkpoints").json()["data"]:
            pass
        model_server.reset()
        run_code(model_server, CODE, "It is fine.")
        first = ask(client, previous_response_id=before.id)
        assert logs(first) == "asking 2\n"
        server.kill()
    with serving(tmp_path, **settings) as server, connected(server) as client:
        (listed,) = server.get("/v1/approvals").json()["data"]
        assert (listed["response_id"], listed["call_id"]) == (first.id, calls(first)[0].call_id)
        second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "cold")])
        assert (logs(second), notices(second)) == ("cold\n", ["kernel_restored"])
        server.kill()
    value = [output(calls(second)[0], "warm")]
    with serving(tmp_path, **settings) as server:
        server.get("/readyz")
        # It is killed again, while it restores, or a little later.
        with httpx.Client(base_url=server.url, trust_env=False, timeout=moment) as http:
            try:
                body = {"previous_response_id": second.id, "input": value, "tools": [WEATHER]}
                http.post("/v1/responses", json=body)
            except httpx.TimeoutException:
                pass
        server.kill()
    with serving(tmp_path, **settings) as server, connected(server) as client:
        model_server.reset()
        model_server.reply("It is fine.")
        third = ask(client, previous_response_id=second.id, input=value)
        assert third.output_text == "It is fine."
        assert server.get("/v1/approvals").json()["data"] == []
        if "code_not_repeated" in notices(third):  # It had begun to go on when the server died.
            assert logs(third) == ""
            assert "it has gone on already" in str(third.model_extra)
        else:
            assert (logs(third), notices(third)) == ("warm 2\n", ["kernel_restored"])
            assert "asking 2\ncold\nwarm 2" in model_server.requests[-1].messages[-1]["content"]

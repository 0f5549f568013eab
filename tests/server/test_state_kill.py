"""A server, or its database, that is killed while it stores or restores the state of a kernel."""

import os
import random
import signal
from pathlib import Path

import httpx
import pytest

from tests.model_server import ModelServer
from tests.needs import LONG, only_long
from tests.server.processes import ServerProcess, mongod_of, serving
from tests.server.test_faults import scripted
from tests.server.test_state import calls, notices, printed

pytestmark = pytest.mark.xdist_group("kill")

ROUNDS = 20 if LONG else 2
LONGEST_S = 0.4
"""Taking and storing a checkpoint of a few megabytes takes about so long."""


def asked(server: ServerProcess, model_server: ModelServer, code: str, **more: object) -> dict[str, object]:
    model_server.reset()
    model_server.reply(f"<execute>\n{code}\n</execute>\n")
    model_server.reply("Done.")
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        answer = client.post("/v1/responses", json={"input": "go", **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def kill_database(server: ServerProcess, data_dir: Path, conversation_id: str) -> None:
    """Kills the database, and waits until it has started again."""
    os.kill(mongod_of(data_dir).pid, signal.SIGKILL)
    while server.get(f"/v1/conversations/{conversation_id}/checkpoints").status_code != 200:
        pass


@pytest.mark.parametrize("killed", ["server", pytest.param("database", marks=only_long)])
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_the_last_complete_checkpoint_comes_back_and_nothing_half(
    tmp_path: Path, model_server: ModelServer, seed: int, killed: str
) -> None:
    moments = random.Random(seed)
    settings = scripted(model_server) | {"checkpoint": True}
    with serving(tmp_path, **settings) as server:
        server.get("/readyz")
        first = asked(server, model_server, "import os\nx, data, twice = 1, os.urandom(1_000_000), 2")
        name = first["conversation"]["id"]  # type: ignore[index]
        while not server.get(f"/v1/conversations/{name}/checkpoints").json()["data"]:
            pass
        second = asked(server, model_server, "x, twice, data = 2, 4, os.urandom(2_000_000)", conversation=name)
        server.process.join(moments.uniform(0, LONGEST_S))
        if killed == "database":
            kill_database(server, tmp_path, name)
        server.kill()
    look = "print(x, twice, len(data))"
    with serving(tmp_path, **settings) as server:
        server.get("/readyz")
        saved = [each["response_id"] for each in server.get(f"/v1/conversations/{name}/checkpoints").json()["data"]]
        # It is killed again, while it restores.
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            try:
                model_server.reply(f"<execute>\n{look}\n</execute>\n")
                client.post(
                    "/v1/responses", json={"input": "go", "conversation": name}, timeout=moments.uniform(0.05, 0.4)
                )
            except httpx.TimeoutException:
                pass
        server.kill()
    with serving(tmp_path, **settings) as server:
        server.get("/readyz")
        again = asked(server, model_server, look, previous_response_id=second["id"])
        assert notices(again) == ["kernel_restored"]
        if second["id"] in saved:
            assert printed(again) == "2 4 2000000\n"
        else:
            assert printed(again) == "1 2 1000000\n"
            assert "1 block of code ran after it was saved" in again["codeact:notices"][0]["message"]  # type: ignore[index]
        assert len(calls(again)) == 1

"""A server that passes questions on to another one, which is killed or stands still."""

import signal
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.asking import frame
from tests.model_server import Gate, ModelServer
from tests.server.processes import serving
from tests.server.test_faults import scripted
from tests.server.test_fencing import suspended
from tests.server.test_peers import SECRET, begun, post, printed, read

pytestmark = pytest.mark.xdist_group("kill")

PAUSE_S = 12.0
"""The lease of a server that is paused: what the test waits for, and what a busy machine must not let run out."""


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


def test_a_killed_servers_conversation_goes_on_elsewhere(tmp_path: Path, model_server: ModelServer) -> None:
    settings = scripted(model_server)
    with serving(tmp_path, secret=SECRET, **settings) as kept, serving(tmp_path, secret=SECRET, **settings) as killed:
        kept.until_ready()
        conversation = begun(killed, model_server)["conversation"]["id"]
        gate = Gate()
        model_server.reply("Long ", gate, "story.")
        with connect(kept.ws_url, max_size=None) as socket:
            socket.send(frame({"type": "response.create", "input": "tell", "conversation": conversation}))
            told = read(socket, "response.output_text.delta")
            killed.kill()
            told += read(socket)
        gate.open()
        assert told[-1]["response"]["error"]["code"] == "server_restarted"
        numbers = [event["sequence_number"] for event in told]
        assert numbers == sorted(set(numbers))
        model_server.reset()
        model_server.reply("<execute>\nprint('new')\n</execute>")
        model_server.reply("Done.")
        answer = post(kept, input="go on", conversation=conversation).json()
        assert (answer["status"], printed(answer)) == ("completed", "new\n")
        assert [notice["code"] for notice in answer["codeact:notices"]] == ["kernel_replaced"]


def test_a_question_to_a_suspended_server_is_answered_once(tmp_path: Path, model_server: ModelServer) -> None:
    settings = scripted(model_server) | {"lease_s": PAUSE_S}
    with serving(tmp_path, secret=SECRET, **settings) as kept, serving(tmp_path, secret=SECRET, **settings) as paused:
        kept.until_ready()
        conversation = begun(paused, model_server)["conversation"]["id"]
        suspended(paused, signal.SIGSTOP)
        try:
            model_server.reset()
            model_server.reply("Here.")
            at_once = post(kept, input="anybody?", conversation=conversation)
        finally:
            suspended(paused, signal.SIGCONT)
        assert at_once.status_code == 200, at_once.text
        answer = at_once.json()
        assert answer["output"][-1]["content"][0]["text"] == "Here."
        model_server.reply("Again.")
        # It may still be finding out that another server has begun what it was asked before.
        while (answered := post(paused, input="and you?", conversation=conversation)).status_code == 409:
            assert answered.json()["error"]["code"] == "conversation_locked"
        assert answered.status_code == 200, answered.text
        again = answered.json()
        assert again["output"][-1]["content"][0]["text"] == "Again."
        listed = kept.get(f"/v1/conversations/{conversation}/responses").json()["data"]
        assert [each["response"]["id"] for each in listed][-2:] == [answer["id"], again["id"]]
        assert len(listed) == 3

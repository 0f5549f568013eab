"""Several servers of one database: whichever a client asks, the server that holds the kernel answers."""

import http.client
import json
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from socket import create_connection
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from codeact.server.routes.peers import INTERNAL
from tests.asking import frame
from tests.model_server import Gate, ModelServer
from tests.server.processes import ServerProcess, serving
from tests.server.test_faults import scripted

pytestmark = pytest.mark.xdist_group("kill")

SECRET = "a secret that is for tests alone, and long"
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
Servers = tuple[ServerProcess, ServerProcess, ServerProcess]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, model_server: ModelServer) -> Iterator[Servers]:
    data_dir: Path = tmp_path_factory.mktemp("three")
    settings = scripted(model_server)
    with ExitStack() as stack:
        made = [stack.enter_context(serving(data_dir, secret=SECRET, **settings)) for _ in range(3)]
        for each in made:
            each.until_ready()
        yield made[0], made[1], made[2]


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


def read(socket: ClientConnection, *until: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in (*until, *ENDS):
        events.append(json.loads(socket.recv(timeout=60)))
    return events


def post(server: ServerProcess, path: str = "/v1/responses", **body: Any) -> httpx.Response:
    return httpx.post(server.url + path, json=body, trust_env=False, timeout=60)


def begun(server: ServerProcess, model_server: ModelServer, code: str = "x = 41") -> dict[str, Any]:
    model_server.reply(f"I set.\n<execute>\n{code}\n</execute>\n")
    model_server.reply("It is set.")
    answer: dict[str, Any] = post(server, input="set x").raise_for_status().json()
    assert answer["status"] == "completed", answer["error"]
    return answer


def printed(response: dict[str, Any]) -> str:
    (code,) = (item for item in response["output"] if item["type"] == "code_interpreter_call")
    return "".join(part["logs"] for part in code["outputs"])


def test_a_question_reaches_the_kernel_of_its_conversation_from_every_server(
    servers: Servers, model_server: ModelServer
) -> None:
    conversation = begun(servers[0], model_server)["conversation"]["id"]
    for server in servers[1:]:
        model_server.reply("<execute>\nx += 1\nprint(x)\n</execute>")
        model_server.reply("Done.")
        answer = post(server, input="add one", conversation=conversation).json()
        assert answer["codeact:notices"] == []
        assert answer["status"] == "completed"
    assert printed(answer) == "43\n"
    model_server.reply("<execute>\nprint(x)\n</execute>")
    model_server.reply("Done.")
    with connect(servers[1].ws_url, max_size=None) as socket:
        socket.send(frame({"type": "response.create", "input": "and now?", "conversation": conversation}))
        told = read(socket)
    assert printed(told[-1]["response"]) == "43\n"
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    stored = servers[2].get(f"/v1/responses/{told[-1]['response']['id']}").json()
    assert stored["output"] == told[-1]["response"]["output"]


def test_what_is_passed_on_is_steered_and_its_successor_follows(servers: Servers, model_server: ModelServer) -> None:
    conversation = begun(servers[0], model_server)["conversation"]["id"]
    gate = Gate()
    model_server.reply("Long ", gate, "story.\n<execute>\npass\n</execute>\n")
    model_server.reply("In French.")
    with connect(servers[1].ws_url, max_size=None) as socket:
        socket.send(frame({"type": "response.create", "input": "tell", "conversation": conversation}))
        told = read(socket, "response.output_text.delta")
        steer = {"type": "response.steer", "previous_response_id": told[0]["response"]["id"], "input": "in French"}
        socket.send(json.dumps(steer))
        told += read(socket, "response.steer.accepted")
        gate.open()
        told += read(socket)
        assert told[-1]["response"]["incomplete_details"] == {"reason": "steered"}
        told = read(socket)
        assert told[-1]["response"]["output"][-1]["content"][0]["text"] == "In French."


def files_of(server: ServerProcess, conversation: str) -> str:
    """The path of the files of the conversation's container."""
    listed = server.get("/v1/containers").json()["data"]
    (container,) = (each["id"] for each in listed if each["codeact:conversation_id"] == conversation)
    return f"/v1/containers/{container}/files"


def sent(url: str, data: bytes) -> httpx.Response:
    return httpx.post(url, files={"file": ("sent.bin", data)}, trust_env=False, timeout=60)


def answered(server: ServerProcess, method: str, path: str, headers: dict[str, bytes]) -> tuple[int, bytes]:
    """The answer to a request that is sent exactly so."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    with closing(connection):
        connection.putrequest(method, path)
        for name, value in {"Content-Length": b"0", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_a_container_is_used_at_every_server(servers: Servers, model_server: ModelServer) -> None:
    conversation = begun(servers[0], model_server)["conversation"]["id"]
    files = files_of(servers[1], conversation)
    container = files.split("/")[3]
    url = servers[1].url + files
    data = b"0123456789" * 200_000  # A part of it is in a temporary file while it is passed on.
    uploaded = sent(url, data).raise_for_status().json()
    model_server.reply("<execute>\nopen('made.txt', 'w').write(str(len(open('sent.bin').read())))\n</execute>")
    model_server.reply("Done.")
    post(servers[2], input="count", conversation=conversation).raise_for_status()
    listed = {
        file["path"].removeprefix("/mnt/data/"): file["id"]
        for file in servers[2].get(files).raise_for_status().json()["data"]
    }
    assert listed.keys() == {"sent.bin", "made.txt"}
    assert servers[1].get(f"{files}/{listed['made.txt']}/content").text == "2000000"
    gone = httpx.delete(f"{servers[2].url}{files}/{uploaded['id']}", trust_env=False, timeout=60)
    assert gone.json()["deleted"] is True
    copied = post(servers[1], files, file_id=listed["made.txt"])
    assert (copied.status_code, copied.json()["path"]) == (200, "/mnt/data/made.txt")
    assert post(servers[1], files, file_id="cfile_no").json()["error"]["message"] == "There is no file 'cfile_no'."
    assert httpx.delete(f"{servers[1].url}/v1/containers/{container}", trust_env=False, timeout=60).json()["deleted"]


def test_a_request_that_is_passed_on_is_answered_as_at_the_server_itself(
    servers: Servers, model_server: ModelServer
) -> None:
    files = files_of(servers[1], begun(servers[0], model_server)["conversation"]["id"])
    for query in ("", '?limit=5&name="<>"', f"?after={'x' * 12_000}", "?after=/./../"):
        for value in (b"*/*", b"\xe9\xff"):
            here, passed = (
                answered(server, "GET", files + query, {"Accept": value, "Content-Type": value})
                for server in servers[:2]
            )
            assert passed == here, query[:20]
            assert here[0] in (200, 400, 404)
    here, passed = (answered(server, "POST", files, {"Content-Type": b"text/\xe9"}) for server in servers[:2])
    assert passed == here
    assert here[0] == 415


def test_uploads_that_are_passed_on_are_counted(servers: Servers, model_server: ModelServer) -> None:
    files = files_of(servers[1], begun(servers[0], model_server)["conversation"]["id"])
    host, port = servers[1].url.removeprefix("http://").split(":")
    head = f"POST {files} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with ExitStack() as stack:
        uploads = [stack.enter_context(create_connection((host, int(port)), timeout=60)) for _ in range(5)]
        for upload in uploads:  # They do not end: the rest of their bodies is missing.
            upload.sendall(f"{head}Connection: close\r\nContent-Length: 1000000\r\n\r\n--x\r\n".encode())
        refused = select.select(uploads, [], [], 60)[0]
        assert len(refused) == 1, "no upload is refused while four others go on"
        with refused[0].makefile("rb") as answer:
            text = answer.read()
        assert text.startswith(b"HTTP/1.1 429 ")
        assert json.loads(text.rpartition(b"\r\n\r\n")[2])["error"]["code"] == "too_many_uploads"


def test_an_error_of_the_other_server_is_the_answer(servers: Servers, model_server: ModelServer) -> None:
    conversation = begun(servers[0], model_server)["conversation"]["id"]
    gate = Gate()
    model_server.reply("Long ", gate, "story.")
    with connect(servers[1].ws_url, max_size=None) as socket:
        socket.send(frame({"type": "response.create", "input": "tell", "conversation": conversation}))
        read(socket, "response.output_text.delta")
        refused = post(servers[2], input="more", conversation=conversation)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conversation_locked")
        gate.open()
        read(socket)


def chat(server: ServerProcess, *messages: str) -> str:
    roles = ("user", "assistant")
    said = [{"role": roles[index % 2], "content": text} for index, text in enumerate(messages)]
    answer = post(server, "/v1/chat/completions", messages=said).raise_for_status().json()
    return str(answer["choices"][0]["message"]["content"])


def test_a_chat_that_is_sent_back_to_another_server_keeps_its_kernel(
    servers: Servers, model_server: ModelServer
) -> None:
    for reply in ("<execute>\ny = 'kept'\n</execute>", "Set.", "<execute>\nprint(y)\n</execute>", "So."):
        model_server.reply(reply)
    first = chat(servers[0], "set y")
    assert "kept\n" in chat(servers[1], "set y", first, "what is y?").replace("y = 'kept'", "")


def test_a_history_known_by_its_words_keeps_its_kernel_at_another_server(
    servers: Servers, model_server: ModelServer
) -> None:
    begun(servers[0], model_server, "z = 'words'")
    model_server.reply("<execute>\nprint(z)\n</execute>")
    model_server.reply("So.")
    said = [{"role": "user", "content": "set x"}, {"role": "assistant", "content": "I set.\n\nIt is set."}]
    # Other conversations of this file have the same words; then nothing is known for certain.
    answer = post(servers[1], input=[*said, {"role": "user", "content": "what is z?"}]).json()
    assert [notice["code"] for notice in answer["codeact:notices"]] == ["history_unknown"]
    model_server.reply("<execute>\nz = 'words'\n</execute>")
    model_server.reply("Alone of its kind.")
    post(servers[0], input="only here").raise_for_status()
    model_server.reset()
    model_server.reply("<execute>\nprint(z)\n</execute>")
    model_server.reply("So.")
    said = [{"role": "user", "content": "only here"}, {"role": "assistant", "content": "Alone of its kind."}]
    answer = post(servers[1], input=[*said, {"role": "user", "content": "what is z?"}]).json()
    assert (printed(answer), answer["codeact:notices"]) == ("words\n", [])


def test_a_request_that_is_repeated_at_another_server_is_executed_once(
    servers: Servers, model_server: ModelServer
) -> None:
    model_server.reply("Once.")
    headers = {"Idempotency-Key": "one of several"}
    body = {"input": "hi"}
    first, again, other = (
        httpx.post(f"{server.url}/v1/responses", json=sent, headers=headers, trust_env=False, timeout=60)
        for server, sent in zip(servers, (body, body, {"input": "ho"}), strict=True)
    )
    assert again.json() == first.json()
    assert len(model_server.requests) == 1
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    made = [
        httpx.post(f"{server.url}/v1/conversations", json={}, headers=headers, trust_env=False, timeout=60).json()
        for server in servers
    ]
    assert made[0] == made[1] == made[2]


def test_an_owners_answers_at_once_are_limited_over_all_servers(tmp_path: Path, model_server: ModelServer) -> None:
    settings = scripted(model_server) | {"concurrent_responses": 1}
    with ExitStack() as stack:
        one, other = (stack.enter_context(serving(tmp_path, secret=SECRET, **settings)) for _ in range(2))
        gate = Gate()
        model_server.reply("Long ", gate, "story.")
        with connect(one.ws_url, max_size=None) as socket:
            socket.send(frame({"type": "response.create", "input": "tell"}))
            read(socket, "response.output_text.delta")
            refused = post(other, input="me too")
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "concurrent_responses_exceeded")
            gate.open()
            read(socket)
        model_server.reply("Now.")
        assert post(other, input="me too").json()["status"] == "completed"
        gate = Gate()
        model_server.reply("Long ", gate, "story.")
        with connect(one.ws_url, max_size=None) as socket:
            socket.send(frame({"type": "response.create", "input": "tell"}))
            read(socket, "response.output_text.delta")
            one.kill()
        gate.open()
        while (answer := post(other, input="and now?")).status_code == 429:  # Until the other one is known to be dead.
            assert answer.json()["error"]["code"] == "concurrent_responses_exceeded"


def test_an_owners_sandboxes_are_limited_over_all_servers(tmp_path: Path, model_server: ModelServer) -> None:
    settings = scripted(model_server) | {"sandboxes_per_owner": 1}
    with ExitStack() as stack:
        one, other = (stack.enter_context(serving(tmp_path, secret=SECRET, **settings)) for _ in range(2))
        for each in (one, other):
            each.until_ready()
        begun(one, model_server)
        begun(other, model_server)  # The idle sandbox at the first server was given up for it.
        while not (shown := one.get("/v1/pool").json())["others"]:
            time.sleep(0.1)  # A server looks for others every ten seconds here.
        assert [each["pool"]["leased"] for each in (shown, *shown["others"])] == [0, 1]
        assert other.get("/v1/pool").json()["server"] == shown["others"][0]["server"] != shown["server"]
        model_server.reply("<execute>\nprint('busy')\nimport time; time.sleep(1000)\n</execute>\n")
        with connect(one.ws_url, max_size=None) as socket:
            socket.send(frame({"type": "response.create", "input": "be busy"}))
            told = read(socket, "codeact:code_interpreter_call.output")
            response_id = told[0]["response"]["id"]
            (container,) = {event["item"]["container_id"] for event in told if "container_id" in event.get("item", ())}
            refused = post(other, input="me too")
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "sandbox_quota_exceeded")
            assert int(refused.headers["Retry-After"]) >= 1
            refused = post(other, "/v1/containers", name="mine")
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "sandbox_quota_exceeded")
            one.kill()
        begun(other, model_server)  # A dead server has no sandboxes.
        until = time.monotonic() + 60  # Without being told, pools look for them every two minutes.
        while list((tmp_path / "run").glob(f"*/{container}")):
            assert time.monotonic() < until, "the dead server's sandbox was not removed"
            time.sleep(0.1)
        assert other.get(f"/v1/responses/{response_id}").json()["status"] in ("failed", "in_progress")


def test_to_a_stranger_the_paths_of_servers_do_not_exist(servers: Servers) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        for header in ("", "x.y", "é.0"):
            headers = [(b"codeact-peer", header.encode("latin-1"))]
            answers = [
                httpx.request(method, servers[0].url + path, headers=headers, content=b"{}", trust_env=False)
                for path in (*INTERNAL, "/internal/v1/no")
            ]
            assert {answer.status_code for answer in answers} == {404}
            messages = [
                answer.json()["error"]["message"].replace(path.rpartition("/")[2], "no")
                for answer, path in zip(answers, (*INTERNAL, "/internal/v1/no"), strict=True)
            ]
            assert len(set(messages)) == 1

"""Each limit of an owner holds over three servers of one database, though none of them has passed it alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from codeact.store import OwnerLimits, open_store
from tests.asking import frame
from tests.model_server import Gate, ModelServer
from tests.server.conftest import in_thread, settings_of
from tests.server.processes import ServerProcess, serving
from tests.server.test_faults import scripted
from tests.server.test_peers import SECRET, Servers, read

OPEN_REQUESTS = 6


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


@pytest.fixture(scope="module")
def servers(directory: Path, model_server: ModelServer) -> Iterator[Servers]:
    settings = {**scripted(model_server), "require_keys": True, "open_requests_per_owner": OPEN_REQUESTS}
    settings["sandboxes_per_owner"] = 1
    with ExitStack() as stack:
        made = [stack.enter_context(serving(directory, secret=SECRET, **settings)) for _ in range(3)]
        for each in made:
            each.until_ready()
        yield made[0], made[1], made[2]


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


@pytest.fixture(scope="module")
def key_for(directory: Path) -> Callable[..., dict[str, str]]:
    """Makes the headers of an owner with these limits."""

    def make(owner: str, **limits: int) -> dict[str, str]:
        async def create() -> str:
            async with open_store(settings_of(directory)) as store:
                return (await store.access.create_key(owner=owner, name="", limits=OwnerLimits(**limits)))[1]

        return {"Authorization": f"Bearer {in_thread(anyio.run, create)}"}

    return make


def ask(server: ServerProcess, headers: dict[str, str], text: str = "Hello") -> httpx.Response:
    return httpx.post(f"{server.url}/v1/responses", json={"input": text}, headers=headers, trust_env=False, timeout=60)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def opened(stack: ExitStack, server: ServerProcess, headers: dict[str, str]) -> ClientConnection:
    return stack.enter_context(connect(server.ws_url, additional_headers=headers, max_size=None))


def test_responses_per_minute(
    servers: Servers, model_server: ModelServer, key_for: Callable[..., dict[str, str]]
) -> None:
    headers = key_for("minute", responses_per_minute=2)
    for _ in range(6):
        model_server.reply("Hello.")
    answers = [ask(server, headers) for server in (*servers, *servers)]
    refused = [code_of(answer) for answer in answers if answer.status_code != 200]
    assert len(refused) >= 2, "the clock may begin another minute, which allows two more"
    assert set(refused) == {(429, "rate_limit_exceeded")}


def test_tokens_per_day(servers: Servers, model_server: ModelServer, key_for: Callable[..., dict[str, str]]) -> None:
    headers = key_for("day", tokens_per_day=1)
    model_server.reply("Hello.")
    assert ask(servers[0], headers).json()["status"] == "completed"
    assert {code_of(ask(server, headers)) for server in servers} == {(429, "insufficient_quota")}


def test_stored_bytes(servers: Servers, model_server: ModelServer, key_for: Callable[..., dict[str, str]]) -> None:
    headers = key_for("bytes", stored_mb=1)
    for server in servers[:2]:
        model_server.reply("Long.")
        assert ask(server, headers, "x " * 300_000).json()["status"] == "completed"
    assert {code_of(ask(server, headers)) for server in servers} == {(413, "storage_quota_exceeded")}


def test_answers_at_once(servers: Servers, model_server: ModelServer, key_for: Callable[..., dict[str, str]]) -> None:
    headers, gate = key_for("many", concurrent_responses=2), Gate()
    with ExitStack() as stack:
        sockets = [opened(stack, server, headers) for server in servers[:2]]
        for socket in sockets:
            model_server.reply("Long ", gate, "story.")
            socket.send(frame({"type": "response.create", "input": "Tell."}))
            read(socket, "response.output_text.delta")
        assert {code_of(ask(server, headers)) for server in servers} == {(429, "concurrent_responses_exceeded")}
        gate.open()
        for socket in sockets:
            assert read(socket)[-1]["type"] == "response.completed"
        model_server.reply("Now.")
        assert ask(servers[2], headers).json()["status"] == "completed"


def test_sandboxes(servers: Servers, model_server: ModelServer, key_for: Callable[..., dict[str, str]]) -> None:
    headers = key_for("boxes")
    model_server.reply("<execute>\nprint('busy')\nimport time; time.sleep(1000)\n</execute>\n")
    with ExitStack() as stack:
        socket = opened(stack, servers[0], headers)
        socket.send(frame({"type": "response.create", "input": "Be busy."}))
        response_id = read(socket, "codeact:code_interpreter_call.output")[0]["response"]["id"]
        assert {code_of(ask(server, headers)) for server in servers} == {(429, "sandbox_quota_exceeded")}
        cancel = f"{servers[1].url}/v1/responses/{response_id}/cancel"
        assert httpx.post(cancel, headers=headers, trust_env=False, timeout=60).status_code == 200


def test_open_requests(servers: Servers, key_for: Callable[..., dict[str, str]]) -> None:
    headers, until = key_for("crowd"), time.monotonic() + 60
    with ExitStack() as stack:
        for server in servers:
            for _ in range(OPEN_REQUESTS // len(servers)):
                socket = opened(stack, server, headers)
                socket.ping().wait(30)
        for server in servers:  # Each server hears from the others about a second later.
            while (answer := server.get("/v1/models", headers=headers)).status_code == 200:
                assert time.monotonic() < until, "the others' sockets do not count"
                time.sleep(0.1)
            assert code_of(answer) == (429, "too_many_open_requests")
    while servers[0].get("/v1/models", headers=headers).status_code == 429:
        assert time.monotonic() < until
        time.sleep(0.1)

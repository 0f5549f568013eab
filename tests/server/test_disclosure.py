"""What a failing model's server tells us, and what clients, visitors of embeds and strangers see of it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from codeact.disclosure import PUBLIC_ERRORS
from tests.asking import frame
from tests.model_server import ModelServer
from tests.server.conftest import Running

SHOP = "https://shop.example"
KEY = "the-key-of-the-model"
LEAKS = (
    KEY,
    "10.1.2.3",
    "db.corp.internal",
    "user-of-the-base",
    "password-of-the-base",
    "127.0.0.1",
    "sk-live-1234567",
)
WORDS = (
    f"Incorrect API key provided: {KEY}. Upstream http://10.1.2.3:9000/v1 (db.corp.internal) refused sk-live-1234567."
    " See https://platform.openai.com/account/api-keys."
)


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running], model: ModelServer) -> Running:
    return make_server(
        model="openai/scripted",
        model_api_base=model.base_url,
        model_api_key=KEY,
        model_retries=0,
        api_keys="holder,other",
        embed_origins=SHOP,
        pool_min=0,
    )


@pytest.fixture(scope="module")
def unusable(make_server: Callable[..., Running]) -> Running:
    """A model whose server's URL has a user and a password, and which does not answer."""
    base = "http://user-of-the-base:password-of-the-base@127.0.0.1:9/v1"
    return make_server(
        model="openai/scripted", model_api_base=base, model_retries=0, api_keys="holder", embed_origins=SHOP, pool_min=0
    )


def client(server: Running, key: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=server.url, timeout=60, trust_env=False, headers=headers)


def visitor(server: Running) -> str:
    with client(server, "holder") as backend:
        made = backend.post("/v1/embed/sessions", json={"origin": SHOP, "user": "alice"}).raise_for_status()
    return str(made.json()["token"])


def failed(http: httpx.Client, **body: Any) -> str:
    """Everything that is sent about a failed answer, by its own request and by later ones."""
    told = [http.post("/v1/responses", json={"input": "x"} | body).text]
    response_id = json.loads(told[0]).get("id")
    if response_id is not None:
        told += [
            http.get(f"/v1/responses/{response_id}").text,
            http.get(f"/v1/responses/{response_id}?stream=true").text,
        ]
    return "\n".join(told)


def over_socket(server: Running, key: str) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    told: list[str] = []
    with connect(server.ws_url, additional_headers=headers) as socket:
        socket.send(frame({"type": "response.create", "input": "x"}))
        while not told or json.loads(told[-1])["type"] not in ("response.failed", "error"):
            told.append(str(socket.recv(timeout=30)))
    return "\n".join(told)


def test_the_holder_of_a_key_reads_the_cause_and_the_remedy_without_secrets(
    server: Running, model: ModelServer
) -> None:
    for ask in (failed, lambda http: over_socket(server, "holder")):
        model.reset()
        model.reply(status=401, error={"message": WORDS})
        with client(server, "holder") as http:
            told = ask(http)
        assert "model_unauthorized" in told
        assert "Incorrect API key provided: [secret]" in told
        assert "https://platform.openai.com/account/api-keys" in told
        assert "CODEACT_MODEL_API_KEY" in told
        for leak in LEAKS:
            assert leak not in told, leak


def test_visitors_of_an_embed_and_strangers_read_the_kind_alone(server: Running, model: ModelServer) -> None:
    token = visitor(server)
    for ask in (failed, lambda http: over_socket(server, token)):
        model.reset()
        model.reply(status=401, error={"message": WORDS})
        with client(server, token) as http:
            told = ask(http)
        assert PUBLIC_ERRORS["model_unauthorized"] in told
        for word in (*LEAKS, "Incorrect", "openai.com", "CODEACT_"):
            assert word not in told, word


def test_a_share_of_a_failed_answer_tells_the_kind_alone(server: Running, model: ModelServer) -> None:
    model.reset()
    model.reply(status=401, error={"message": WORDS})
    with client(server, "holder") as http, client(server, None) as stranger:
        response = http.post("/v1/responses", json={"input": "x"}).json()
        conversation_id = response["conversation"]["id"]
        share = http.post(f"/v1/conversations/{conversation_id}/share", json={"response_id": response["id"]}).json()
        shown = stranger.get(share["url"]).raise_for_status()
    assert shown.json()["responses"][0]["error"] == {
        "code": "model_unauthorized",
        "message": PUBLIC_ERRORS["model_unauthorized"],
    }
    for word in (*LEAKS, "Incorrect", "openai"):
        assert word not in shown.text, word


@pytest.mark.parametrize("key", ["holder", "visitor"])
def test_the_address_of_a_model_s_server_its_user_and_its_password_are_told_to_nobody(
    unusable: Running, key: str
) -> None:
    key = visitor(unusable) if key == "visitor" else key
    with client(unusable, key) as http:
        told = failed(http) + over_socket(unusable, key) + http.get("/v1/status").text + http.get("/readyz").text
    assert "model_" in told
    for leak in LEAKS:
        assert leak not in told, leak

"""The headers of every answer, and which headers of a request are refused."""

from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import connect

from tests.server.conftest import Running


@pytest.fixture
def client(demo: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=demo.url, trust_env=False, timeout=60) as client:
        yield client


def test_every_answer_has_a_request_id_of_its_own(client: httpx.Client, demo: Running) -> None:
    stream = {"input": "hello", "stream": True, "max_tool_calls": 0}
    answers = [
        client.get("/healthz"),
        client.get("/v1/models"),
        client.get("/v1/nothing"),
        client.put("/v1/responses"),
        client.post("/v1/responses", json={"colour": 1}),
        client.post("/v1/responses", json=stream),
        client.get("/v1/models", headers={"Origin": "https://evil.example"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 405, 400, 200, 403]
    ids = [answer.headers["x-request-id"] for answer in answers]
    with connect(demo.ws_url) as socket:
        assert socket.response is not None
        ids.append(socket.response.headers["x-request-id"])
    assert all(one.startswith("req_") for one in ids)
    assert len(set(ids)) == len(ids)


def test_an_error_of_ours_has_a_request_id_too(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(request: object) -> str:
        raise RuntimeError("an error of ours")

    monkeypatch.setattr("codeact.server.routes.models.owner_of", broken)
    answer = client.get("/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "server_error")
    assert answer.headers["x-request-id"].startswith("req_")


def test_a_method_that_a_path_does_not_take_is_told_all_that_it_takes(client: httpx.Client) -> None:
    answer = client.patch("/v1/responses/resp_1")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD")


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"Content-Encoding": "gzip", "Content-Type": "application/json"}, "Content-Encoding"),
        ({"Content-Type": "text/plain"}, "Content-Type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "Content-Type"),
    ],
)
def test_a_body_in_a_form_that_is_not_read_is_refused_by_name(
    client: httpx.Client, headers: dict[str, str], param: str
) -> None:
    answer = client.post("/v1/responses", content=b'{"input": ""}', headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (415, "unsupported_media_type", param)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.api+json", None])
def test_json_by_any_of_its_names_is_read(client: httpx.Client, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = client.post("/v1/responses", content=b'{"input": ""}', headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")

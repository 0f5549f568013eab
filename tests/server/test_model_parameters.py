"""Parameters that only some models take: passed on, refused by name, or dropped with a notice."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.model_server import ModelServer
from tests.server.conftest import Running

GIVEN: dict[str, Any] = {
    "stop": ["END", "</done>"],
    "seed": 7,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "logit_bias": {"50256": -100},
}


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions"])
def test_a_model_that_takes_them_gets_them(scripted: Running, model_server: ModelServer, path: str) -> None:
    model_server.reset()
    model_server.reply("Hello.")
    asked: dict[str, Any] = {"input" if path == "/v1/responses" else "messages": [{"role": "user", "content": "hi"}]}
    httpx.post(scripted.url + path, json=asked | GIVEN, trust_env=False, timeout=60).raise_for_status()
    body = model_server.requests[0].body
    # Our own stop follows, unless the server has learnt from other tests that this model reasons.
    assert body["stop"][:2] == ["END", "</done>"]
    assert [body[name] for name in ("seed", "presence_penalty", "frequency_penalty")] == [7, 0.5, -0.5]
    assert body["logit_bias"] == {"50256": -100}


@pytest.mark.parametrize("name", [*GIVEN, "top_logprobs"])
def test_another_model_refuses_each_by_name(demo: Running, name: str) -> None:
    body = {"input": "hello", name: {**GIVEN, "top_logprobs": 3}[name]}
    answer = httpx.post(f"{demo.url}/v1/responses", json=body, trust_env=False, timeout=60)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "unsupported_parameter", name)


def test_what_asks_for_nothing_is_accepted_by_every_model(demo: Running) -> None:
    body = {"input": "hello", "stop": [], "presence_penalty": 0, "logit_bias": {}, "top_logprobs": 0}
    httpx.post(f"{demo.url}/v1/responses", json=body, trust_env=False, timeout=60).raise_for_status()


def test_the_operator_can_have_them_dropped_with_a_notice(make_server: Callable[..., Running]) -> None:
    server = make_server(drop_params=True, pool_min=0)
    body = {"input": "hello", "seed": 7, "top_logprobs": 3}
    response = httpx.post(f"{server.url}/v1/responses", json=body, trust_env=False, timeout=60).json()
    (notice,) = response["codeact:notices"]
    assert notice["code"] == "parameter_dropped"
    assert "'seed', 'top_logprobs'" in notice["message"]

"""Parameters that only some models take: passed on, refused by name, or dropped with a notice."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
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


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[openai.OpenAI]:
    model_server.reset()
    with openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        yield client


INCLUDED = {"include": ["message.output_text.logprobs"]}


def test_tokens_and_their_probabilities_are_streamed_and_stored(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    model_server.reply("Six times seven:\n", "<execute>\n6*7\n</execute>")
    model_server.reply("It is", " 42.")
    with client.responses.stream(model="codeact", input="6*7?", top_logprobs=1, include=INCLUDED["include"]) as stream:
        events = list(stream)
        response = stream.get_final_response()
    assert model_server.requests[0].body["logprobs"] is True
    assert model_server.requests[0].body["top_logprobs"] == 1
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    assert [part.text for part in parts] == ["Six times seven:\n\n", "It is 42."]
    for part in parts:
        assert "".join(token.token for token in part.logprobs) == part.text.strip()
        assert all(token.logprob == -1.0 and len(token.top_logprobs) == 1 for token in part.logprobs)
    deltas = [token.token for event in events if event.type == "response.output_text.delta" for token in event.logprobs]
    assert deltas == [token.token for part in parts for token in part.logprobs]
    assert client.responses.retrieve(response.id).output[-1].content[0].logprobs == parts[-1].logprobs
    # The answer can be sent back with them.
    model_server.reply("Yes.")
    given = [*response.output, {"role": "user", "content": "Sure?"}]
    assert client.responses.create(model="codeact", input=given).output_text == "Yes."


@pytest.mark.parametrize("streams", [False, True])
def test_a_chat_has_them_too(client: openai.OpenAI, model_server: ModelServer, streams: bool) -> None:
    model_server.reply("It is", " 42.")
    asked: Any = {"messages": [{"role": "user", "content": "6*7?"}], "logprobs": True, "top_logprobs": 2}
    if streams:
        with client.chat.completions.stream(model="codeact", **asked) as stream:
            completion: Any = stream.get_final_completion()
    else:
        completion = client.chat.completions.create(model="codeact", **asked)
    tokens = completion.choices[0].logprobs.content
    assert [token.token for token in tokens] == ["It", " is", " 42", "."]
    assert [len(token.top_logprobs) for token in tokens] == [2] * 4


@pytest.mark.parametrize(
    ("path", "asked", "param"),
    [
        ("responses", {"input": "x", **INCLUDED}, "include"),
        ("chat/completions", {"messages": [{"role": "user", "content": "x"}], "logprobs": True}, "logprobs"),
        ("chat/completions", {"messages": [{"role": "user", "content": "x"}], "top_logprobs": 2}, "top_logprobs"),
    ],
)
def test_a_model_without_probabilities_refuses_them_by_name(
    demo: Running, path: str, asked: dict[str, Any], param: str
) -> None:
    answer = httpx.post(f"{demo.url}/v1/{path}", json=asked, trust_env=False, timeout=60)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


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

"""Encrypted reasoning that a client holds: its model gets it back, other models and other owners never do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from tests.model_server import Kept, ModelServer, Thought
from tests.server.conftest import Running

ASKED: dict[str, Any] = {"store": False, "include": ["reasoning.encrypted_content"]}


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> Iterator[None]:
    model_server.reset()
    yield
    model_server.reset()


@pytest.fixture
def client(scripted: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def history(client: OpenAI, server: ModelServer) -> list[Any]:
    """A question and its answer with encrypted reasoning, as a client holds them."""
    details = [{"type": "reasoning.encrypted", "data": "opaque-details", "index": 0}]
    server.reply(
        Thought("secret thought"), Kept({"reasoning_details": details}), "I add.\n<execute>\nprint(6*7)\n</execute>"
    )
    server.reply(Thought("another thought"), "42.")
    response = client.responses.create(input="6*7?", **ASKED)
    items = [item.to_dict() for item in response.output]
    assert [item["type"] for item in items] == ["reasoning", "message", "code_interpreter_call", "reasoning", "message"]
    return [{"role": "user", "content": "6*7?"}, *items, {"role": "user", "content": "sure?"}]


def stripped(items: list[Any]) -> list[Any]:
    """The items in the standard's form, without our own fields."""
    return [{name: value for name, value in item.items() if not name.startswith("codeact:")} for item in items]


def test_its_model_gets_the_reasoning_back_where_it_stood(client: OpenAI, model_server: ModelServer) -> None:
    held = history(client, model_server)
    sealed = [item["encrypted_content"] for item in held if item.get("type") == "reasoning"]
    assert all("opaque" not in text and "thought" not in text for text in sealed)
    model_server.reply("Yes.")
    client.responses.create(input=stripped(held), **ASKED)
    told = model_server.requests[2].messages
    said = [message for message in told if message["role"] == "assistant"]
    assert said[0]["reasoning_details"][0]["data"] == "opaque-details"
    assert said[1]["reasoning_content"] == "another thought"


def test_another_model_never_gets_it_and_says_so(client: OpenAI, model_server: ModelServer) -> None:
    held = history(client, model_server)
    model_server.reply("Yes.")
    answer = client.responses.create(input=stripped(held), model="openai/other", **ASKED)
    told = json.dumps(model_server.requests[2].messages)
    assert "opaque" not in told
    assert "thought" not in told
    assert [notice["code"] for notice in answer.to_dict()["codeact:notices"]] == ["reasoning_left_out"]  # type: ignore[index]


def test_what_was_changed_or_comes_from_elsewhere_is_left_out_and_that_is_told(
    client: OpenAI, model_server: ModelServer
) -> None:
    held = stripped(history(client, model_server))
    held[1]["encrypted_content"] = held[1]["encrypted_content"][:-4] + "AAAA"
    model_server.reply("Yes.")
    answer = client.responses.create(input=held, **ASKED)
    told = json.dumps(model_server.requests[2].messages)
    assert ("opaque-details" in told, "another thought" in told) == (False, True)
    [notice] = answer.to_dict()["codeact:notices"]  # type: ignore[misc]
    assert notice["code"] == "reasoning_left_out"
    assert notice["message"].startswith("The reasoning of another server stays with it")


def test_nothing_is_encrypted_unasked_and_an_item_without_it_is_left_out(
    client: OpenAI, model_server: ModelServer
) -> None:
    model_server.reply(Thought("hm"), "42.")
    thought, answer = client.responses.create(input="6*7?", store=False).output
    assert thought.to_dict()["encrypted_content"] is None
    model_server.reply("Yes.")
    held = [thought.to_dict(), answer.to_dict(), {"role": "user", "content": "sure?"}]
    client.responses.create(input=held, store=False)  # type: ignore[arg-type]
    assert "hm" not in json.dumps(model_server.requests[1].messages)


def test_a_stored_question_keeps_what_came_with_it(client: OpenAI, model_server: ModelServer) -> None:
    held = stripped(history(client, model_server))
    model_server.reply("Yes.")
    answer = client.responses.create(input=held, include=["reasoning.encrypted_content"])
    model_server.reply("Really.")
    client.responses.create(input="really?", previous_response_id=answer.id)
    assert "another thought" in json.dumps(model_server.requests[3].messages)

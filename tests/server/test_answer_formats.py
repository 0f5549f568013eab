"""Answers for programs: JSON that matches a schema, validated, corrected once, and the only message of the response."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from pydantic import BaseModel

from tests.model_server import Kept, ModelServer
from tests.server.conftest import Running

RIGHT = '{"city": "Bonn", "digits": [4, 2]}'
WRONG = '{"city": "Bonn"}'
BLOCK = "I add.\n<execute>\nprint(6*7)\n</execute>"


class Found(BaseModel):
    city: str
    digits: list[int]


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> Iterator[None]:
    model_server.reset()
    yield
    model_server.reset()


@pytest.fixture
def client(scripted: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def kinds(response: Any) -> list[str]:
    return [item.type for item in response.output]


@pytest.mark.parametrize("form", [RIGHT, f"```json\n{RIGHT}\n```", f"  {RIGHT}\n"])
def test_the_official_client_parses_an_answer_that_follows_prose_and_code(
    client: OpenAI, model_server: ModelServer, form: str
) -> None:
    model_server.reply(BLOCK)
    model_server.reply(form[:9], form[9:])
    response = client.responses.parse(input="where?", text_format=Found)
    assert response.output_parsed == Found(city="Bonn", digits=[4, 2])
    assert kinds(response) == ["reasoning", "code_interpreter_call", "message"]
    assert response.output_text == RIGHT
    told = model_server.requests[1].messages
    assert told[2]["content"] == BLOCK
    assert '"digits"' in told[0]["content"]


def test_a_wrong_answer_is_mended_once_and_never_a_message(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply(WRONG)
    model_server.reply(RIGHT)
    response = client.responses.parse(input="where?", text_format=Found)
    assert response.output_parsed == Found(city="Bonn", digits=[4, 2])
    assert kinds(response) == ["reasoning", "message"]
    said, note = model_server.requests[1].messages[-2:]
    assert (said["role"], said["content"]) == ("assistant", WRONG)
    assert "'digits' is a required property" in note["content"]
    assert model_server.requests[1].body["response_format"]["type"] == "json_schema"


def test_a_server_that_knows_no_formats_is_asked_without(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("Bonn.")
    model_server.reply(status=400, error={"message": "Unsupported parameter: response_format"})
    model_server.reply(RIGHT)
    response = client.responses.parse(input="where?", text_format=Found, model="openai/other")
    assert response.output_parsed is not None
    assert "response_format" not in model_server.requests[2].body


def test_an_answer_that_stays_wrong_fails_by_name(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply(WRONG)
    model_server.reply("Bonn, I think.")
    schema = {"type": "json_schema", "name": "found", "schema": Found.model_json_schema()}
    response = client.responses.create(input="where?", text={"format": schema})  # type: ignore[typeddict-item]
    assert response.status == "failed"
    assert response.error is not None
    assert "did not answer in the demanded format" in response.error.message
    assert "message" not in kinds(response)
    assert response.text is not None
    assert response.text.format is not None
    assert response.text.format.type == "json_schema"


def test_any_json_object_will_do_where_that_was_asked_for(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("[1]")
    model_server.reply('{"a": 1}')
    response = client.responses.create(input="json", text={"format": {"type": "json_object"}})
    assert json.loads(response.output_text) == {"a": 1}


def test_an_answer_that_is_cut_off_is_shown_as_far_as_it_came(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply('{"a": ', finish="length")
    response = client.responses.create(input="json", text={"format": {"type": "json_object"}})
    assert (response.status, response.output_text) == ("incomplete", '{"a":')


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ({"format": {"type": "json_schema", "name": "a", "schema": {"type": "strin"}}}, "text.format.schema"),
        ({"format": {"type": "json_schema", "name": "a b", "schema": {}}}, "text.format.name"),
        ({"format": {"type": "xml"}}, "text.format"),
        ({"colour": "red"}, "text"),
    ],
)
def test_a_format_that_is_none_is_refused_by_name(client: OpenAI, text: Any, param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.responses.create(input="where?", text=text)
    assert (caught.value.param or "").startswith(param)


def test_the_reasoning_of_a_formatted_answer_is_kept_beside_it(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply(Kept({"reasoning_content": "hm"}), RIGHT)
    response = client.responses.parse(input="where?", text_format=Found)
    assert kinds(response) == ["reasoning", "message"]
    assert response.output_parsed is not None

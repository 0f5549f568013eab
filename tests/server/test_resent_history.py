"""A history that a client sends back without item ids: it keeps its kernel, or a notice says that it does not."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from codeact.events import ConversationRef, Message, OutputText, Response
from codeact.runs.input_items import InputText, MessageItem
from codeact.runs.known_answers import KnownAnswers, history_of
from tests.model_server import ModelServer
from tests.server.conftest import Running


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[httpx.Client]:
    model_server.reset()
    with httpx.Client(base_url=scripted.url, trust_env=False, timeout=60) as client:
        yield client


def ask(client: httpx.Client, items: list[dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/v1/responses", json={"input": items}).raise_for_status().json()
    return answer


def without_ids(response: dict[str, Any], *more: str) -> list[dict[str, Any]]:
    kept = ("type", "role", "content", "code", "outputs", *more)
    return [{name: value for name, value in item.items() if name in kept} for item in response["output"]]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("form", ["items", "items of a container", "output_text"])
def test_a_known_history_keeps_its_kernel(client: httpx.Client, model_server: ModelServer, form: str) -> None:
    for reply in (
        f"I set.\n<execute>\nx = '{form}'\n</execute>\n",
        "It is set.",
        "<execute>\nprint(x)\n</execute>\n",
        "So.",
    ):
        model_server.reply(reply)
    question = [user(f"set x to {form}")]
    first = ask(client, question)
    text = {"role": "assistant", "content": "I set.\n\nIt is set."}
    history = [text] if form == "output_text" else without_ids(first, "container_id" if "container" in form else "")
    if "container" in form:
        history[0]["content"] = "Other words."
    second = ask(client, [*question, *history, user("what is x?")])
    (code,) = (item for item in second["output"] if item["type"] == "code_interpreter_call")
    assert code["outputs"] == [{"type": "logs", "logs": f"{form}\n"}]
    assert second["codeact:notices"] == []


def test_an_unknown_history_is_said_to_have_a_new_kernel(client: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("Fine.")
    second = ask(client, [user("hi"), {"role": "assistant", "content": "I never said this."}, user("go on")])
    assert [notice["code"] for notice in second["codeact:notices"]] == ["history_unknown"]


def test_what_code_printed_is_not_stored_as_the_users_words(client: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("Fine.")
    code = {"type": "code_interpreter_call", "code": "print(1)", "outputs": [{"type": "logs", "logs": "1\n"}]}
    call = {"type": "mcp_call", "server_label": "s", "name": "f", "arguments": "{}", "output": "2"}
    said = {"role": "assistant", "content": "One."}
    made = ask(client, [user("count"), code, said, call, said, user("go on")])
    stored = client.get(f"/v1/responses/{made['id']}/input_items", params={"order": "asc"}).json()["data"]
    assert [item["content"][0]["text"] for item in stored if item["role"] == "user"] == ["count", "go on"]
    assert "Observation:\n1\n" in [message["content"] for message in model_server.requests[0].messages]


def answered(number: int) -> Response:
    message = Message(id=f"msg_{number}", content=[OutputText("Hello.")])
    return Response(
        id=f"resp_{number}", created_at=0, model="m", output=[message], conversation=ConversationRef(f"conv_{number}")
    )


def test_of_two_conversations_with_the_same_words_none_is_taken_for_the_other() -> None:
    known = KnownAnswers()
    asked = history_of("hi")
    resent = history_of(
        [MessageItem("user", "hi"), MessageItem("assistant", [InputText("Hello.")]), MessageItem("user", "x")]
    )
    for number, found in ((1, "msg_1"), (2, None)):
        known.begun(answered(number), asked, owner="ann")
        known.ended(answered(number))
        assert known.find(resent, owner="ann") == found
    assert known.find(resent, owner="bob") is None

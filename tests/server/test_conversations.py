"""Conversations and their items, with the official client and a scripted model."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import APIStatusError, BadRequestError, OpenAI

from codeact.store.repositories.items import MOST_WAITING
from tests.model_server import ModelServer
from tests.server.conftest import Running


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[OpenAI]:
    model_server.reset()
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_conversation_is_made_changed_and_deleted(client: OpenAI) -> None:
    made = client.conversations.create(metadata={"a.b": "$c"})
    assert client.conversations.retrieve(made.id).metadata == {"a.b": "$c"}
    assert client.conversations.update(made.id, metadata={"k": "v"}).metadata == {"k": "v"}
    assert client.conversations.retrieve(made.id).metadata == {"k": "v"}
    assert client.conversations.delete(made.id).deleted
    with pytest.raises(APIStatusError) as caught:
        client.conversations.retrieve(made.id)
    assert caught.value.status_code == 404


def test_items_that_came_first_begin_the_next_response(client: OpenAI, model_server: ModelServer) -> None:
    said = [{"type": "message", "role": "user", "content": "My name is Ada."}]
    conversation = client.conversations.create(items=said)  # type: ignore[arg-type]
    added = client.conversations.items.create(conversation.id, items=[{"role": "user", "content": "I am 36."}])
    assert [item.content[0].text for item in added.data] == ["I am 36."]  # type: ignore[union-attr]
    model_server.reply("Hello Ada.")
    client.responses.create(input="Who am I?", conversation=conversation.id)
    assert model_server.requests[0].messages[1]["content"] == "My name is Ada.\n\nI am 36.\n\nWho am I?"
    items = list(client.conversations.items.list(conversation.id, order="asc", limit=2))
    assert [item.content[0].text for item in items] == [  # type: ignore[union-attr]
        "My name is Ada.",
        "I am 36.",
        "Who am I?",
        "Hello Ada.",
    ]
    model_server.reply("Still Ada.")
    client.responses.create(input="Sure?", conversation=conversation.id)
    assert str(model_server.requests[1].messages).count("My name is Ada.") == 1


def test_a_conversation_may_be_answered_without_further_input(client: OpenAI, model_server: ModelServer) -> None:
    conversation = client.conversations.create(items=[{"type": "message", "role": "user", "content": "Hello?"}])
    model_server.reply("Yes.")
    assert client.responses.create(conversation=conversation.id).output_text == "Yes."
    with pytest.raises(APIStatusError) as caught:
        client.responses.create(conversation=conversation.id)
    assert (caught.value.status_code, caught.value.param) == (400, "input")


def test_an_item_can_be_read_and_taken_out(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("The secret is 7.")
    first = client.responses.create(input="Tell me the secret.")
    assert first.conversation is not None
    conversation_id = first.conversation.id
    waiting = client.conversations.items.create(conversation_id, items=[{"role": "user", "content": "Wait."}])
    asked, answered, waits = list(client.conversations.items.list(conversation_id, order="asc"))
    assert waits.id == waiting.data[0].id
    assert client.conversations.items.retrieve(answered.id, conversation_id=conversation_id).id == answered.id  # type: ignore[arg-type]
    for item in (asked, answered, waits):
        assert client.conversations.items.delete(item.id, conversation_id=conversation_id).id == conversation_id  # type: ignore[arg-type]
    assert list(client.conversations.items.list(conversation_id)) == []
    model_server.reply("Which secret?")
    client.responses.create(input="And now?", conversation=conversation_id)
    assert [message["content"] for message in model_server.requests[-1].messages[1:]] == ["And now?"]
    with pytest.raises(APIStatusError) as caught:
        client.conversations.items.delete("msg_no", conversation_id=conversation_id)
    assert caught.value.status_code == 404


def test_so_many_items_wait_in_a_conversation_and_no_more(client: OpenAI) -> None:
    conversation = client.conversations.create()
    one: Any = {"role": "user", "content": "Wait."}
    for _ in range(MOST_WAITING // 20):
        client.conversations.items.create(conversation.id, items=[one] * 20)
    with pytest.raises(BadRequestError) as refused:
        client.conversations.items.create(conversation.id, items=[one])
    assert (refused.value.code, refused.value.param) == ("too_many_waiting_items", "items")
    waiting = next(iter(client.conversations.items.list(conversation.id)))
    client.conversations.items.delete(str(waiting.id), conversation_id=conversation.id)
    client.conversations.items.create(conversation.id, items=[one])


def test_items_that_are_too_many_bytes_leave_no_conversation_behind(client: OpenAI, scripted: Running) -> None:
    def latest() -> list[str]:
        return [one["id"] for one in httpx.get(f"{scripted.url}/v1/conversations").json()["data"]]

    before = latest()
    one: Any = {"role": "user", "content": "x" * 399_930}
    with pytest.raises(BadRequestError, match="8,000,000 bytes"):
        client.conversations.create(items=[one] * 20)
    assert latest() == before

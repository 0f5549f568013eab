"""A conversation that is too long is compacted: its kernel's inventory and a text by its model replace it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from codeact.context.compaction_text import ASK
from codeact.context.tokens import estimated_tokens
from tests.model_server import ModelServer
from tests.server.conftest import Running, running, settings_of

WINDOW, ROOM = 8_192, 6_144


@pytest.fixture(scope="module")
def small(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    return make_server(**at(model_server))


def at(server: ModelServer) -> dict[str, Any]:
    """Settings for a model with a small window."""
    return {"model": f"openai/small;window={WINDOW}", "model_api_base": server.base_url}


@pytest.fixture
def client(small: Running, model_server: ModelServer) -> Iterator[httpx.Client]:
    model_server.reset()
    with httpx.Client(base_url=small.url, trust_env=False, timeout=60) as client:
        yield client
    model_server.reset()


def ask(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def tokens(request: Any) -> int:
    return int(sum(estimated_tokens(str(message["content"])) for message in request.messages))


def types(answer: dict[str, Any]) -> list[str]:
    return [item["type"] for item in answer["output"]]


def story(turn: int, sentences: int = 110) -> str:
    return " ".join(f"Sentence {number} of part {turn} tells of one more thing." for number in range(sentences))


def grown(client: httpx.Client, server: ModelServer, *, turns: int = 3, **body: Any) -> list[dict[str, Any]]:
    """A conversation whose first turn creates a variable, and whose other turns are prose, which cannot be masked."""
    server.reply("I note it.\n<execute>\nlimit_of_orders = 4711\ndef halved(n):\n    return n / 2\n</execute>")
    server.reply("Noted.")
    answers = [ask(client, input="Note the limit of orders: 4711.", truncation="auto", **body)]
    for turn in range(turns):
        server.reply(story(turn))
        more = {"previous_response_id": answers[-1]["id"]}
        answers.append(ask(client, input=f"Tell me part {turn}.", truncation="auto", **body, **more))
    return answers


def test_what_masking_cannot_shorten_is_compacted_and_later_turns_start_from_there(
    client: httpx.Client, model_server: ModelServer
) -> None:
    *_, last = grown(client, model_server)
    model_server.reply("The user wants parts of a story told.")
    model_server.reply("Part 5 follows.")
    answer = ask(client, input="Go on with the story.", truncation="auto", previous_response_id=last["id"])
    assert answer["status"] == "completed"
    assert types(answer) == ["compaction", "message"]
    asked, told = model_server.requests[-2:]
    assert ASK in asked.messages[-1]["content"]
    for request in model_server.requests:
        assert tokens(request) <= ROOM
    said = str(told.messages)
    assert tokens(told) < 0.6 * ROOM
    for fact in ("limit_of_orders: int = 4711", "def halved(n):", "return n / 2", "parts of a story told"):
        assert fact in said
    assert "Tell me part 0" in said
    assert "Go on with the story." in told.messages[-1]["content"]
    assert "of part 1 tells" not in said
    compaction = answer["output"][0]
    assert compaction["encrypted_content"].startswith("cs1.")
    assert answer["usage"]["input_tokens"] > 0
    nowhere = [
        client.get(f"/v1/conversations/{answer['conversation']['id']}/export", params={"format": form}).text
        for form in ("json", "markdown", "notebook")
    ]
    share = client.post(f"/v1/conversations/{answer['conversation']['id']}/share", json={}).json()
    nowhere.append(client.get(share["url"]).text)
    assert not [text for text in nowhere if "cs1." in text]
    assert "limit_of_orders: int" not in nowhere[-1]
    imported = client.post("/v1/conversations/import", content=nowhere[0]).json()
    model_server.reply("From the archive.")
    ask(client, input="And here?", truncation="auto", conversation=imported["id"])
    assert "parts of a story told" in str(model_server.requests[-1].messages)
    assert "of part 0 tells" not in str(model_server.requests[-1].messages)
    model_server.reply("More.")
    after = ask(client, input="And then?", truncation="auto", previous_response_id=answer["id"])
    assert types(after) == ["message"]
    assert model_server.requests[-1].messages[: len(told.messages)] == told.messages


def test_later_turns_of_another_server_process_start_from_the_compaction(
    client: httpx.Client, small: Running, model_server: ModelServer
) -> None:
    """A run that only asks for a compaction; then the same conversation on a server that does not know it."""
    *_, last = grown(client, model_server, turns=2)
    model_server.reply("A story is told in parts.")
    trigger = [{"type": "compaction_trigger"}]
    made = ask(client, input=trigger, previous_response_id=last["id"])
    assert types(made) == ["compaction"]
    assert made["status"] == "completed"
    with (
        running(settings_of(small.settings.data_dir, **at(model_server))) as other,
        httpx.Client(base_url=other.url, trust_env=False, timeout=60) as there,
    ):
        model_server.reply("I look.\n<execute>\nprint(recall(1))\n</execute>")
        model_server.reply("Found.")
        answer = ask(there, input="What ran first?", truncation="auto", previous_response_id=made["id"])
        told = model_server.requests[-2]
        assert "limit_of_orders: int = 4711" in str(told.messages)
        assert "of part 0 tells" not in str(told.messages)
        [code] = [item for item in answer["output"] if item["type"] == "code_interpreter_call"]
        assert "limit_of_orders = 4711" in code["outputs"][0]["logs"]
        model_server.reply("Before it.")
        branch = ask(there, input="Again.", truncation="auto", previous_response_id=last["id"])
        assert types(branch) == ["message"]
        assert "of part 0 tells" in str(model_server.requests[-1].messages)


def test_a_threshold_that_is_passed_compacts_and_its_events_come_in_order(
    client: httpx.Client, model_server: ModelServer
) -> None:
    *_, last = grown(client, model_server, turns=2)
    model_server.reply("A story.")
    model_server.reply("Part 3.")
    management = [{"type": "compaction", "compact_threshold": 4_000}]
    body = {"input": "Go on.", "stream": True, "context_management": management, "previous_response_id": last["id"]}
    with client.stream("POST", "/v1/responses", json=body) as stream:
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
    assert [event["type"] for event in events][:6] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.compaction.compacting",
        "response.output_item.done",
        "response.output_item.added",
    ]
    added, compacting, done = events[2:5]
    assert added["item"]["id"] == compacting["item_id"] == done["item"]["id"]
    assert compacting["output_index"] == 0
    assert events[-1]["response"]["status"] == "completed"


def test_a_compaction_that_frees_too_little_ends_the_answer_by_name(
    client: httpx.Client, model_server: ModelServer
) -> None:
    question = " ".join(f"fact {number} is {number * 7}." for number in range(300))
    management = [{"type": "compaction", "compact_threshold": 1_000}]
    answer = ask(client, input=question, context_management=management)
    assert answer["status"] == "failed"
    assert answer["error"]["code"] == "compaction_frees_too_little"
    assert "compact_threshold of 1,000 tokens" in answer["error"]["message"]
    assert model_server.requests == []


def test_where_a_compaction_frees_too_little_the_oldest_messages_are_dropped_in_our_faces(
    client: httpx.Client, model_server: ModelServer
) -> None:
    question = " ".join(f"fact {number} is {number * 7}." for number in range(3_000))
    model_server.reply("I read what fits.")
    answer = ask(client, input=question, truncation="auto")
    assert types(answer) == ["message"]
    assert tokens(model_server.requests[-1]) <= ROOM


def test_a_model_that_fails_leaves_the_facts_alone(client: httpx.Client, model_server: ModelServer) -> None:
    *_, last = grown(client, model_server)
    model_server.reply(status=400, error={"message": "no"})
    model_server.reply("Part 4.")
    answer = ask(client, input="Go on.", truncation="auto", previous_response_id=last["id"])
    assert types(answer) == ["compaction", "message"]
    text = answer["output"][0]["codeact:text"]
    assert "limit_of_orders: int = 4711" in text
    assert "Aims, decisions" not in text


def test_a_client_that_holds_the_conversation_sends_the_compaction_back(
    client: httpx.Client, model_server: ModelServer
) -> None:
    *_, last = grown(client, model_server, turns=2)
    model_server.reply("A story is told.")
    compacted = client.post(
        "/v1/responses/compact", json={"model": "codeact", "previous_response_id": last["id"]}
    ).json()
    assert compacted["object"] == "response.compaction"
    assert [item["type"] for item in compacted["output"]] == ["message"] * 3 + ["compaction"]
    assert compacted["usage"]["total_tokens"] > 0
    sealed = compacted["output"][-1]
    kept = [
        {key: value for key, value in item.items() if not key.startswith("codeact:")} for item in compacted["output"]
    ]
    model_server.reply("I look.\n<execute>\nprint(limit_of_orders)\n</execute>")
    model_server.reply("4711.")
    answer = ask(client, input=[*kept, {"role": "user", "content": "The limit?"}])
    told = str(model_server.requests[-2].messages)
    assert "def halved(n):" in told
    assert "A story is told." in told
    [code] = [item for item in answer["output"] if item["type"] == "code_interpreter_call"]
    assert code["outputs"][0]["logs"] == "4711\n"  # The conversation's own kernel.
    items = client.get(f"/v1/responses/{answer['id']}/input_items").json()["data"]
    assert sealed["encrypted_content"] in [item.get("encrypted_content") for item in items]


@pytest.mark.parametrize("sealed", ["x", "", "cs1.AAAA", "cs1." + "A" * 500_000, "cs1.é"])
def test_a_compaction_that_was_not_made_here_is_refused_by_name(
    client: httpx.Client, model_server: ModelServer, sealed: str
) -> None:
    body = {
        "model": "codeact",
        "input": [{"type": "compaction", "encrypted_content": sealed}, {"role": "user", "content": "hello"}],
    }
    for path in ("/v1/responses", "/v1/responses/compact"):
        refused = client.post(path, json=body)
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert (error["code"], error["param"]) == ("invalid_encrypted_content", "input[0].encrypted_content")
    conversation = client.post("/v1/conversations", json={}).json()["id"]
    for item in (body["input"][0], {"type": "compaction_trigger"}):
        assert client.post(f"/v1/conversations/{conversation}/items", json={"items": [item]}).status_code == 400
    assert model_server.requests == []


def test_what_was_sealed_for_reasoning_or_changed_is_no_compaction(
    client: httpx.Client, model_server: ModelServer
) -> None:
    model_server.reply("Short.")
    made = client.post("/v1/responses/compact", json={"model": "codeact", "input": "Remember the number 5."}).json()[
        "output"
    ][-1]
    good = made["encrypted_content"]
    for sealed in (good[:-4] + "AAAA", good + "A"):
        body = {"input": [{"type": "compaction", "encrypted_content": sealed}, {"role": "user", "content": "hi"}]}
        assert client.post("/v1/responses", json=body).json()["error"]["code"] == "invalid_encrypted_content"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/responses", {"input": [{"type": "compaction_trigger"}, {"role": "user", "content": "x"}]}, "input[0]"),
        ("/v1/responses/compact", {"input": [{"type": "compaction_trigger"}]}, "input[0]"),
        ("/v1/responses/compact", {}, "input"),
        ("/v1/responses/compact", {"input": "x", "stream": True}, "stream"),
        ("/v1/responses", {"input": "x", "context_management": [{"type": "compaction"}]}, "context_management[0]"),
        (
            "/v1/responses",
            {"input": "x", "context_management": [{"type": "compaction", "compact_threshold": 10}]},
            "context_management[0].compact_threshold",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(client: httpx.Client, path: str, body: dict[str, Any], param: str) -> None:
    refused = client.post(path, json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"].startswith(param)

"""What only the client of the Responses API does. The types of `openai` check the server's events and our requests.

`test_adapters.py` tests what every adapter does.
"""

import json
import pickle
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from codeact import errors
from codeact.dialect import dialect_for
from codeact.dialect.freeform import Freeform
from codeact.dialect.tool_call import ToolCalls
from codeact.model import (
    ChatMessage,
    Finish,
    ModelEvent,
    PastCall,
    ReasoningDelta,
    ReasoningKept,
    Sampling,
    TextDelta,
    TokenLogprob,
    TokenLogprobs,
    ToolCall,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from codeact.models.discovery import find_models, needs_litellm
from codeact.models.openai_compatible.answer import Answer
from codeact.models.openai_compatible.errors import Refused, StreamBroken
from codeact.models.responses_api.client import ResponsesModel
from codeact.models.responses_api.reading import MAX_ITEMS, ResponsesReading
from codeact.models.responses_api.request import AS_IT_IS, input_items
from codeact.models.shared.chat_messages import ITEMS, as_chat
from codeact.models.shared.chunks import Call, Called, Chunk
from codeact.models.shared.reading import Reading
from codeact.settings import Settings
from tests.model_server import CallPiece, Kept, ModelServer, Thought

pytestmark = pytest.mark.anyio

HELLO = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hello")]
CODE = 'x = "grüß 😀"\nprint("</b>", x)\n'


@pytest.fixture
async def model(server: ModelServer) -> AsyncIterator[ResponsesModel]:
    model = ResponsesModel("m", model="scripted", api_base=server.base_url, retries=0)
    yield model
    await model.close()


async def collect(
    model: ResponsesModel, messages: Sequence[ChatMessage] = HELLO, sampling: Sampling | None = None
) -> list[ModelEvent]:
    async with aclosing(model.stream(messages, sampling or Sampling())) as stream:
        return [event async for event in stream]


def read(*events: dict[str, Any]) -> list[ModelEvent]:
    """The model's events for an answer with these events in its body."""
    answer = Answer(ResponsesReading())
    found: list[ModelEvent] = []
    for event in events:
        found += answer.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    return [*found, *answer.finish()]


def completed(output: Sequence[dict[str, Any]] = (), **more: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", "output": list(output), **more}}


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


# ---- requests ----------------------------------------------------------------------------------------


async def test_a_request_is_whole_and_stores_nothing(server: ModelServer, model: ResponsesModel) -> None:
    server.reply("a")
    await collect(model, sampling=Sampling(temperature=0.5, max_output_tokens=70, reasoning_effort="low"))
    assert server.requests[0].body == {
        "model": "scripted",
        "instructions": "Be kind.",
        "input": [{"type": "message", "role": "user", "content": "Hello"}],
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "temperature": 0.5,
        "max_output_tokens": 70,
        "reasoning": {"effort": "low"},
    }


@pytest.mark.parametrize("dialect", [ToolCalls(), Freeform()])
async def test_tools_calls_and_results_have_the_apis_form(
    server: ModelServer, model: ResponsesModel, dialect: ToolCalls
) -> None:
    custom = dialect.name == "freeform"
    arguments = CODE if custom else json.dumps({"code": CODE})
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "auto"}}
    messages = [
        *HELLO,
        ChatMessage("assistant", "I run it.", (PastCall("call_1", "python", arguments, custom=custom),)),
        ChatMessage("tool", [{"type": "text", "text": "Observation: ok"}, shown], tool_call_id="call_1"),
    ]
    server.reply("a")
    await collect(model, messages, Sampling(tools=dialect.tools))
    body = server.requests[0].body
    call, result = body["input"][2:]
    assert body["input"][1] == {"type": "message", "role": "assistant", "content": "I run it."}
    assert (body["tools"][0]["type"], body["tool_choice"]) == ("custom" if custom else "function", "auto")
    assert call["type"] == ("custom_tool_call" if custom else "function_call")
    assert call["input" if custom else "arguments"] == arguments
    assert result["type"] == call["type"] + "_output"
    assert [part["type"] for part in result["output"]] == ["input_text", "input_image"]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("Encrypted content is not supported with this model.", "include"),
        ("Unsupported parameter: 'instructions'", "instructions"),
    ],
)
async def test_what_a_server_refuses_and_we_add_by_ourselves_is_left_out(
    server: ModelServer, model: ResponsesModel, words: str, field: str
) -> None:
    server.reply(status=400, error={"message": words})
    server.reply("a")
    server.reply("b")
    await collect(model)
    await collect(model)
    assert [field in request.body for request in server.requests] == [True, False, False]
    assert "Be kind." in json.dumps(server.requests[1].body)


# ---- calls -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [ToolCalls(), Freeform()])
async def test_calls_stream_as_they_are_written(server: ModelServer, model: ResponsesModel, dialect: ToolCalls) -> None:
    arguments = CODE if dialect.name == "freeform" else json.dumps({"code": CODE})
    pieces = [CallPiece(letter) for letter in arguments]
    server.reply("I run it.", CallPiece("", "python", "call_1"), *pieces, usage={"prompt_tokens": 9})
    events = await collect(model, sampling=Sampling(tools=dialect.tools))
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert "".join(delta.arguments for delta in deltas) == arguments
    assert {(delta.index, delta.name, delta.call_id) for delta in deltas} == {(0, "python", "call_1")}
    assert events[-3:] == [ToolCall("python", arguments, "call_1"), Finish("stop"), Usage(input_tokens=9)]


# ---- reasoning ---------------------------------------------------------------------------------------


async def test_reasoning_items_go_back_where_they_stood(server: ModelServer, model: ResponsesModel) -> None:
    server.reply(
        Thought("hm"),
        Kept({"encrypted_content": "one"}),
        "I run it.",
        Kept({"encrypted_content": "two"}),
        CallPiece("1", "python", "call_1"),
        CallPiece("2", "python", "call_2", index=1),
    )
    events = await collect(model)
    kept = [event.fields[ITEMS] for event in events if isinstance(event, ReasoningKept)]
    assert [(entry["at"], entry["item"]["encrypted_content"]) for [entry] in kept] == [(0, "one"), (1, "two")]
    assert kept[0][0]["item"]["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert "status" not in kept[0][0]["item"]
    calls = (PastCall("call_1", "python", "1"), PastCall("call_2", "python", "2"))
    reasoning = {ITEMS: [*kept[0], *kept[1]]}
    server.reply("a")
    await collect(model, [*HELLO, ChatMessage("assistant", "I run it.", calls, reasoning=reasoning)])
    given = server.requests[1].body["input"][1:]
    assert [item["type"] for item in given] == ["reasoning", "message", "reasoning", "function_call", "function_call"]
    assert [item["encrypted_content"] for item in given if item["type"] == "reasoning"] == ["one", "two"]


def test_the_phase_of_a_text_goes_back_with_it() -> None:
    events = read(
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {"type": "reasoning", "encrypted_content": "x"},
        },
        {"type": "response.output_item.added", "output_index": 1, "item": {**message(""), "phase": "commentary"}},
        {"type": "response.output_text.delta", "output_index": 1, "delta": "I run it."},
        completed(),
    )
    kept, text, _ = events
    assert isinstance(kept, ReasoningKept)
    assert text == TextDelta("I run it.")
    _, said = input_items([ChatMessage("assistant", "I run it.", reasoning=kept.fields)])
    assert said["phase"] == "commentary"


def test_reasoning_that_says_nothing_to_a_server_without_storage_is_not_kept() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    assert read(completed([thought, message("a")])) == [ReasoningDelta("hm"), TextDelta("a"), Finish("stop")]


def test_summaries_become_paragraphs() -> None:
    delta = {"type": "response.reasoning_summary_text.delta", "output_index": 0}
    events = read(
        *({**delta, "summary_index": index, "delta": text} for index, text in ((0, "a"), (0, "b"), (1, "c"))),
        completed([message("d")]),
    )
    assert events == [*map(ReasoningDelta, ("a", "b", "\n\nc")), TextDelta("d"), Finish("stop")]


def test_chat_completions_never_get_the_items() -> None:
    said = ChatMessage("assistant", "a", reasoning={ITEMS: [{"at": 0, "item": {}}], "reasoning_content": "b"})
    assert as_chat(said) == {"role": "assistant", "content": "a", "reasoning_content": "b"}


# ---- odd servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", ["in the item", "in the response"])
def test_items_that_came_without_deltas_are_read_as_a_whole(whole: str) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "python", "arguments": "{}"}
    items = [message("I run it."), call]
    done = [{"type": "response.output_item.done", "output_index": n, "item": item} for n, item in enumerate(items)]
    events = read(*(done if whole == "in the item" else ()), completed(items))
    assert events == [
        TextDelta("I run it."),
        ToolCallDelta(0, "", "python", "c"),
        ToolCallDelta(0, "{}", "python", "c"),
        ToolCall("python", "{}", "c"),
        Finish("stop"),
    ]


def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    usage = {"input_tokens": 3, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}}
    answer = Answer(ResponsesReading())
    assert answer.feed(json.dumps({"status": "completed", "output": [message("a")], "usage": usage}).encode()) == []
    used = Usage(input_tokens=3, output_tokens=2, cached_tokens=1)
    assert answer.finish() == [TextDelta("a"), Finish("stop"), used]


def test_a_refusal_is_the_answer() -> None:
    refusal = {"type": "response.refusal.delta", "output_index": 0, "delta": "I will not."}
    assert read(refusal, completed()) == [TextDelta("I will not."), Finish("stop")]


@pytest.mark.parametrize(("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter")])
def test_an_incomplete_response_says_why(reason: str, finish: Any) -> None:
    response = {"status": "incomplete", "incomplete_details": {"reason": reason}, "output": [message("a")]}
    assert read({"type": "response.incomplete", "response": response})[-1] == Finish(finish)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": "server_error", "message": "boom"}, 500),
        ({"code": "rate_limit_exceeded", "message": "slow"}, 429),
        ({"code": "invalid_prompt", "message": "no"}, 400),
    ],
)
@pytest.mark.parametrize("form", ["failed", "error", "nested"])
def test_an_error_of_the_stream_has_the_status_of_its_code(error: dict[str, Any], status: int, form: str) -> None:
    event = {
        "failed": {"type": "response.failed", "response": {"status": "failed", "error": error}},
        "error": {"type": "error", **error},
        "nested": {"type": "error", "error": error},
    }[form]
    with pytest.raises(Refused) as caught:
        read(event)
    assert (caught.value.status, caught.value.words) == (status, error["message"])


async def test_a_response_that_failed_is_named_with_the_servers_words(
    server: ModelServer, model: ResponsesModel
) -> None:
    server.reply("a", error={"code": "server_error", "message": "The engine stopped."})
    with pytest.raises(errors.ModelRefused, match=r"The engine stopped\."):
        await collect(model)


def test_half_characters_are_joined() -> None:
    answer = Answer(ResponsesReading())
    delta = b'data: {"type":"response.output_text.delta","output_index":0,"delta":"%s"}\n\n'
    events = [*answer.feed(delta % b"a\\ud83d"), *answer.feed(delta % b"\\ude00b")]
    assert events == [TextDelta("a"), TextDelta("😀b")]


@pytest.mark.parametrize(
    "event", [[1], {"type": 7}, {"type": "response.output_text.delta"}, {"type": "response.output_item.added"}, None]
)
def test_an_odd_event_is_no_wrong_answer(event: Any) -> None:
    if isinstance(event, list):
        with pytest.raises(StreamBroken):
            read(event)  # type: ignore[arg-type]
    else:
        assert read(event, completed([message("a")])) == [TextDelta("a"), Finish("stop")]


HALF, LARGE = "\ud800", 10**30


@pytest.mark.parametrize("odd", [{"type": {}}, {"type": []}, {"type": HALF}, {"type": "reasoning", "summary": LARGE}])
def test_an_odd_item_is_no_wrong_answer(odd: Any) -> None:
    begun = {"type": "response.output_item.added", "output_index": 1, "item": odd}
    assert read(begun, completed([odd, message("a")])) == [TextDelta("a"), Finish("stop")]


@pytest.mark.parametrize("odd", [HALF, LARGE, [HALF], {"message": HALF, "type": "server_error"}])
def test_an_error_of_any_value_is_an_error(odd: Any) -> None:
    with pytest.raises(Refused):
        read({"type": "error", "error": {"code": "slow_down", "message": odd}})
    with pytest.raises(Refused):
        read({"type": "error", "message": odd})


def test_reasoning_that_no_request_can_hold_does_not_go_back() -> None:
    thought = {"type": "reasoning", "encrypted_content": "sealed", "id": HALF}
    assert read(completed([thought, message("a")])) == [TextDelta("a"), Finish("stop")]


def test_the_type_of_an_item_takes_no_more_memory_than_a_type() -> None:
    reading = ResponsesReading()
    for number in range(MAX_ITEMS):
        item = {"type": f"{number}" * 100_000}
        reading.event(json.dumps({"type": "response.output_item.added", "item": item}).encode())
    assert len(pickle.dumps(reading)) < 500_000


def test_halves_of_characters_in_a_call_are_joined_or_replaced() -> None:
    reading = Reading()
    whole = Call(0, Called("python" + HALF, "a\ud83d"), "call" + HALF)
    events = [*reading.read(Chunk(calls=[whole])), *reading.read(Chunk(calls=[Call(0, Called(None, "\ude00b"))]))]
    assert [event.arguments for event in events if isinstance(event, ToolCallDelta)] == ["a", "😀b"]
    assert reading.end() == [ToolCall("python\ufffd", "a😀b", "call\ufffd", 0)]


def test_the_items_of_one_response_have_a_number() -> None:
    added = (
        {"type": "response.output_item.added", "output_index": n, "item": {"type": "message"}}
        for n in range(MAX_ITEMS + 1)
    )
    with pytest.raises(StreamBroken, match="over 200 items"):
        read(*added)


# ---- which models are asked so -----------------------------------------------------------------------


async def test_a_configured_model_names_its_api(server: ModelServer) -> None:
    settings = Settings.load(
        models="mine;api=responses,openai/gpt-5,free;dialect=freeform", model=None, model_api_base=server.base_url
    )
    found = await find_models(settings, probes=())
    kinds = [type(model).__name__ for model in found.registry.models]
    assert kinds == ["ResponsesModel", "DirectModel", "ResponsesModel"]
    server.reply("a")
    model = found.registry.default
    assert isinstance(model, ResponsesModel)
    await collect(model)
    assert (server.requests[0].api, server.requests[0].body["model"]) == ("responses", "mine")
    await found.close()


@pytest.mark.parametrize(
    ("name", "address", "known_as"),
    [
        ("openai/gpt-5", "https://api.openai.com/v1/responses", "gpt-5"),
        ("gpt-5", "https://api.openai.com/v1/responses", "gpt-5"),
        ("xai/grok-4", "https://api.x.ai/v1/responses", "grok-4"),
        ("openrouter/openai/gpt-5", "https://openrouter.ai/api/v1/responses", "openai/gpt-5"),
    ],
)
async def test_providers_that_speak_it_need_no_address_and_no_litellm(name: str, address: str, known_as: str) -> None:
    settings = Settings.load(model=f"{name};api=responses", models="")
    assert not needs_litellm(settings)
    found = await find_models(settings, probes=(), environ={"OPENAI_API_KEY": "k"})
    model = found.registry.default
    assert isinstance(model, ResponsesModel)
    assert (model._url, model._model) == (address, known_as)
    assert model._key == ("k" if "openai.com" in address else "none")


async def test_another_provider_needs_an_address() -> None:
    settings = Settings.load(model="anthropic/claude-x;api=responses", models="")
    with pytest.raises(errors.ConfigurationError, match="needs CODEACT_MODEL_API_BASE"):
        await find_models(settings, probes=())


def test_freeform_and_chat_exclude_each_other() -> None:
    with pytest.raises(errors.ConfigurationError, match="freeform needs responses"):
        Settings.load(model="x;dialect=freeform;api=chat", models="")


def test_gpt_5_acts_by_custom_tools_where_its_server_has_them() -> None:
    gpt = ResponsesModel("openai/gpt-5", model="gpt-5", api_base="http://localhost")
    assert dialect_for(gpt).name == "freeform"
    assert dialect_for(gpt, preferred="tool_call").name == "tool_call"
    assert AS_IT_IS.after("No such model") is None


async def test_log_probabilities_are_asked_for_and_come_with_their_text(
    model: ResponsesModel, server: ModelServer
) -> None:
    server.reply("It is", " 42.")
    events = await collect(model, sampling=Sampling(logprobs=1))
    assert "message.output_text.logprobs" in server.requests[0].body["include"]
    assert server.requests[0].body["top_logprobs"] == 1
    tokens = [token for event in events if isinstance(event, TokenLogprobs) for token in event.tokens]
    assert [token.token for token in tokens] == ["It", " is", " 42", "."]
    assert all(token.bytes == list(token.token.encode()) and len(token.top_logprobs) == 1 for token in tokens)


async def test_log_probabilities_of_a_message_that_comes_as_a_whole_are_read() -> None:
    token = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [{"token": "No", "logprob": -1.5}]}
    odd: list[Any] = [3, {"token": "x"}, {"token": "y", "logprob": "-1"}, {"token": "z", "logprob": True}]
    item = {"type": "message", "content": [{"type": "output_text", "text": "Hi", "logprobs": [*odd, token]}]}
    body = json.dumps({"output": [item], "status": "completed"}).encode()
    events = ResponsesReading().whole(body)
    top = TopLogprob("No", -1.5, [78, 111])
    assert events[:2] == [TokenLogprobs([TokenLogprob("Hi", -0.5, [72, 105], [top])]), TextDelta("Hi")]

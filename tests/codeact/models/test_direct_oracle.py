"""The direct adapter reads every answer in the same way as the official client."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI

from codeact.model import Finish, ModelEvent, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta, Usage
from codeact.models.openai_compatible.answer import Answer
from codeact.models.openai_compatible.errors import Refused


class Pieces(httpx.SyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


def oracle(pieces: list[bytes]) -> str:
    """The text that the official client reads."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Pieces(pieces))

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        OpenAI(base_url="http://x/v1", api_key="k", http_client=http, max_retries=0) as client,
    ):
        stream = client.chat.completions.create(model="x", messages=[], stream=True)
        texts = [_text(chunk.choices[0].delta) for chunk in stream if chunk.choices]
    joined = "".join(texts)
    return joined.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _text(delta: Any) -> str:
    content = getattr(delta, "content", None)
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    return (content or "") + (getattr(delta, "refusal", None) or "")


def read(pieces: list[bytes]) -> list[ModelEvent]:
    answer = Answer()
    events = [event for piece in pieces if not answer.is_over for event in answer.feed(piece)]
    return events + answer.finish()


def said(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


ODD = st.one_of(
    st.none(), st.floats(), st.integers(), st.text(max_size=3), st.just([]), st.just({}), st.just([[1], {}])
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def deltas(draw: st.DrawFn) -> dict[str, Any]:
    text = draw(TEXT)
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": text}]
    delta = draw(
        st.sampled_from(
            [
                {"content": text},
                {"content": text, "role": "assistant", "audio": None, "tool_calls": None},
                {"content": parts},
                {"content": None, "refusal": text},
                {"content": None, "reasoning_content": "hm"},
                {"content": text, "reasoning": "hm"},
                {"content": text, "reasoning_content": None, "reasoning_details": [{"text": 1}]},
                {},
            ]
        )
    )
    return {**delta, **draw(st.dictionaries(st.sampled_from(["odd", "annotations", "provider"]), ODD, max_size=2))}


@st.composite
def chunks(draw: st.DrawFn) -> list[str]:
    """The JSON of each chunk; an emoji may be cut into halves."""
    result = []
    for delta in draw(st.lists(deltas(), max_size=5)):
        usage = draw(st.sampled_from([None, {"prompt_tokens": 3.0, "completion_tokens": 2.5, "cost": "free"}, {}, 7]))
        choice = {"index": draw(st.sampled_from([0, 0.0, None])), "delta": delta, "finish_reason": None, "logprobs": []}
        chunk = {"id": draw(ODD), "choices": [choice], "usage": usage, "created": 1.5, "model": None}
        result.append(json.dumps(chunk, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))))
    if draw(st.booleans()):
        result += ['{"choices":[{"delta":{"content":"\\ud83d"}}]}', '{"choices":[{"delta":{"content":"\\ude00"}}]}']
    result.append(json.dumps({"choices": [{"delta": {}, "finish_reason": draw(st.sampled_from(["stop", "eos"]))}]}))
    if draw(st.booleans()):
        result.append(json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}))
    return result


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines: list[str] = []
    for chunk in draw(chunks()):
        lines += draw(st.sampled_from([[], [": comment"], ["event: message"], ["odd"], ["retry: 5"]]))
        colon = draw(st.sampled_from(["data: ", "data:"]))
        lines += [colon + line for line in chunk.split("\n")] + [""]
    done = draw(st.sampled_from([[], ["data: [DONE]", ""], ["data: [DONE]"]]))
    body = end.join([*lines, *done]).encode() + draw(st.sampled_from([b"", end.encode()]))
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=8)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@settings(deadline=None, max_examples=60)
@given(streams())
def test_what_the_official_client_reads_as_an_answer_is_read_as_that_answer(pieces: list[bytes]) -> None:
    events = read(pieces)
    assert said(events) == oracle(pieces)
    assert Finish("stop") in events


@settings(deadline=None, max_examples=60)
@given(streams())
def test_the_answer_is_the_same_however_its_bytes_are_cut(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    assert read([body]) == read(pieces) == read([body[at : at + 1] for at in range(len(body))])


def event(**chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


STOP = event(choices=[{"delta": {}, "finish_reason": "stop"}])


def test_the_last_event_needs_no_empty_line() -> None:
    assert read([event(choices=[{"delta": {"content": "a"}}]), STOP.rstrip()]) == [TextDelta("a"), Finish("stop")]


def test_usage_may_be_in_floats() -> None:
    usage = {"prompt_tokens": 3.0, "completion_tokens": 2.0, "prompt_tokens_details": {"cached_tokens": None}}
    assert read([STOP, event(choices=[], usage=usage)])[-1] == Usage(input_tokens=3, output_tokens=2)


def test_thinking_parts_are_reasoning() -> None:
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "42"}]
    events = read([event(choices=[{"delta": {"content": content}}]), STOP])
    assert events == [ReasoningDelta("hm"), TextDelta("42"), Finish("stop")]


def test_half_an_emoji_becomes_the_replacement_character() -> None:
    answer = [event(choices=[{"delta": {"content": "a\ud83d"}}]), event(choices=[{"delta": {"content": "b"}}])]
    assert said(read([*answer, STOP])) == "a\ufffdb"


def test_a_whole_completion_is_read_as_an_answer() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    message = {"role": "assistant", "content": "It is 42."}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}).encode()
    expected = [TextDelta("It is 42."), Finish("stop"), Usage(input_tokens=3, output_tokens=2)]
    assert read([b"\n", body[:9], body[9:]]) == expected


def test_a_call_in_pieces_is_one_call() -> None:
    calls = [
        {"index": 0, "id": "call_1", "function": {"name": "python", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"code": '}},
        {"index": 0, "function": {"arguments": '"1"}'}},
    ]
    events = read([*(event(choices=[{"delta": {"content": None, "tool_calls": [call]}}]) for call in calls), STOP])
    assert events == [
        ToolCallDelta(0, "", "python", "call_1"),
        ToolCallDelta(0, '{"code": ', "python", "call_1"),
        ToolCallDelta(0, '"1"}', "python", "call_1"),
        ToolCall("python", '{"code": "1"}', "call_1"),
        Finish("stop"),
    ]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("tool_calls", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("MAX_TOKENS", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("error", "error"),
        ("abort", "error"),
    ],
)
def test_each_server_has_words_of_its_own_for_the_end(reason: str, finish: str) -> None:
    assert read([event(choices=[{"delta": {"content": "a"}, "finish_reason": reason}])])[-1] == Finish(finish)  # type: ignore[arg-type]


def test_an_empty_finish_reason_is_none() -> None:
    first = event(choices=[{"delta": {"content": "a"}, "finish_reason": ""}])
    assert read([first, STOP]) == [TextDelta("a"), Finish("stop")]


def test_what_came_in_one_piece_with_an_error_is_told_before_it() -> None:
    answer = Answer()
    piece = event(choices=[{"delta": {"content": "a"}}]) + event(error={"message": "out of memory", "code": 500})
    assert answer.feed(piece) == [TextDelta("a")]
    assert answer.is_over
    with pytest.raises(Refused):
        answer.finish()

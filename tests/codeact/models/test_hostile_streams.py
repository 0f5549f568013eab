"""Streams of a hostile provider: each reader ends with an answer or an error of the table, and is bounded."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from codeact.model import Sampling, ToolCallDelta
from codeact.models.openai_compatible.answer import Answer, Answering
from codeact.models.openai_compatible.errors import NoCompletion, Refused, StreamBroken
from codeact.models.responses_api.reading import MAX_ITEMS, MAX_REASONING_CHARS, ResponsesReading
from codeact.models.responses_api.request import AS_IT_IS
from codeact.models.responses_api.socket_client import SocketAnswer
from codeact.models.shared.reading import MAX_ARGUMENTS_CHARS, MAX_CALLS

Make = Callable[[], Answering]


def sse(event: Any) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def frame(event: Any) -> bytes:
    return json.dumps(event).encode()


READERS: dict[str, tuple[Make, Callable[[Any], bytes]]] = {
    "chat": (Answer, sse),
    "responses": (lambda: Answer(ResponsesReading()), sse),
    "socket": (lambda: SocketAnswer(Sampling(), AS_IT_IS), frame),
}
KINDS = [
    *("response.created", "response.output_item.added", "response.output_text.delta", "response.refusal.delta"),
    *("response.function_call_arguments.delta", "response.custom_tool_call_input.delta", "response.output_item.done"),
    *("response.reasoning_text.delta", "response.reasoning_summary_text.delta", "response.completed"),
    *("response.incomplete", "response.failed", "error", "codeact:odd", "", "[DONE]"),
]
ITEM_KINDS = ["message", "reasoning", "function_call", "custom_tool_call", "odd", None, 7]
NAMES = [
    *("type", "output_index", "item_id", "item", "delta", "response", "id", "output", "content", "summary", "text"),
    *(
        "call_id",
        "name",
        "arguments",
        "input",
        "encrypted_content",
        "summary_index",
        "usage",
        "status",
        "error",
        "code",
    ),
    *("choices", "message", "finish_reason", "tool_calls", "function", "index", "reasoning_content", "input_tokens"),
    *(
        "reasoning_details",
        "thinking_blocks",
        "code",
        "incomplete_details",
        "reason",
        "headers",
        "retry-after",
        "phase",
    ),
]
VALUES: list[Any] = ["", "text", "\ud800", "x" * 300, "rs_1", 0, 1, -1, 1.5, 2**70, True, None, [], {}, "429", 500]


def odd(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON with names that the readers look for."""
    choice = rng.random()
    if depth > 4 or choice < 0.4:
        return rng.choice([*VALUES, *KINDS, *ITEM_KINDS])
    if choice < 0.6:
        return [odd(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(NAMES): odd(rng, depth + 1) for _ in range(rng.randrange(8))}


def event(rng: random.Random) -> Any:
    """An event of either API with some of its fields, any of them odd, in any order."""
    if rng.random() < 0.1:
        return odd(rng)
    fields: dict[str, Any] = {"type": rng.choice(KINDS), "output_index": rng.choice([0, 1, 2, None]), "delta": "a"}
    fields["item"] = {"type": rng.choice(ITEM_KINDS), "id": rng.choice(["i", "j", 3]), "call_id": "c", "name": "python"}
    fields["choices"] = [{"delta": {"content": "a", "tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}}]
    fields["response"] = {"id": "r", "status": "completed", "output": [fields["item"]]}
    for name in list(fields):
        if rng.random() < 0.3:
            del fields[name]
    for _ in range(rng.randrange(3)):
        fields[rng.choice(NAMES)] = odd(rng)
    return fields


@pytest.mark.parametrize("name", READERS)
def test_any_events_in_any_order_end_in_an_answer_or_an_error_of_the_table(name: str) -> None:
    make, written = READERS[name]
    for seed in range(400):
        rng = random.Random(seed)
        answer = make()
        try:
            for _ in range(rng.randrange(1, 30)):
                answer.feed(written(event(rng)))
                if answer.is_over:
                    break
            answer.finish()
        except (Refused, StreamBroken, NoCompletion):
            continue
        if isinstance(answer, SocketAnswer):
            json.dumps(answer.reply)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 50_000, b"\xff" * 1_000, b'"\\ud800"', b"1e999", b"NaN"])
def test_deep_or_broken_json_is_an_error_of_the_table(name: str, body: bytes) -> None:
    answer = READERS[name][0]()

    def read() -> None:
        answer.feed(b"data: " + body + b"\n\n" if name != "socket" else body)
        answer.finish()

    with pytest.raises((Refused, StreamBroken, NoCompletion)):
        read()


@pytest.mark.parametrize("name", ["responses", "socket"])
def test_what_one_answer_keeps_has_a_number(name: str) -> None:
    make, written = READERS[name]
    answer = make()
    thought = {"type": "reasoning", "encrypted_content": "x" * 200_000}
    done = {"type": "response.output_item.done", "item": thought}
    kept = [answer.feed(written({**done, "output_index": number})) for number in range(20)]
    kept.append(answer.feed(written({"type": "response.output_text.delta", "output_index": 50, "delta": "a"})))
    assert MAX_REASONING_CHARS / 2 < len(str(kept)) < 2 * MAX_REASONING_CHARS
    delta = written({"type": "response.function_call_arguments.delta", "item_id": "c", "delta": "x" * 100_000})
    pieces = [event for _ in range(30) for event in answer.feed(delta) if isinstance(event, ToolCallDelta)]
    assert sum(len(piece.arguments) for piece in pieces) == MAX_ARGUMENTS_CHARS

    def call(number: int) -> set[int]:
        item = {"type": "function_call", "call_id": f"c{number}", "name": "python", "arguments": "{}"}
        whole = {"type": "response.output_item.done", "output_index": 100 + number, "item": item}
        return {event.index for event in answer.feed(written(whole)) if isinstance(event, ToolCallDelta)}

    left = MAX_ITEMS - 22
    assert len(set.union(*(call(number) for number in range(left)))) < MAX_CALLS
    with pytest.raises(StreamBroken, match=f"over {MAX_ITEMS} items"):
        call(left)


def test_ids_that_are_repeated_are_one_item_each_time_they_are_announced_by_number() -> None:
    answer = SocketAnswer(Sampling(), AS_IT_IS)
    for number in (0, 1):
        place = {"output_index": number, "item_id": "same"}
        item = {"type": "message", "id": "same", "content": []}
        answer.feed(frame({"type": "response.output_item.added", **place, "item": item}))
        answer.feed(frame({"type": "response.output_text.delta", **place, "delta": str(number)}))
    answer.feed(frame({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}}))
    assert answer.reply == [{"type": "message", "role": "assistant", "content": "01"}]


def test_deltas_that_name_their_item_instead_of_numbering_it_are_told_apart() -> None:
    """llama.cpp sends no `output_index`."""
    answer = SocketAnswer(Sampling(), AS_IT_IS)
    for call_id in ("fc_1", "fc_2"):
        item = {"type": "function_call", "call_id": call_id, "name": "python", "arguments": ""}
        answer.feed(frame({"type": "response.output_item.added", "item": item}))
        answer.feed(frame({"type": "response.function_call_arguments.delta", "item_id": call_id, "delta": call_id}))
        answer.feed(frame({"type": "response.output_item.done", "item": {**item, "arguments": call_id}}))
    answer.feed(frame({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}}))
    assert [(item["call_id"], item["arguments"]) for item in answer.reply or ()] == [("fc_1",) * 2, ("fc_2",) * 2]

"""A hostile kernel can send anything: messages are validated, and invalid ones raise a documented error."""

import json
import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_pool.kernel.messages import to_output, to_reply
from sandbox_pool.kernel.session import Message
from sandbox_pool.outputs import ClearOutput, DisplayData, Error, ExecuteResult, Stream, UpdateDisplayData

REJECTED = (ValueError, msgspec.MsgspecError, RecursionError)


def message(kind: str, content: Any, metadata: Any = None) -> Message:
    return Message(kind, "parent", json.dumps(metadata or {}).encode(), json.dumps(content).encode())


def decoded(shown: DisplayData) -> Any:
    return json.loads(msgspec.json.encode(shown.data))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("stream", {"name": "stdlog", "text": "x"}),
        ("stream", {"name": "stdout", "text": 1}),
        ("stream", ["stdout", "x"]),
        ("display_data", {"data": [], "metadata": {}}),
        ("display_data", {"data": {}, "metadata": None}),
        ("update_display_data", {"data": {}, "metadata": {}}),
        ("execute_result", {"data": {}, "metadata": {}, "execution_count": "one"}),
        ("execute_result", {"data": {}, "metadata": {}, "execution_count": 2**63}),
        ("execute_result", {"data": {}, "metadata": {}, "execution_count": -1}),
        ("error", {"ename": "E", "evalue": "", "traceback": "a string"}),
        ("clear_output", {"wait": "no"}),
    ],
)
def test_a_content_of_the_wrong_shape_is_rejected(kind: str, content: Any) -> None:
    with pytest.raises(REJECTED):
        to_output(message(kind, content))


def test_each_type_of_output_becomes_its_value() -> None:
    data = {"text/plain": "x"}
    transient = {"display_id": "id"}
    assert to_output(message("display_data", {"data": data, "metadata": {}, "transient": transient})) == DisplayData(
        data, {}, "id"
    )
    assert to_output(
        message("update_display_data", {"data": data, "metadata": {}, "transient": transient})
    ) == UpdateDisplayData(data, "id", {})
    assert to_output(message("execute_result", {"data": data, "metadata": {}, "execution_count": 7})) == ExecuteResult(
        data, {}, 7
    )
    assert to_output(message("error", {"ename": "E", "evalue": "v", "traceback": ["t"]})) == Error("E", "v", ["t"])
    assert to_output(message("clear_output", {"wait": True})) == ClearOutput(wait=True)
    assert to_output(message("comm_open", {"comm_id": "x"})) is None


def test_what_is_no_content_of_its_mime_type_is_left_out() -> None:
    data = {"text/plain": "x", "text/html": ["<b>"], "application/json": {"a": [1]}, "image/png": None}
    shown = to_output(message("display_data", {"data": data, "metadata": {}}))
    assert isinstance(shown, DisplayData)
    assert decoded(shown) == {"text/plain": "x", "application/json": {"a": [1]}}


def test_values_are_such_that_every_encoder_and_database_takes_them() -> None:
    data = {"application/json": {"nul\0key": 2**80, "text": "\ud800"}, "text/plain": "a\ud83d"}
    shown = to_output(message("display_data", {"data": data, "metadata": {}}))
    assert isinstance(shown, DisplayData)
    assert decoded(shown) == {
        "application/json": {"nul\0key": float(2**80), "text": "\ufffd"},
        "text/plain": "a\ufffd",
    }
    assert "\n" not in msgspec.json.encode(shown).decode()


def test_json_is_kept_as_it_came_on_one_line_and_never_becomes_objects() -> None:
    content = b'{"data":{"application/json":{"a":\n [1,\r\n2]}},"metadata":{}}'
    shown = to_output(Message("display_data", "parent", b"{}", content))
    assert isinstance(shown, DisplayData)
    assert isinstance(shown.data["application/json"], msgspec.Raw)
    again = msgspec.json.decode(msgspec.json.encode(shown), type=DisplayData)
    assert isinstance(again.data["application/json"], msgspec.Raw)
    assert bytes(again.data["application/json"]) == b'{"a":[1,2]}'


def test_json_of_too_many_lists_is_named_instead_of_kept_and_metadata_of_many_values_dropped() -> None:
    content = (
        b'{"data":{"application/json":[' + b"[]," * 1_000_000 + b'0]},"metadata":{"a":[' + b"[]," * 2_000 + b"0]}}"
    )
    shown = to_output(Message("display_data", "parent", b"{}", content))
    assert isinstance(shown, DisplayData)
    assert "more than 100,000 lists and objects" in shown.data["application/json"]
    assert shown.metadata == {}


@pytest.mark.parametrize("kind", ["error", "clear_output"])
def test_other_contents_of_many_values_are_rejected_before_they_are_decoded(kind: str) -> None:
    content = b'{"ename":"E","evalue":"","traceback":[' + b'"",' * 100_000 + b'""]}'
    with pytest.raises(REJECTED):
        to_output(Message(kind, "parent", b"{}", content))


@pytest.mark.parametrize("depth", [100, 900, 100_000])
def test_a_value_nested_too_deeply_is_rejected(depth: int) -> None:
    content = b'{"data":{"application/json":' + b"[" * depth + b"]" * depth + b'},"metadata":{}}'
    with pytest.raises(REJECTED):
        to_output(Message("display_data", "parent", b"{}", content))


def test_of_an_error_too_large_the_end_of_the_traceback_is_kept() -> None:
    lines = [f"line {number} " + "x" * 1000 for number in range(1000)]
    error = to_output(message("error", {"ename": "E", "evalue": "v" * 10**6, "traceback": lines}))
    assert isinstance(error, Error)
    assert error.traceback[-1] == lines[-1]
    assert len(msgspec.json.encode(error)) < 500_000


def test_a_reply_says_whether_the_error_was_one_of_syntax() -> None:
    content = {"status": "error", "execution_count": 2, "ename": "E", "evalue": "v", "traceback": []}
    assert to_reply(message("execute_reply", content, {"syntax_error": True})).syntax_error
    reply = to_reply(message("execute_reply", content))
    assert not reply.syntax_error
    assert reply.error == Error("E", "v", [])
    assert to_reply(message("execute_reply", {"status": "ok", "execution_count": 2})).error is None


@pytest.mark.parametrize("count", [-1, 2**63, 2**70])
def test_a_count_that_no_encoder_takes_is_rejected(count: int) -> None:
    with pytest.raises(REJECTED):
        to_reply(message("execute_reply", {"status": "ok", "execution_count": count}))


def raw(kind: str, content: bytes) -> Message:
    return Message(kind, "parent", b"{}", content)


ESCAPES = st.lists(
    st.sampled_from(["\\\\", "\\ud800", "\\uDC00", "\\u0041", "\\n", "a", "ud800", '\\"', "\\ud83d\\ude00"])
)


@given(ESCAPES)
def test_halves_of_a_character_are_replaced_and_everything_else_stays(pieces: list[str]) -> None:
    text = "".join(pieces)
    whole = json.loads(f'"{text}"').encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    stream = to_output(raw("stream", f'{{"name":"stdout","text":"{text}"}}'.encode()))
    assert isinstance(stream, Stream)
    assert stream.text == whole
    shown = to_output(raw("display_data", f'{{"data":{{"application/json":["{text}"]}}}}'.encode()))
    assert isinstance(shown, DisplayData)
    assert decoded(shown) == {"application/json": [whole]}


LONG = 1_000_000
COSTLY = {
    "escapes after half a character": ("stream", b'{"name":"stdout","text":"\\ud800' + b"\\n" * LONG + b'"}'),
    "escapes in JSON": ("display_data", b'{"data":{"application/json":["\\ud800' + b"\\n" * LONG + b'"]}}'),
    "escaped backslashes": ("stream", b'{"name":"stdout","text":"\\ud800\\\\u' + b"\\\\" * LONG + b'"}'),
    "halves of characters": ("stream", b'{"name":"stdout","text":"' + b"\\ud800" * LONG + b'"}'),
    "types": ("display_data", b'{"data":{' + b",".join(b'"%d":""' % number for number in range(LONG // 5)) + b"}}"),
}


@pytest.mark.parametrize("case", COSTLY)
def test_reading_a_large_message_costs_little_more_than_decoding_it(case: str) -> None:
    kind, content = COSTLY[case]
    plain = b'{"name":"stdout","text":"' + b"\\n" * (len(content) // 2) + b'"}'

    def seconds(message: Message) -> float:
        began = time.thread_time()
        with suppress(*REJECTED):
            to_output(message)
        return time.thread_time() - began

    attempts = [(seconds(raw(kind, content)), seconds(raw("stream", plain))) for _ in range(3)]
    assert min(costly for costly, _ in attempts) < 20 * max(plain for _, plain in attempts)


def test_a_display_of_many_types_is_refused_and_one_of_many_objects_keeps_its_text() -> None:
    with pytest.raises(ValueError, match="more than 100 MIME types"):
        to_output(message("display_data", {"data": {f"a/{number}": "x" for number in range(101)}}))
    many = message("display_data", {"data": {f"a/{number}": "x" for number in range(100)}})
    assert isinstance(to_output(many), DisplayData)
    rows = [{"a": 1, "b": {}} for _ in range(60_000)]
    shown = to_output(message("display_data", {"data": {"application/json": rows, "text/plain": "60,000 rows"}}))
    assert isinstance(shown, DisplayData)
    assert decoded(shown) == {
        "text/plain": "60,000 rows\n[a display of more than 100,000 lists and objects: its text is kept]"
    }

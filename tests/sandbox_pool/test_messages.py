"""A hostile kernel can send anything: what is read is checked, the rest raises one of the documented errors."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.session import DELIM, Session

from sandbox_pool.messages import Message, TooLarge, read, to_output, to_reply
from sandbox_pool.outputs import ClearOutput, DisplayData, Error, ExecuteResult, Stream, UpdateDisplayData

REJECTED = (ValueError, msgspec.MsgspecError, RecursionError)
LIMIT_BYTES = 1_000_000

session = Session(key=b"key")


def frames(kind: str, content: Any, *, parent_id: str = "parent") -> list[bytes]:
    parent = {"header": {"msg_id": parent_id}}
    return [b"topic", *session.serialize(session.msg(kind, content, parent=parent))]


def message(kind: str, content: Any, metadata: Any = None) -> Message:
    return Message(kind, "parent", json.dumps(metadata or {}).encode(), json.dumps(content).encode())


def test_a_message_is_read_with_its_type_and_its_parent() -> None:
    received = read(session, frames("stream", {"name": "stdout", "text": "x"}), limit_bytes=LIMIT_BYTES)
    assert (received.type, received.parent_id) == ("stream", "parent")
    assert to_output(received) == Stream("stdout", "x")


def test_a_message_signed_with_another_key_is_rejected() -> None:
    with pytest.raises(ValueError, match="signature"):
        read(Session(key=b"other"), frames("stream", {}), limit_bytes=LIMIT_BYTES)


@pytest.mark.parametrize("changed", [3, 4, 5, 6])
def test_a_message_that_was_changed_is_rejected(changed: int) -> None:
    parts = frames("stream", {"name": "stdout", "text": "x"})
    parts[changed] = parts[changed].replace(b"}", b" }")
    with pytest.raises(ValueError, match="signature"):
        read(session, parts, limit_bytes=LIMIT_BYTES)


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(0, 8))
def test_garbage_is_rejected(parts: list[bytes], delimiter: int) -> None:
    parts.insert(delimiter, DELIM)
    with pytest.raises(REJECTED):
        read(session, parts, limit_bytes=LIMIT_BYTES)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_a_header_that_is_no_header_is_rejected(header: Any) -> None:
    parts = [json.dumps(header).encode(), b"{}", b"{}", b"{}"]
    with pytest.raises(REJECTED):
        read(session, [DELIM, session.sign(parts), *parts], limit_bytes=LIMIT_BYTES)


def test_a_content_past_the_limit_is_not_looked_at() -> None:
    parts = frames("stream", {"name": "stdout", "text": "x" * 100})
    parts[2] = b"not even the signature"
    with pytest.raises(TooLarge) as caught:
        read(session, parts, limit_bytes=100)
    assert caught.value.size_bytes == len(parts[6])


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
    assert shown.data == {"text/plain": "x", "application/json": {"a": [1]}}


def test_values_are_such_that_every_encoder_and_database_takes_them() -> None:
    data = {"application/json": {"nul\0key": 2**80, "text": "\ud800"}, "text/plain": "a\ud83d"}
    shown = to_output(message("display_data", {"data": data, "metadata": {}}))
    assert isinstance(shown, DisplayData)
    assert shown.data == {"application/json": {"nulkey": float(2**80), "text": "\ufffd"}, "text/plain": "a\ufffd"}
    msgspec.json.encode(shown)


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

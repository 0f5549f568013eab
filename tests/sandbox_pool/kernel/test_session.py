"""Frames written by a kernel's own library are read; forged or garbled ones raise a documented error."""

import json
from typing import Any

import jupyter_client.session
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_pool.kernel.session import DELIMITER, Session

REJECTED = (ValueError, msgspec.MsgspecError, RecursionError)

kernel = jupyter_client.session.Session(key=b"key")
session = Session("key", "hmac-sha256")


def frames(content: Any, *, parent_id: str = "parent") -> list[bytes]:
    message = kernel.msg("stream", content, parent={"header": {"msg_id": parent_id}})
    return [b"topic", *kernel.serialize(message)]


def test_a_message_is_read_with_its_type_and_its_parent() -> None:
    received = session.read(frames({"name": "stdout", "text": "x"}))
    assert (received.type, received.parent_id) == ("stream", "parent")
    assert json.loads(received.content) == {"name": "stdout", "text": "x"}


def test_a_request_is_what_the_library_of_kernels_takes() -> None:
    message_id, request = session.request("execute_request", {"code": "é"})
    received = kernel.deserialize(kernel.feed_identities(request)[1])
    assert (received["msg_id"], received["msg_type"]) == (message_id, "execute_request")
    assert received["content"] == {"code": "é"}
    assert session.is_ours(message_id)
    assert not Session("key", "hmac-sha256").is_ours(message_id)


def test_a_message_signed_with_another_key_is_rejected() -> None:
    with pytest.raises(ValueError, match="signature"):
        Session("other", "hmac-sha256").read(frames({}))


@pytest.mark.parametrize("changed", [3, 4, 5, 6])
def test_a_message_that_was_changed_is_rejected(changed: int) -> None:
    parts = frames({"name": "stdout", "text": "x"})
    parts[changed] = parts[changed].replace(b"}", b" }")
    with pytest.raises(ValueError, match="signature"):
        session.read(parts)


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(0, 8))
def test_garbage_is_rejected(parts: list[bytes], delimiter: int) -> None:
    parts.insert(delimiter, DELIMITER)
    with pytest.raises(REJECTED):
        session.read(parts)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_a_header_that_is_no_header_is_rejected(header: Any) -> None:
    parts = [json.dumps(header).encode(), b"{}", b"{}", b"{}"]
    with pytest.raises(REJECTED):
        session.read([DELIMITER, kernel.sign(parts), *parts])

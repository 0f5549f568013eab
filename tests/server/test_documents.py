"""However large a stored document is, it is encoded in short steps, with the same JSON as the result."""

from typing import Any

import msgspec
import pytest

from codeact import events as e
from codeact.server.blob_urls import with_urls
from codeact.server.documents import document_pieces, document_response
from codeact.server.public_view import shared_conversation
from codeact.server.requests.pages import listed
from codeact.store.records import Share, StoredResponse
from sandbox_pool.outputs import DisplayData, Stream
from tests.loop_steps import measured_steps

pytestmark = pytest.mark.anyio

MOST_S = 0.05
BLOB = "0" * 64


def answer(blocks: int, size: int) -> e.Response:
    response = e.Response(id="resp_1", created_at=0, model="m", instructions="x" * size)
    response.output.append(e.Message(id="msg_1", content=[e.OutputText('"' * size)]))
    response.output.append(e.FunctionCall(id="fc_1", call_id="c", name="f", arguments="\n" * size))
    for number in range(blocks):
        call = e.CodeInterpreterCall(id=f"ci_{number}", container_id="", code="x" * size)
        call.outputs = [e.LogsOutput(f"; all of them: blob:{BLOB}]"), e.ImageOutput(f"blob:{BLOB}")] * 10
        call.notebook_outputs = [Stream("stdout", '"' * size), DisplayData({"text/html": "\0" * size}, {"a": {}})]
        response.output.append(call)
    return response


LARGE = answer(3, 3_000_000)
QUESTION = e.InputMessage(id="msg_0", role="user", content=[{"type": "input_text", "text": '"' * 4_000_000}] * 3)
MANY = [e.Message(id=f"msg_{number}", content=[e.OutputText("x")]) for number in range(50_000)]
STORED = StoredResponse(LARGE, [QUESTION])
DOCUMENTS: dict[str, Any] = {
    "a response": LARGE,
    "a small response": answer(1, 10),
    "a page of items": listed([QUESTION, *LARGE.output], has_more=False),
    "many items": listed(MANY, has_more=False),
    "a turn": STORED,
    "a completion": {"id": "x", "choices": [{"message": {"content": "\n" * 20_000_000}}], "n": None},
    "names where it is cut": {"a": f"; all of them: blob:{BLOB}]" * 5_000, "b": ";" * 1_000_000},
    "JSON that code displayed": {"data": {"application/json": msgspec.Raw(b"[" + b"1," * 3_000_000 + b"1]")}, "a": [1]},
    "nothing": {"a": [], "b": {}, "c": None},
}


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_a_stored_document_is_encoded_in_short_steps_and_as_ever(name: str) -> None:
    document = DOCUMENTS[name]
    with measured_steps() as steps:
        pieces = [piece async for piece in document_pieces(document)]
    assert steps.longest_s < MOST_S
    shown = {"response": LARGE, "input": [QUESTION]} if document is STORED else document
    assert b"".join(pieces) == with_urls(msgspec.json.encode(shown))


async def test_a_shared_conversation_is_made_and_encoded_in_short_steps() -> None:
    with measured_steps() as steps:
        view = await shared_conversation([STORED], Share("t", "o", "c", "r", None, 0.0), title="t", created_at=0)
        pieces = [piece async for piece in document_pieces(view)]
    assert steps.longest_s < MOST_S
    assert b"".join(pieces) == msgspec.json.encode(view)


async def test_a_small_document_is_sent_with_its_length_and_a_large_one_in_pieces() -> None:
    small, large = await document_response({"a": "x"}), await document_response(LARGE)
    assert small.headers["content-length"] == "9"
    assert "content-length" not in large.headers

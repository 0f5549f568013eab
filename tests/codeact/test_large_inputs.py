"""However large the data that a stranger makes us store, encode or read, the event loop still serves others."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from codeact import events as e
from codeact.exports import archive_pieces
from codeact.runs.event_log import EventLog
from codeact.runs.frames import encoded_size, is_large, light
from codeact.store.records import Blob, Conversation, StoredResponse
from codeact.store.search.search_fields import SearchFields
from sandbox_pool.outputs import DisplayData, Error, Output, Stream
from tests.loop_steps import measured_steps

pytestmark = pytest.mark.anyio

MOST_S = 0.05
TEXT = '"\x1b\n' * 1_500_000
"""A text of 15 MB of JSON. A kernel may display at most 10 MB at a time."""
OUTPUTS: dict[str, Output] = {
    "text": Stream("stdout", TEXT),
    "display": DisplayData({"text/html": TEXT}, {}),
    "error": Error("E", "v", [TEXT]),
}


def response(blocks: int) -> e.Response:
    """A response of the largest possible size: each block of code has 2 MB of outputs in each of their two forms."""
    found = e.Response(id="resp_1", created_at=0, model="m")
    for number in range(blocks):
        call = e.CodeInterpreterCall(id=f"ci_{number}", container_id="", outputs=[e.LogsOutput('"' * 60_000)] * 15)
        call.notebook_outputs = [Stream("stdout", '"' * 60_000)] * 15
        found.output.append(call)
    return found


@pytest.mark.parametrize("kind", OUTPUTS)
async def test_a_large_output_is_encoded_in_short_steps(kind: str) -> None:
    log = EventLog("resp_1", None)
    event = e.CodeOutput(item_id="ci_1", output_index=0, output=OUTPUTS[kind])
    with measured_steps() as steps:
        assert is_large(event)
        log.append(await light(event))
    assert 0 < steps.longest_s < MOST_S
    (frame,) = log._frames
    assert msgspec.json.decode(frame) == msgspec.to_builtins(event)


async def test_the_end_of_a_large_response_is_encoded_in_short_steps() -> None:
    event = e.ResponseCompleted(response=response(20))
    with measured_steps() as steps:
        lightened = await light(event)
        assert await encoded_size(event.response) > 70_000_000
    assert 0 < steps.longest_s < MOST_S
    assert e.encode(lightened) == e.encode(event)


async def test_a_large_conversation_is_archived_in_short_steps() -> None:
    async def responses() -> AsyncIterator[StoredResponse]:
        yield StoredResponse(response(20), [])

    async def get_blob(sha256: str) -> Blob:
        return Blob(bytes(20_000_000), "image/png")

    conversation = Conversation("conv_1", "", 0.0, 0.0, {}, None, facets=SearchFields(blobs=["0" * 64]))
    size_bytes = 0
    with measured_steps() as steps:
        async for piece in archive_pieces(conversation, responses(), get_blob):
            size_bytes += len(piece)
    assert size_bytes > 90_000_000
    assert 0 < steps.longest_s < MOST_S

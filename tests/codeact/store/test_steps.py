"""Reading a long thread from the database takes short steps of the event loop."""

import pytest

from codeact import events as e
from codeact.store import Store, StoredResponse
from sandbox_pool.outputs import DisplayData
from tests.loop_steps import measured_steps

pytestmark = pytest.mark.anyio

MOST_S = 0.05


def large(number: int) -> StoredResponse:
    call = e.CodeInterpreterCall(id=f"ci_{number}", container_id="")
    call.notebook_outputs = [DisplayData({"text/plain": "x", "text/html": "<b>"}, {"a": 1})] * 3_000
    previous = f"resp_{number - 1}" if number else None
    response = e.Response(
        id=f"resp_{number}", created_at=0, model="m", status="completed", previous_response_id=previous
    )
    response.output = [call]
    said = e.InputMessage(id=f"msg_{number}", role="user", content=[{"type": "input_text", "text": "x" * 100_000}])
    return StoredResponse(response, [said])


async def test_a_thread_of_many_large_items_is_read_in_short_steps(store: Store) -> None:
    given = [large(number) for number in range(12)]
    last = given[-1].response.id
    await store.history.add(given, owner="me", created_at=0.0, title=None, tags=[], metadata={}, last_response_id=last)
    await store.thread(given[0].response.id, owner="me")  # Once, msgspec learns what the types of items are.
    with measured_steps() as steps:
        thread = await store.thread(last, owner="me")
    assert len(thread) == 12
    assert sum(len(one.response.output) for one in thread) == 12
    assert 0 < steps.longest_s < MOST_S

"""Which of a provider's own fields of its reasoning are kept."""

from typing import Any

import pytest

from codeact import events as e
from codeact.agent.reasoning_items import ReasoningItems

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "odd", ["\ud800", 10**30, -(10**30), [{"text": "a\udc00"}], {"a\0": 1}, {"\ud800": 1}, [[[2**63]]]]
)
async def test_a_field_that_no_document_can_hold_is_left_out_and_the_others_are_kept(odd: Any) -> None:
    emitted: list[e.Event] = []

    async def emit(event: e.Event) -> None:
        emitted.append(event)

    response = e.Response(id="resp_1", created_at=1, model="m")
    items = ReasoningItems(response, emit)
    good = {"signature": "grüß 😀", "numbers": [0, 1.5, None, True, 2**63 - 1]}
    await items.keep({"details": odd, **good}, model="m")
    await items.close()
    (item,) = response.output
    assert isinstance(item, e.Reasoning)
    assert item.kept is not None
    assert item.kept.data == good
    assert all(e.encode(event) for event in emitted)

"""Long conversations are read in parts: pages cover the whole, and memory use does not grow with the conversation."""

import gc
import tracemalloc
from collections.abc import AsyncIterator, Sequence

import pytest

from codeact import events as e
from codeact.errors import InvalidRequest, NotFound
from codeact.ids import new_id
from codeact.runs.forking import AT_ONCE, fork
from codeact.store import Conversation, Store, StoredResponse

pytestmark = pytest.mark.anyio

WORDS = 20_000


async def conversation_of(
    store: Store, turns: int, *, owner: str = "ann", chars: int = 10, asks: str = "question"
) -> Conversation:
    """A conversation with this many turns, each a question and a longer answer, and with two waiting items."""
    responses: list[StoredResponse] = []
    for number in range(turns):
        response = e.Response(
            id=new_id("resp"),
            created_at=float(number),
            model="test",
            status="completed",
            previous_response_id=responses[-1].response.id if responses else None,
            output=[e.Message(id=new_id("msg"), status="completed", content=[e.OutputText("a" * chars)])],
        )
        responses.append(StoredResponse(response, [said(f"{asks} {number}")]))
    last_id = responses[-1].response.id if responses else None
    conversation = await store.history.add(
        responses, owner=owner, title="long", tags=[], metadata={}, created_at=1.0, last_response_id=last_id
    )
    await store.conversation_items.add(conversation.id, [said("one more"), said("and another")], owner=owner)
    return conversation


def said(text: str) -> e.InputMessage:
    return e.InputMessage(id=new_id("msg"), role="user", content=[{"type": "input_text", "text": text}])


async def ids_of(store: Store, conversation: Conversation, **page: object) -> tuple[list[str], bool]:
    asked = {"after": None, "limit": 100, "order": "asc"} | page
    items, has_more = await store.turns.items(conversation.id, owner="ann", **asked)  # type: ignore[arg-type]
    return [item.id for item in items], has_more


async def test_pages_of_items_are_stretches_of_the_whole_list(store: Store) -> None:
    conversation = await conversation_of(store, 7)
    whole, has_more = await ids_of(store, conversation)
    assert (len(whole), has_more) == (16, False)
    assert (await ids_of(store, conversation, order="desc")) == (whole[::-1], False)
    for at, after in enumerate(whole):
        left = whole[at + 1 :]
        assert await ids_of(store, conversation, after=after, limit=3) == (left[:3], len(left) > 3)
        left = whole[:at][::-1]
        assert await ids_of(store, conversation, after=after, limit=3, order="desc") == (left[:3], len(left) > 3)
    with pytest.raises(InvalidRequest, match="is not in this list"):
        await ids_of(store, conversation, after="msg_no")
    with pytest.raises(NotFound):
        await store.turns.items(conversation.id, owner="bob", after=None, limit=1, order="asc")


async def test_one_item_is_found_wherever_it_is_and_no_other_owners(store: Store) -> None:
    conversation = await conversation_of(store, 3)
    whole, _ = await ids_of(store, conversation)
    for item_id in whole:
        assert (await store.turns.item(conversation.id, item_id, owner="ann")).id == item_id
    other = await conversation_of(store, 1, owner="bob")
    for conversation_id, owner in [(conversation.id, "bob"), (other.id, "bob"), ("conv_no", "ann")]:
        with pytest.raises(NotFound):
            await store.turns.item(conversation_id, whole[0], owner=owner)


async def test_one_item_is_read_without_its_neighbours(store: Store) -> None:
    output = [e.Message(id=new_id("msg"), status="completed", content=[e.OutputText("a" * 100_000)]) for _ in range(50)]
    response = e.Response(id=new_id("resp"), created_at=1.0, model="test", status="completed", output=list(output))
    question = said("one")
    conversation = await store.history.add(
        [StoredResponse(response, [question])],
        owner="ann",
        title="large",
        tags=[],
        metadata={},
        created_at=1.0,
        last_response_id=response.id,
    )
    tracemalloc.start()
    try:
        for item_id in (output[30].id, question.id):
            assert (await store.turns.item(conversation.id, item_id, owner="ann")).id == item_id
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2_000_000  # all of it has 5 MB


async def test_a_conversation_without_responses_has_what_waits(store: Store) -> None:
    conversation = await conversation_of(store, 0)
    assert len((await ids_of(store, conversation))[0]) == 2
    assert [turn async for turn in await store.turns.stream(conversation.id, owner="ann")] == []


async def test_memory_does_not_grow_with_the_conversation(store: Store) -> None:
    short, long = [await conversation_of(store, turns, chars=WORDS) for turns in (20, 500)]
    peaks = []
    for conversation in (short, short, long):  # the first round fills what is filled once
        tracemalloc.start()
        count = await _count(await store.turns.stream(conversation.id, owner="ann"))
        await ids_of(store, conversation, limit=20)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert count == 500
    assert peaks[2] < 2 * peaks[1] + 500_000, peaks  # all of it has 10 MB


async def _count(turns: AsyncIterator[StoredResponse]) -> int:
    count = 0
    async for _ in turns:
        count += 1
    return count


async def test_a_copy_holds_a_few_responses_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    source = await conversation_of(store, 60, asks="copied")
    held: list[int] = []
    some = store.some

    def is_of_this_copy(each: object) -> bool:
        """Servers of other tests in this process hold responses, too; these are the only ones that ask so."""
        if type(each) is not StoredResponse or not each.input:  # `isinstance` would ask dead proxies.
            return False
        question = each.input[0]
        return isinstance(question, e.InputMessage) and question.content[0].get("text", "").startswith("copied ")

    async def counted(response_ids: Sequence[str], *, owner: str) -> list[StoredResponse]:
        found = await some(response_ids, owner=owner)
        gc.collect()
        held.append(sum(map(is_of_this_copy, gc.get_objects())))
        return found

    monkeypatch.setattr(store, "some", counted)
    copy = await fork(store, source.id, None, owner="ann")
    assert len(held) == 6
    assert held[0] >= AT_ONCE
    assert max(held) <= held[0] + AT_ONCE
    ids, _ = await ids_of(store, source, limit=1_000)
    copies, _ = await ids_of(store, copy, limit=1_000)
    assert len(copies) == 120
    assert not set(ids) & set(copies)
    assert copy.last_response_id is not None
    assert len(await store.thread(copy.last_response_id, owner="ann")) == 60

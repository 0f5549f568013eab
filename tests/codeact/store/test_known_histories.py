"""A turn reads what the last one added, and no more; what others have changed is read again; memory is bounded."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from codeact import events as e
from codeact.errors import CodeActError, NotFound
from codeact.store import Store
from codeact.store.documents import reading
from codeact.store.repositories import known_histories, known_threads
from codeact.store.repositories.known_histories import KnownHistories, Part
from codeact.store.repositories.threads import Moved
from tests.codeact.store.conversations import add_answer, code, message, user
from tests.codeact.store.test_history import conversation_of
from tests.codeact.store.test_store import response

pytestmark = pytest.mark.anyio


@pytest.fixture
async def other(uri: str) -> AsyncIterator[Store]:
    """Another server of the same database."""
    async with Store.connect(uri) as store:
        yield store


async def begun(store: Store, conversation_id: str, after: str | None = None) -> tuple[e.Response, Any]:
    """Begins a question at the end of the conversation, or after a response of it; returns where it attaches too."""
    while True:
        if after is None:
            at = store.threads.known(conversation_id=conversation_id, owner="ann")
            at = at or await store.threads.of_conversation(conversation_id, owner="ann")
        else:
            at = store.threads.known(response_id=after, owner="ann")
            at = at or await store.threads.of_response(after, owner="ann")
        previous = at.previous.response_id if at.previous is not None else None
        question = response(conversation=e.ConversationRef(conversation_id), previous_response_id=previous)
        try:
            await store.threads.begin(question, [user(f"after {previous}")], owner="ann", at=at)
        except Moved:
            continue
        return question, at


async def turn(store: Store, conversation_id: str, *output: e.Item, after: str | None = None) -> tuple[str, list[Any]]:
    """One turn as a run takes it; returns the response's id and what the model read. Compares it with the database."""
    question, at = await begun(store, conversation_id, after)
    read = await store.threads.history(at.previous, begun_in=conversation_id)
    assert read == await store.threads.history(at.previous)
    for index, item in enumerate(output):
        question.output.append(item)
        await store.add_item(question.id, index, item)
    question.status = "completed"
    await store.end_response(question)
    return question.id, read


async def test_the_nth_turn_decodes_as_much_as_the_second(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0

    def counted(stored: Any, kind: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return convert(stored, kind)

    convert = reading.msgspec.convert
    monkeypatch.setattr(reading.msgspec, "convert", counted)
    first = await add_answer(store, None, "a question", message("Done"), owner="ann")
    conversation_id, costs = conversation_of(first), []
    for _ in range(12):
        question, at = await begun(store, conversation_id)
        decoded = 0
        read = await store.threads.history(at.previous, begun_in=conversation_id)
        costs.append(decoded)
        item = message("Done")
        question.output.append(item)
        await store.add_item(question.id, 0, item)
        question.status = "completed"
        await store.end_response(question)
    assert len(read) == 24
    assert costs[1:] == [2] * 11


async def ended_elsewhere(store: Store, conversation_id: str, ids: list[str], items: list[str]) -> None:
    await turn(store, conversation_id, message("elsewhere"))


async def item_deleted(store: Store, conversation_id: str, ids: list[str], items: list[str]) -> None:
    await store.conversation_items.delete(conversation_id, items[1], owner="ann")


async def question_deleted(store: Store, conversation_id: str, ids: list[str], items: list[str]) -> None:
    await store.conversation_items.delete(conversation_id, items[0], owner="ann")


async def response_deleted(store: Store, conversation_id: str, ids: list[str], items: list[str]) -> None:
    await store.delete_response(ids[0], owner="ann")


async def item_added(store: Store, conversation_id: str, ids: list[str], items: list[str]) -> None:
    await store.conversation_items.add(conversation_id, [user("by the way")], owner="ann")


CHANGES: list[Callable[[Store, str, list[str], list[str]], Awaitable[None]]] = [
    ended_elsewhere,
    item_deleted,
    question_deleted,
    response_deleted,
    item_added,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("by", ["this server", "another"])
@pytest.mark.parametrize("while_answering", [True, False])
async def test_what_is_changed_meanwhile_is_read_again(
    store: Store, other: Store, change: Any, by: str, while_answering: bool
) -> None:
    first = await add_answer(store, None, "a question", message("Done"), owner="ann")
    conversation_id = conversation_of(first)
    ids = [(await turn(store, conversation_id, message("one"), code("1")))[0]]
    ids.append((await turn(store, conversation_id, message("two")))[0])
    _, read = await turn(store, conversation_id, message("three"))
    items = [item.id for item in read if item.id is not None][2:]
    changing = (other if by == "another" else store, conversation_id, ids, items)
    if while_answering and change is not ended_elsewhere:
        question, at = await begun(store, conversation_id)
        await store.threads.history(at.previous, begun_in=conversation_id)
        await change(*changing)
        question.status = "completed"
        await store.end_response(question)
    else:
        await change(*changing)
    for _ in range(2):  # `turn` compares what is read with the database.
        await turn(store, conversation_id, message("four"))


async def test_a_repeated_deletion_tells_other_servers_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation_id = conversation_of(await add_answer(store, None, "a question", message("one"), owner="ann"))
    _, read = await turn(store, conversation_id, message("two"))
    answer = read[-1]
    assert isinstance(answer, e.Message)
    await turn(store, conversation_id)
    items = store.conversation_items

    async def fails(*_: object) -> None:
        raise CodeActError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(type(items), "_change", fails)
        with pytest.raises(CodeActError):
            await items.delete(conversation_id, answer.id, owner="ann")
    with pytest.raises(NotFound):
        await items.delete(conversation_id, answer.id, owner="ann")
    _, read = await turn(store, conversation_id)
    assert answer.id not in {item.id for item in read}


async def test_a_branch_reads_what_came_before_it(store: Store) -> None:
    first = await add_answer(store, None, "a question", message("Done"), owner="ann")
    conversation_id = conversation_of(first)
    ids = [(await turn(store, conversation_id, message(str(number))))[0] for number in range(4)]
    _, whole = await turn(store, conversation_id, message("end"))
    branch, read = await turn(store, conversation_id, message("branch"), after=ids[1])
    assert read == whole[: len(read)]
    assert len(read) == 6
    _, read = await turn(store, conversation_id, after=branch)
    assert len(read) == 8
    _, again = await turn(store, conversation_id, after=ids[3])
    assert again == whole


async def test_a_deleted_conversation_is_not_held(store: Store) -> None:
    first = await add_answer(store, None, "a question", message("Done"), owner="ann")
    conversation_id = conversation_of(first)
    await turn(store, conversation_id, message("one"))
    await turn(store, conversation_id, message("two"))
    assert store.threads._known.histories.size_bytes > 0
    await store.history.delete(conversation_id, owner="ann")
    with pytest.raises(CodeActError):
        await turn(store, conversation_id, message("three"))
    assert store.threads._known.histories.size_bytes == 0


async def test_what_is_forgotten_of_a_conversation_is_its_history_too(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_threads, "MOST_CONVERSATIONS", 2)
    for _ in range(4):
        first = await add_answer(store, None, "a question", message("Done"), owner="ann")
        for number in range(2):
            await turn(store, conversation_of(first), message(str(number)))
    assert len(store.threads._known.histories) == 2


def test_memory_is_bounded_and_an_owner_has_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part.of([user("x" * 900)])
    monkeypatch.setattr(known_histories, "MOST_BYTES", 8 * part.size_bytes)
    monkeypatch.setattr(known_histories, "OF_OWNER_BYTES", 3 * part.size_bytes)
    monkeypatch.setattr(known_histories, "OF_CONVERSATION_BYTES", 2 * part.size_bytes)
    histories = KnownHistories()
    names = [f"{owner}{number}" for number, owner in enumerate(("ann", "bob", "ann", "ann", "ann", "ann"))]
    for name in names:
        histories.put(name, {"resp": part}, owner=name[:3])
    assert [name for name in names if histories.get(name)] == ["bob1", "ann3", "ann4", "ann5"]
    for number in range(20):
        histories.put(f"conv{number}", {"resp": part}, owner=f"owner{number}")
        assert histories.size_bytes <= 8 * part.size_bytes
    assert len(histories) == 8
    histories.put("conv19", {"1": part, "2": part, "3": part}, owner="owner19")
    assert not histories.get("conv19"), "it is too large"
    for number in range(20):
        histories.drop(f"conv{number}")
    assert histories.size_bytes == 0


def test_a_history_that_is_too_large_is_measured_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_histories, "OF_CONVERSATION_BYTES", 3 * Part.of([user("x" * 1_000)]).size_bytes)
    known = Part.of([user("x" * 1_000)])
    measured_ids: list[str] = []

    def read() -> Iterator[tuple[str, Any]]:
        for number in range(10):
            measured_ids.append(f"resp_{number}")
            yield measured_ids[-1], known if number == 0 else [user("x" * 1_000)]

    assert known_histories.measured(read()) == {}
    assert measured_ids == ["resp_0", "resp_1", "resp_2", "resp_3"]
    few = [("resp_0", known), ("resp_1", [user("x" * 1_000)])]
    assert list(known_histories.measured(few)) == ["resp_0", "resp_1"]


def test_many_small_values_count_as_what_they_take() -> None:
    nested = e.InputMessage(id="msg", role="user", content=[{"type": "input_text", "text": "", "x": [[]] * 10_000}])
    assert Part.of([nested]).size_bytes > 10_000 * known_histories.VALUE_BYTES

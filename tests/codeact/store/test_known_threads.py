"""A question attaches where this server stored the last answer, without a query; what others changed is noticed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from codeact import events as e
from codeact.store import Store
from codeact.store.repositories import known_threads
from codeact.store.repositories.threads import Moved
from tests.codeact.store.conversations import add_answer, code, message, user
from tests.codeact.store.plans import queries_of
from tests.codeact.store.test_history import conversation_of
from tests.codeact.store.test_store import response

pytestmark = pytest.mark.anyio


@pytest.fixture
async def other(uri: str) -> AsyncIterator[Store]:
    """Another server of the same database."""
    async with Store.connect(uri) as store:
        yield store


async def ask(store: Store, conversation_id: str, at: Any) -> e.Response:
    """Begins a question at a place."""
    question = response(conversation=e.ConversationRef(conversation_id))
    await store.threads.begin(question, [user("and then?")], owner="ann", at=at)
    return question


async def test_what_is_known_is_what_is_stored(store: Store) -> None:
    first = await add_answer(store, None, "a first question", code("1"), message("Done"), owner="ann")
    conversation_id = conversation_of(first)
    second = await add_answer(store, conversation_id, "a second question", message("Done"), owner="ann")
    known = store.threads.known(conversation_id=conversation_id, owner="ann")
    read = await store.threads.of_conversation(conversation_id, owner="ann")
    assert known is not None
    assert known.previous == read.previous
    assert known.previous is not None
    assert known.previous.response_id == second.id
    assert known.conversation is not None
    assert read.conversation is not None
    assert known.conversation.keys() == read.conversation.keys()
    for name, value in read.conversation.items():
        if name == "updated_at":  # MongoDB keeps milliseconds.
            assert abs(known.conversation[name] - value) < timedelta(milliseconds=1)
        else:
            assert known.conversation[name] == value, name
    branch = store.threads.known(response_id=first.id, owner="ann")
    assert branch is not None
    assert branch.previous == (await store.threads.of_response(first.id, owner="ann")).previous


async def test_a_question_where_this_server_answered_needs_no_query(uri: str) -> None:
    with queries_of("conversations") as conversations, queries_of("responses") as responses:
        async with Store.connect(uri) as store:
            last = await add_answer(store, None, "a first question", owner="ann")
            conversations.seen.clear()
            responses.seen.clear()
            at = store.threads.known(response_id=last.id, owner="ann")
            assert at is not None
            question = await ask(store, conversation_of(last), at)
            question.status = "completed"
            await store.end_response(question)
            assert conversations.seen == responses.seen == []
    assert store.threads.known(response_id=question.id, owner="ann") is not None


async def answered(store: Store, conversation_id: str) -> None:
    question = await ask(store, conversation_id, await store.threads.of_conversation(conversation_id, owner="ann"))
    question.status = "completed"
    await store.end_response(question)


CHANGES: dict[str, Callable[[Store, str], Awaitable[Any]]] = {
    "another answer": answered,
    "an item is added": lambda store, name: store.conversation_items.add(name, [user("by the way")], owner="ann"),
    "it is renamed": lambda store, name: store.history.edit(name, title="new", owner="ann"),
    "it is deleted": lambda store, name: store.history.delete(name, owner="ann"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("by", ["this server", "another"])
async def test_what_was_changed_meanwhile_is_noticed_and_read(store: Store, other: Store, change: str, by: str) -> None:
    last = await add_answer(store, None, "a first question", owner="ann")
    conversation_id = conversation_of(last)
    at = store.threads.known(conversation_id=conversation_id, owner="ann")
    assert at is not None
    await CHANGES[change](other if by == "another" else store, conversation_id)
    with pytest.raises(Moved):
        await ask(store, conversation_id, at)
    assert store.threads.known(conversation_id=conversation_id, owner="ann") is None
    if change != "it is deleted":
        now = await store.threads.of_conversation(conversation_id, owner="ann")
        assert len(now.waiting) == (change == "an item is added")
        await ask(store, conversation_id, now)


async def test_nothing_is_known_of_other_owners_of_running_responses_and_of_what_waits(store: Store) -> None:
    last = await add_answer(store, None, "a first question", owner="ann")
    conversation_id = conversation_of(last)
    assert store.threads.known(response_id=last.id, owner="bob") is None
    assert store.threads.known(conversation_id=conversation_id, owner="bob") is None
    running = await ask(store, conversation_id, store.threads.known(response_id=last.id, owner="ann"))
    assert store.threads.known(response_id=running.id, owner="ann") is None
    assert store.threads.known(conversation_id=conversation_id, owner="ann") is None
    assert store.threads.known(response_id=last.id, owner="ann") is None


async def test_items_that_wait_are_not_remembered(store: Store) -> None:
    last = await add_answer(store, None, "a first question", owner="ann")
    conversation_id = conversation_of(last)
    running = await ask(store, conversation_id, store.threads.known(response_id=last.id, owner="ann"))
    await store.conversation_items.add(conversation_id, [user("by the way")], owner="ann")
    running.status = "completed"
    await store.end_response(running)
    assert store.threads._known.conversation(conversation_id) is None
    assert len((await store.threads.of_conversation(conversation_id, owner="ann")).waiting) == 1


async def answered_after(store: Store, at: Any) -> e.Response:
    question = await ask(store, str(at.conversation_id), at)
    question.status = "completed"
    await store.end_response(question)
    return question


@pytest.mark.parametrize("by", ["this server", "another"])
@pytest.mark.parametrize("while_asking", [True, False])
async def test_a_deleted_response_is_continued_with_the_state_before_it(
    store: Store, other: Store, by: str, while_asking: bool
) -> None:
    first = await add_answer(store, None, "a first question", message("Done"), owner="ann")
    second = await add_answer(store, conversation_of(first), "a second question", code("1"), owner="ann")
    deleting = (other if by == "another" else store).delete_response(second.id, owner="ann")
    if while_asking:  # The answer changes the conversation after the deletion.
        branch = await ask(store, conversation_of(first), await store.threads.of_response(first.id, owner="ann"))
        await deleting
        branch.status = "completed"
        await store.end_response(branch)
    else:  # The question is refused, and is asked again.
        await deleting
        await answered_after(store, await store.threads.of_response(first.id, owner="ann"))
    now = await store.threads.of_response(second.id, owner="ann")
    known = store.threads.known(response_id=second.id, owner="ann")
    assert now.previous is not None
    assert now.previous.last_code == {}
    assert known is None or known.previous == now.previous


async def test_it_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_threads, "MOST_CONVERSATIONS", 2)
    answers = [await add_answer(store, None, "a question", owner="ann") for _ in range(3)]
    found = [store.threads.known(response_id=one.id, owner="ann") is not None for one in answers]
    assert found == [False, True, True]
    monkeypatch.setattr(known_threads, "MOST_ENTRIES", 1)
    large = await add_answer(store, None, "a question of several words", owner="ann")
    assert store.threads.known(response_id=large.id, owner="ann") is None

"""Two servers whose questions reach one conversation at the same moment: one is stored whole, the other not at all."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest
from pymongo import MongoClient

from codeact import events as e
from codeact.errors import ConversationLocked
from codeact.store import HistoryQuery, Store
from codeact.store.documents.conversations import ConversationDocument
from codeact.store.documents.documents import Documents
from codeact.store.repositories.threads import Attachment
from tests.codeact.store.conversations import add_answer, user
from tests.codeact.store.test_history import conversation_of
from tests.codeact.store.test_store import response

pytestmark = pytest.mark.anyio

DEADLINE_S = 60


@pytest.fixture
async def other(uri: str) -> AsyncIterator[Store]:
    async with Store.connect(uri) as store:
        yield store


@pytest.fixture
async def idle(store: Store) -> str:
    """A conversation whose only question has been answered."""
    return conversation_of(await add_answer(store, None, "a first question"))


def stored(uri: str, conversation_id: str) -> dict[str, Any]:
    """The conversation's document, without what counts its changes."""
    with MongoClient[dict[str, Any]](uri) as client:
        found = client.get_default_database("codeact")["conversations"].find_one({"_id": conversation_id})
    assert found is not None
    return {name: value for name, value in found.items() if name not in ("revision", "updated_at")}


class Question:
    """One server's question, which has read its place already."""

    def __init__(self, store: Store, at: Attachment, text: str) -> None:
        assert at.conversation_id is not None
        self.response = response(conversation=e.ConversationRef(at.conversation_id))
        self._store, self._at, self._text = store, at, text

    @classmethod
    async def read(cls, store: Store, conversation_id: str, text: str) -> "Question":
        return cls(store, await store.threads.of_conversation(conversation_id, owner="ann"), text)

    async def begin(self) -> None:
        await self._store.threads.begin(self.response, [user(self._text)], owner="ann", at=self._at)

    async def end(self) -> None:
        self.response.status = "completed"
        await self._store.end_response(self.response)


Change = Callable[[ConversationDocument], object]


def before_changes(monkeypatch: pytest.MonkeyPatch, store: Store, before: Callable[[int], Awaitable[None]]) -> None:
    """Has `before` awaited before each change of a conversation by this store, with its number."""
    conversations = store._documents.conversations
    original, numbers = conversations.change_known, iter(range(1, 100))

    async def change_known(known: Mapping[str, Any], change: Change) -> ConversationDocument | None:
        await before(next(numbers))
        return await original(known, change)

    monkeypatch.setattr(conversations, "change_known", change_known)


async def test_a_question_and_its_conversation_are_written_at_the_same_time(
    store: Store, idle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = await Question.read(store, idle, "a second question")
    inserting, changing = anyio.Event(), anyio.Event()
    insert = Documents.insert

    async def slow_insert(self: Documents, document: Any) -> bool:
        inserting.set()
        await changing.wait()
        return await insert(self, document)

    async def before(number: int) -> None:
        changing.set()
        await inserting.wait()

    monkeypatch.setattr(Documents, "insert", slow_insert)
    before_changes(monkeypatch, store, before)
    with anyio.fail_after(DEADLINE_S):
        await question.begin()


async def test_one_that_comes_too_late_leaves_nothing(store: Store, other: Store, uri: str, idle: str) -> None:
    first, late = await Question.read(store, idle, "first words"), await Question.read(other, idle, "late words")
    await first.begin()
    before = stored(uri, idle)
    with pytest.raises(ConversationLocked):
        await late.begin()
    assert stored(uri, idle) == before
    await first.end()
    assert (await store.get_conversation(idle, owner="ann")).last_response_id == first.response.id


async def test_one_that_changes_the_conversation_and_is_not_inserted_takes_its_change_back(
    store: Store, other: Store, uri: str, idle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is inserted, and changes the conversation after all that the late one does."""
    first, late = await Question.read(store, idle, "first words"), await Question.read(other, idle, "late words")
    before, is_done = stored(uri, idle), anyio.Event()

    async def wait(number: int) -> None:
        await is_done.wait()

    before_changes(monkeypatch, store, wait)
    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.begin)
            while not (await other.leases.all()):
                await anyio.lowlevel.checkpoint()
            with pytest.raises(ConversationLocked):
                await late.begin()
            assert stored(uri, idle) == before
            is_done.set()
    assert "late" not in stored(uri, idle)["words"]
    await first.end()
    conversation = await store.get_conversation(idle, owner="ann")
    assert (conversation.last_response_id, conversation.facets.status) == (first.response.id, "completed")


async def test_what_another_question_has_changed_meanwhile_is_not_taken_back(
    store: Store, other: Store, uri: str, idle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one changes the conversation between the late one's change and its taking back."""
    first, late = await Question.read(store, idle, "first words"), await Question.read(other, idle, "late words")
    has_changed, has_begun = anyio.Event(), anyio.Event()

    async def wait_for_late(number: int) -> None:
        await has_changed.wait()

    async def wait_for_first(number: int) -> None:
        if number == 2:
            has_changed.set()
            await has_begun.wait()

    before_changes(monkeypatch, store, wait_for_late)
    before_changes(monkeypatch, other, wait_for_first)

    async def begin_first() -> None:
        await first.begin()
        has_begun.set()

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(begin_first)
            while not (await other.leases.all()):
                await anyio.lowlevel.checkpoint()
            with pytest.raises(ConversationLocked):
                await late.begin()
    assert stored(uri, idle)["begun_id"] == first.response.id
    await first.end()
    assert (await store.get_conversation(idle, owner="ann")).last_response_id == first.response.id


async def test_a_conversation_that_is_renamed_meanwhile_takes_the_question_all_the_same(
    store: Store, other: Store, uri: str, idle: str
) -> None:
    question = await Question.read(store, idle, "a second question")
    await other.history.edit(idle, owner="ann", title="mine")
    await question.begin()
    assert (stored(uri, idle)["title"], stored(uri, idle)["begun_id"]) == ("mine", question.response.id)


async def test_a_question_whose_server_died_before_it_was_stored_holds_nothing_up(
    store: Store, uri: str, idle: str
) -> None:
    """Its conversation had been changed. What is searched by is right again after the next round of maintenance."""
    at = await store.threads.of_conversation(idle, owner="ann")
    assert at.conversation is not None
    lost = response(conversation=e.ConversationRef(idle))
    changed = await store._documents.conversations.change_known(
        at.conversation, lambda document: document.begin(lost, [user("lost words")])
    )
    assert changed is not None
    assert [found.id for found in await listed(store, status="in_progress")] == [idle]
    assert await store.history.reindex() == 1
    assert [found.id for found in await listed(store, status="completed")] == [idle]
    assert "lost" not in stored(uri, idle)["words"]
    assert await store.history.reindex() == 0
    answer = await add_answer(store, idle, "a question after it")
    assert (await store.get_conversation(idle, owner="ann")).last_response_id == answer.id


async def listed(store: Store, **asked: Any) -> list[Any]:
    return list((await store.history.find(HistoryQuery(**asked), owner="ann")).conversations)

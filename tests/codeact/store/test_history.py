"""The history on a real mongod: what is found, in which order, with which index, and what deletion means."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from codeact import events as e
from codeact.errors import InvalidRequest, NotFound
from codeact.store import HistoryQuery, Store
from codeact.store.repositories import history as history_module
from sandbox_pool import outputs as o
from tests.codeact.store.conversations import add_answer, code, image, message, user
from tests.codeact.store.plans import explained, queries_of, stages
from tests.codeact.store.test_store import response

pytestmark = pytest.mark.anyio

ZERO = o.Error("ZeroDivisionError", "division by zero", ["Traceback"])


def conversation_of(response: e.Response) -> str:
    assert response.conversation is not None
    return response.conversation.id


async def found(store: Store, *, owner: str | None = "ann", **asked: Any) -> list[str]:
    """The ids on all pages, with two conversations per page."""
    ids: list[str] = []
    after = None
    while True:
        page = await store.history.find(HistoryQuery(**asked), owner=owner, after=after, limit=2)
        ids += [conversation.id for conversation in page.conversations]
        if page.next is None:
            return ids
        after = page.next


@pytest.fixture
async def three(store: Store) -> tuple[str, str, str]:
    """A plot, a failed division and a talk; the talk is the newest."""
    plot = await add_answer(
        store, None, "Plot a sine wave", code("plt.plot(xs)", outputs=[image("a" * 64)]), message("Here."), tokens=500
    )
    division = await add_answer(store, None, "Divide", code("1/0", ZERO), message("It cannot be."), cost_usd=3.0)
    talk = await add_answer(store, None, "Say: Grüße!", message("Grüße aus Köln"), model="other/model")
    return conversation_of(plot), conversation_of(division), conversation_of(talk)


async def test_pages_follow_the_last_activity_without_gap_or_repetition(store: Store) -> None:
    ids = [conversation_of(await add_answer(store, None, f"question {number}")) for number in range(5)]
    await add_answer(store, None, "question of bob's", owner="bob")
    await add_answer(store, ids[0], "one more")
    newest_first = [ids[0], *ids[:0:-1]]
    assert await found(store) == newest_first
    page = await store.history.find(HistoryQuery(), owner="ann", order="asc", limit=3)
    assert [one.id for one in page.conversations] == newest_first[:1:-1]
    assert len(await found(store, owner=None)) == 6


async def test_a_page_can_begin_after_an_id_even_a_deleted_one(store: Store, three: tuple[str, ...]) -> None:
    plot, division, talk = three
    await store.history.delete(division, owner="ann")
    page = await store.history.find(HistoryQuery(), owner="ann", after=division)
    assert [one.id for one in page.conversations] == [plot]
    with pytest.raises(NotFound):
        await store.history.find(HistoryQuery(), owner="bob", after=talk)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"query": "sine"}, "p"),
        ({"query": "PLOT sine"}, "p"),
        ({"query": "plot sing"}, ""),
        ({"query": "plt.plot"}, "p"),
        ({"query": "zerodivisionerror"}, "d"),
        ({"query": "divi*"}, "d"),
        ({"query": "grusse koln"}, "t"),
        ({"query": "grüße -köln"}, ""),
        ({"query": "-sine"}, "td"),
        ({"has_error": True}, "d"),
        ({"has_error": False}, "tp"),
        ({"has_image": True}, "p"),
        ({"exception": "ZeroDivisionError"}, "d"),
        ({"model": "other/model"}, "t"),
        ({"status": "completed", "model": "demo"}, "dp"),
        ({"status": "failed"}, ""),
        ({"min_tokens": 500}, "p"),
        ({"max_tokens": 499}, "td"),
        ({"min_cost_usd": 1.0, "query": "divide"}, "d"),
        ({"max_duration_s": 1.9}, ""),
        ({"min_duration_s": 2.0}, "tdp"),
        ({"since": datetime.now(UTC) - timedelta(minutes=5)}, "tdp"),
        ({"until": datetime.now(UTC) - timedelta(minutes=5)}, ""),
        ({"rating": "none"}, "tdp"),
        ({"pinned": False}, "tdp"),
    ],
)
async def test_what_is_asked_is_what_is_found(
    store: Store, three: tuple[str, str, str], asked: dict[str, Any], expected: str
) -> None:
    ids = dict(zip("pdt", three, strict=True))
    assert await found(store, **asked) == [ids[letter] for letter in expected]
    assert await found(store, owner="bob", **asked) == []


async def test_titles_pins_and_tags_are_changed_and_found(store: Store, three: tuple[str, str, str]) -> None:
    plot = three[0]
    assert (await store.get_conversation(plot, owner="ann")).title == "Plot a sine wave"
    edited = await store.history.edit(plot, owner="ann", title=" My\ncurve ", pinned=True, tags=["maths", "maths"])
    assert (edited.title, edited.pinned, edited.tags) == ("My curve", True, ("maths",))
    assert await found(store, query="curve") == [plot]
    assert await found(store, pinned=True, tag="maths") == [plot]
    await store.history.edit(plot, owner="ann", pinned=False)
    assert await found(store, pinned=True) == []
    assert await found(store, tag="maths") == [plot]
    with pytest.raises(NotFound):
        await store.history.edit(plot, owner="bob", pinned=True)
    for wrong in ({"title": " "}, {"title": "x" * 201}, {"tags": [""]}, {"tags": ["x"] * 21}):
        with pytest.raises(InvalidRequest):
            await store.history.edit(plot, owner="ann", **wrong)  # type: ignore[arg-type]


async def test_the_facets_are_true_while_an_answer_is_under_way(store: Store) -> None:
    conversation = await store.create_conversation(owner="ann")
    response = e.Response(
        id="resp_1", created_at=1.0, model="demo", conversation=e.ConversationRef(conversation.id), status="in_progress"
    )
    await store.begin_response(response, [user("How are you?")], owner="ann")
    assert await found(store, status="in_progress", query="how") == [conversation.id]
    response.status = "cancelled"
    await store.end_response(response)
    await store.end_response(response)
    assert await found(store, status="in_progress") == []
    facets = (await store.get_conversation(conversation.id, owner="ann")).facets
    assert (facets.status, facets.responses) == ("cancelled", 1)


async def test_a_deleted_conversation_is_gone_until_it_is_restored(store: Store, three: tuple[str, str, str]) -> None:
    plot = three[0]
    before = await store.get_conversation(plot, owner="ann")
    with pytest.raises(NotFound):
        await store.history.delete(plot, owner="bob")
    await store.history.delete(plot, owner="ann")
    await store.history.delete(plot, owner="ann")
    assert plot not in await found(store)
    assert await found(store, query="sine") == await found(store, has_image=True) == []
    with pytest.raises(NotFound):
        await store.get_conversation(plot, owner="ann")
    assert await store.purging.purge(before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert await store.history.restore(plot, owner="ann") == before
    assert await found(store, query="sine", has_image=True) == [plot]


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1)


async def test_purging_leaves_a_blob_that_a_response_under_way_has_put(store: Store) -> None:
    kept, again, gone = [await store.put_blob(data, "image/png", owner="ann") for data in (b"kept", b"again", b"gone")]
    outputs = [image(sha256) for sha256 in (kept, again, gone)]
    deleted = await add_answer(store, None, "one", code("a", outputs=outputs))
    under_way = (await store.create_conversation(owner="ann")).id
    begun = response(conversation=e.ConversationRef(under_way))
    await store.begin_response(begun, [], owner="ann")
    assert await store.put_blob(b"kept", "image/png", owner="ann") == kept  # What it shows is known when it ends.
    await store.history.delete(conversation_of(deleted), owner="ann")
    assert await store.purging.purge(before=soon()) == 1
    for sha256 in (kept, again, gone):
        assert await store.get_blob(sha256, owner="ann")
    begun.output = [code("b", outputs=[image(kept)])]
    begun.status = "completed"
    await store.end_response(begun)
    await store.put_blob(b"again", "image/png", owner="ann")
    await store.purging.purge(before=soon(), unused_for=timedelta(0))
    for sha256 in (kept, again):
        assert await store.get_blob(sha256, owner="ann")
    with pytest.raises(NotFound):
        await store.get_blob(gone, owner="ann")


async def test_purging_removes_items_and_the_blobs_that_nothing_else_uses(store: Store) -> None:
    shared, own = [await store.put_blob(data, "image/png", owner="ann") for data in (b"shared", b"own")]
    first = await add_answer(store, None, "one", code("a", outputs=[image(shared), image(own)]))
    second = await add_answer(store, None, "two", code("b", outputs=[image(shared)]))
    await store.history.delete(conversation_of(first), owner="ann")
    assert await store.purging.purge(before=soon(), unused_for=timedelta(0)) == 1
    with pytest.raises(NotFound):
        await store.history.restore(conversation_of(first), owner="ann")
    with pytest.raises(NotFound):
        await store.get_response(first.id, owner="ann")
    with pytest.raises(NotFound):
        await store.get_blob(own, owner="ann")
    assert (await store.get_blob(shared, owner="ann")).data == b"shared"
    assert (await store.get_response(second.id, owner="ann")).response.output


async def test_purging_takes_containers_files_feedback_and_shares_along(store: Store, uri: str) -> None:
    answer = await add_answer(store, None, "one")
    conversation_id = conversation_of(answer)
    container = await store.files.touch("cntr_1", owner="ann", conversation_id=conversation_id)
    sha256 = await store.put_blob(b"file", "application/octet-stream", owner="ann")
    for path in ("a", "b"):
        await store.files.add(container, path, size_bytes=4, modified_at=1.0, source="assistant", sha256=sha256)
    await store.sharing.rate(answer.id, "up", "fine", owner="ann")
    await store.sharing.share(conversation_id, await store.thread(answer.id, owner="ann"), images=(), owner="ann")
    await store.history.delete(conversation_id, owner="ann")
    await store.purging.purge(before=soon(), unused_for=timedelta(0))
    async with AsyncMongoClient(uri) as client:
        database = client.get_default_database()
        assert {
            name: await database[name].count_documents({}) for name in await database.list_collection_names()
        } == dict.fromkeys(await database.list_collection_names(), 0)


async def test_feedback_is_listed_newest_first_page_by_page_also_of_all_owners(store: Store) -> None:
    ids = []
    for owner in ("ann", "bob", "ann"):
        answer = await add_answer(store, None, "one", owner=owner)
        await store.sharing.rate(answer.id, "down", "wrong", owner=owner)
        ids.append(answer.id)
    [first] = await store.sharing.latest_feedback(owner=None, limit=1)
    rest = await store.sharing.latest_feedback(owner=None, limit=5, before=(first.created_at, first.response_id))
    assert [first.response_id, *(one.response_id for one in rest)] == ids[::-1]
    assert [one.response_id for one in await store.sharing.latest_feedback(owner="bob", limit=5)] == [ids[1]]
    await store.delete_response(ids[1], owner="bob")
    assert await store.sharing.latest_feedback(owner="bob", limit=5) == []
    assert await found(store, owner="bob", rating="down") == []


async def test_a_rebuild_changes_nothing_that_the_writer_kept_true(
    store: Store, uri: str, three: tuple[str, str, str]
) -> None:
    await store.history.edit(three[0], owner="ann", pinned=True, tags=["x"])
    async with AsyncMongoClient(uri) as client:
        conversations = client.get_default_database()["conversations"]
        before = {one["_id"]: one async for one in conversations.find()}
        assert await store.history.reindex() == 0
        assert await store.history.reindex(everything=True) == 3
        after = {one["_id"]: one async for one in conversations.find()}
    for one in (*before.values(), *after.values()):
        one["words"] = sorted(one["words"])
        one.pop("revision")
        assert math.isclose(one["facets"].pop("cost_usd"), 0.5 if one["_id"] != three[1] else 3.0)
    assert after == before


async def test_conversations_of_older_servers_are_indexed(store: Store, uri: str, three: tuple[str, str, str]) -> None:
    kept = {"_id", "owner", "created_at", "updated_at", "metadata", "last_response_id"}
    async with AsyncMongoClient(uri) as client:
        conversations = client.get_default_database()["conversations"]
        async for one in conversations.find():
            await conversations.replace_one({"_id": one["_id"]}, {name: one[name] for name in kept})
    assert await found(store) == []
    assert await store.history.reindex() == 3
    assert await found(store) == list(reversed(three))
    assert await found(store, query="sine", has_image=True) == [three[0]]


ASKED: list[dict[str, Any]] = [
    {},
    {"query": "plot"},
    {"query": "plot wave -cosine"},
    {"query": "pl*"},
    {"query": "plot", "has_image": True, "min_tokens": 5},
    {"status": "completed"},
    {"model": "demo", "exception": "ZeroDivisionError"},
    {"tag": "x"},
    {"rating": "none", "pinned": False},
    {"min_tokens": 5, "max_cost_usd": 5.0, "min_duration_s": 1.0},
    {"since": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2040, 1, 1, tzinfo=UTC)},
]


@pytest.mark.parametrize("owner", ["ann", None])
@pytest.mark.parametrize("counted", [1, 2_000])
async def test_no_query_scans_the_collection(
    uri: str, owner: str | None, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "COUNTED", counted)
    with queries_of("conversations") as queries:
        async with Store.connect(uri) as store:
            for number in range(3):
                await add_answer(store, None, f"Plot wave {number}", message("Done"), owner="ann")
            for asked in ASKED:
                queries.seen.clear()
                page = await store.history.find(HistoryQuery(**asked), owner=owner, limit=1)
                await store.history.find(HistoryQuery(**asked), owner=owner, limit=1, after=page.next)
                assert queries.seen, asked
                for query in list(queries.seen):
                    used = stages(await explained(uri, query))
                    assert "IXSCAN" in used or "COUNT_SCAN" in used, (asked, used)
                    assert "COLLSCAN" not in used, asked

"""Documents of other releases: older ones are migrated when they are read, newer ones are not changed."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from pymongo import MongoClient
from pymongo.database import Database

from codeact import events as e
from codeact.errors import StoredByNewerVersion
from codeact.events.certificates import Certificate, Replayed
from codeact.store import HistoryQuery, Store
from codeact.store.checkpoint_record import CheckpointRecord
from codeact.store.documents import schema
from codeact.store.documents.documents import Documents
from codeact.store.documents.schema import FIELD, Schema, version_of
from codeact.store.records import AuditEntry, EndedResponse
from codeact.store.repositories.event_batches import EventBatch, RunWrite
from sandbox_pool import outputs as o
from tests.codeact.store.test_approvals import waiting

FIRST_RELEASE = Path(__file__).with_name("documents_of_0_1.json")
"""One document of each kind, as the first release wrote it."""

CERTIFICATE = Certificate(
    response_id="resp_2",
    result="equal",
    verified_at=1,
    took_s=1.0,
    version="0",
    blocks=1,
    earlier_blocks=0,
    outputs=1,
    calls=0,
    tolerance=0.0,
    environment=None,
    replayed=Replayed(),
    differences=[],
)
LATER = {"approvals", "certificates", "checkpoints", "deliveries", "people", "profiles", "skill_versions", "skills"}
"""Kinds that later releases added."""
CHECKPOINT = CheckpointRecord("chk_1", "bob", "conv_1", "resp_2", "cntr_2", 1.0, b"{}", (), (), 0)

SCHEMAS: dict[str, Schema] = {
    name: model.SCHEMA for name, model in ((model.Settings.name, model) for model in vars(Documents()).values())
}


@pytest.fixture
def database(uri: str) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](uri, tz_aware=True) as client:
        yield client.get_default_database()


@pytest.fixture
def stored(database: Database[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """A database with the first release's documents."""
    documents: dict[str, list[dict[str, Any]]] = json_util.loads(FIRST_RELEASE.read_text())
    for name, found in documents.items():
        database[name].insert_many(found)
    return documents


# ---- pure --------------------------------------------------------------------------------------------


def _rename(old: str, new: str) -> schema.Migration:
    def migrate(document: dict[str, Any]) -> None:
        if old in document:
            document[new] = document.pop(old)

    return migrate


def test_each_migration_after_the_documents_version_is_applied_in_order_to_a_copy() -> None:
    kind = Schema("thing", (_rename("a", "b"), _rename("b", "c"), _rename("c", "d")))
    first, second = {"a": [1]}, {"b": [2], FIELD: 2}
    assert kind.upgrade(first) == {"d": [1], FIELD: 4}
    assert kind.upgrade(second) == {"d": [2], FIELD: 4}
    assert kind.upgrade({"d": [3], FIELD: 4}) == {"d": [3], FIELD: 4}
    assert (first, second) == ({"a": [1]}, {"b": [2], FIELD: 2})


@pytest.mark.parametrize("version", [2, 2**40, 0, -1, True, "1", None, 1.0, [1]])
def test_a_newer_version_or_none_at_all_is_refused_by_name(version: Any) -> None:
    with pytest.raises(StoredByNewerVersion, match=r"stored this thing \(schema version .*reads up to 1\)"):
        Schema("thing").upgrade({FIELD: version})
    assert Schema("thing").is_newer({FIELD: version})


def test_a_document_without_a_version_has_the_first() -> None:
    assert version_of({}) == 1


# ---- documents of the first release ------------------------------------------------------------------


def test_the_fixture_has_a_document_of_each_kind() -> None:
    assert json_util.loads(FIRST_RELEASE.read_text()).keys() | LATER == SCHEMAS.keys()
    assert len({each.kind for each in SCHEMAS.values()}) == len(SCHEMAS)


@pytest.mark.anyio
async def test_documents_of_the_first_release_are_read(stored: dict[str, Any], store: Store) -> None:
    [conversation] = (await store.history.find(HistoryQuery(query="sine"), owner="ann")).conversations
    assert (conversation.id, conversation.title, conversation.ratings) == ("conv_1", "Plot a sine.", ("up",))
    [answer] = await store.history.responses("conv_1", owner="ann")
    thought, call, said = answer.response.output
    assert isinstance(thought, e.Reasoning)
    assert isinstance(call, e.CodeInterpreterCall)
    assert isinstance(said, e.Message)
    assert [type(output) for output in call.notebook_outputs] == [o.Stream, o.DisplayData, o.Error]
    assert (said.content[0].text, answer.response.metadata) == ("Here it is.", {"a.b": "x"})
    at = await store.threads.of_conversation("conv_1", owner="ann")
    assert at.previous is not None
    assert [item.id for item in at.waiting] == ["msg_3"]
    assert [item.id for item in await store.threads.history(at.previous)] == ["msg_1", "rs_1", "ci_1", "msg_2"]
    assert [len(event_batch.frames) async for event_batch in store.events.read("resp_1", 0)] == [2]
    assert (await store.get_blob(stored["blobs"][0]["sha256"], owner="ann")).data == b"sine"
    assert (await store.files.get("cntr_1", owner="ann")).name == "Conversation"
    assert [file.path for file in await store.files.files("cntr_1", owner="ann")] == ["sine.csv"]
    assert [one.comment for one in await store.sharing.feedback_of("conv_1", owner="ann")] == ["nice"]
    assert (await store.sharing.shared("share_1")).response_id == "resp_1"
    key = await store.access.find("codeact_secret")
    assert key is not None
    assert key.name == "laptop"
    assert len(await store.access.audit(owner="ann")) == 1
    assert await store.stored.used("ann") == 4


@pytest.mark.anyio
async def test_reading_rewrites_no_document(
    stored: dict[str, Any], store: Store, database: Database[dict[str, Any]]
) -> None:
    before = {name: list(database[name].find()) for name in stored}
    await store.history.find(HistoryQuery(), owner="ann")
    await store.thread("resp_1", owner="ann")
    assert {name: list(database[name].find()) for name in stored} == before


# ---- documents of this release -----------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_document_that_is_written_carries_its_version(
    stored: dict[str, Any], store: Store, database: Database[dict[str, Any]]
) -> None:
    """Writes each kind of document, so that only the fixture's documents have no version."""
    place = e.ConversationRef("conv_1")
    response = e.Response(id="resp_2", created_at=1.0, model="demo", conversation=place)
    await store.create_conversation(owner="bob")
    await store.begin_response(response, [], owner="bob")
    message = e.Message(id="msg_9", status="completed", content=[e.OutputText("hello")])
    await store.add_item("resp_2", 0, message)
    later = e.Message(id="msg_8", status="completed", content=[e.OutputText("hello")])
    write = RunWrite(EventBatch("resp_2", 0, ["{}"]), None, [(1, later)])
    await store.run_writes.put([write], ttl_s=60)
    await store.put_blob(b"cosine", "text/plain", owner="bob")
    container = await store.files.touch("cntr_2", owner="bob", conversation_id="conv_1")
    await store.files.add(container, "a", size_bytes=1, modified_at=1.0, source="user", sha256=None)
    await store.sharing.rate("resp_2", "down", None, owner="bob")
    await store.sharing.share("conv_2", await store.thread("resp_2", owner="bob"), images=[], owner="bob")
    await store.access.create_key(owner="bob", name="laptop")
    await store.access.add_tokens("bob", 1, datetime.now(UTC))
    entry = AuditEntry(datetime.now(UTC), "bob", None, "a", "b", 200, "", id="6566f0c2a1b2c3d4e5f60719")
    await store.access.record([entry])
    await store.sealing.sealer()
    await store.servers.announce("http://10.0.0.2:8000", {"ann": 2})
    await store.profiles.create({"name": "Analyst"}, owner="bob")
    await store.skills.create("greeting", "How to greet.", "0" * 64, owner="bob")
    ended = EndedResponse("resp_2", "bob", "completed", True, datetime.now(UTC))
    assert await store.deliveries.add(ended, "endpoint", "response.completed", most=10)
    await store.approvals.add(waiting("apr_1"))
    await store.certificates.put(CERTIFICATE, conversation_id="conv_1", owner="bob")
    await store.checkpoints.begin(CHECKPOINT)
    await store.answers.remember("cc", "msg_9", conversation_id="conv_1", owner="bob")
    await store.repeatable.begin("dd", owner="bob", body_hash="00", response_id="resp_2")
    assert await store.slots.take("bob", "slot_2", most=1)
    await store.people.sign_in(issuer="https://provider.example", subject="bob", name="Bob", email="", role="user")
    for name, kind in SCHEMAS.items():
        old = {document["_id"] for document in stored.get(name, ())}
        new = [document for document in database[name].find() if document["_id"] not in old]
        assert {document.get(FIELD) for document in new} == {kind.version}, name


# ---- migrations --------------------------------------------------------------------------------------


@dataclass
class Shout:
    """Version 2 of this test's items, whose text is in capitals."""

    seen: list[str] = field(default_factory=list)

    def __call__(self, document: dict[str, Any]) -> None:
        self.seen.append(document["_id"])
        for part in document["item"].get("content", ()):
            part["text"] = part["text"].upper()


@pytest.fixture
async def migrating(monkeypatch: pytest.MonkeyPatch, stored: dict[str, Any], store: Store) -> AsyncIterator[Store]:
    """A later release, whose items and conversations have a second version."""

    def retitle(document: dict[str, Any]) -> None:
        if "title" in document and not document["title"].startswith("2: "):
            document["title"] = f"2: {document['title']}"

    monkeypatch.setattr(schema.ITEM, "migrations", (Shout(),))
    monkeypatch.setattr(schema.CONVERSATION, "migrations", (retitle,))
    return store


@pytest.mark.anyio
async def test_every_way_of_reading_migrates(migrating: Store) -> None:
    store = migrating
    [answer] = await store.history.responses("conv_1", owner="ann")
    at = await store.threads.of_conversation("conv_1", owner="ann")
    assert at.previous is not None
    streamed = [one async for one in await store.turns.stream("conv_1", owner="ann")]
    for found in (
        answer.response.output[-1],
        (await store.thread("resp_1", owner="ann"))[0].response.output[-1],
        (await store.threads.history(at.previous))[-1],
        (await store.threads.items(["msg_2"], owner="ann"))["msg_2"],
        await store.turns.item("conv_1", "msg_2", owner="ann"),
        streamed[0].response.output[-1],
    ):
        assert isinstance(found, e.Message)
        assert found.content[0].text == "HERE IT IS."
    assert (await store.get_conversation("conv_1", owner="ann")).title == "2: Plot a sine."


@pytest.mark.anyio
async def test_a_change_stores_the_new_form(migrating: Store, database: Database[dict[str, Any]]) -> None:
    await migrating.history.edit("conv_1", owner="ann", pinned=True)
    found = database["conversations"].find_one({"_id": "conv_1"})
    assert found is not None
    assert (found["title"], found["pinned"], found[FIELD]) == ("2: Plot a sine.", True, 2)


# ---- documents of a newer release --------------------------------------------------------------------


def _make_newer(database: Database[dict[str, Any]], collection: str, document_id: str) -> dict[str, Any]:
    """Changes the document as a newer release, unknown to this one, would have written it."""
    place = {"_id": document_id}
    database[collection].update_one(place, {"$set": {FIELD: 7, "told": {"deep": [1]}}})
    found = database[collection].find_one(place)
    assert found is not None
    return found


@pytest.mark.anyio
async def test_a_newer_item_is_shown_as_such_and_kept(
    stored: dict[str, Any], store: Store, database: Database[dict[str, Any]]
) -> None:
    newer = _make_newer(database, "items", "rs_1")
    [answer] = await store.history.responses("conv_1", owner="ann")
    at = await store.threads.of_conversation("conv_1", owner="ann")
    assert at.previous is not None
    for output in (answer.response.output, (await store.threads.history(at.previous))[1:]):
        shown, call, said = output
        assert isinstance(shown, e.Message)
        assert "'reasoning, schema version 7'" in shown.content[0].text
        assert isinstance(call, e.CodeInterpreterCall)
        assert isinstance(said, e.Message)
    assert database["items"].find_one({"_id": "rs_1"}) == newer


@pytest.mark.anyio
async def test_a_newer_response_keeps_its_place_and_its_items(
    stored: dict[str, Any], store: Store, database: Database[dict[str, Any]]
) -> None:
    newer = _make_newer(database, "responses", "resp_1")
    [answer] = await store.history.responses("conv_1", owner="ann")
    assert [item.id for item in answer.response.output] == ["rs_1", "ci_1", "msg_2"]
    assert (answer.response.status, answer.response.model) == ("completed", "demo")
    assert isinstance(answer.input[0], e.InputMessage)
    assert "'question, schema version 7'" in answer.input[0].content[0]["text"]
    assert database["responses"].find_one({"_id": "resp_1"}) == newer


@pytest.mark.anyio
async def test_a_newer_conversation_is_listed_and_nothing_changes_it(
    stored: dict[str, Any], store: Store, database: Database[dict[str, Any]]
) -> None:
    newer = _make_newer(database, "conversations", "conv_1")
    [conversation] = (await store.history.find(HistoryQuery(), owner="ann")).conversations
    assert "newer version" in (conversation.title or "")
    at = await store.threads.of_conversation("conv_1", owner="ann")
    response = e.Response(id="resp_2", created_at=1.0, model="demo", conversation=e.ConversationRef("conv_1"))
    with pytest.raises(StoredByNewerVersion):
        await store.threads.begin(response, [], owner="ann", at=at)
    with pytest.raises(StoredByNewerVersion):
        await store.history.edit("conv_1", owner="ann", title="mine")
    assert database["conversations"].find_one({"_id": "conv_1"}) == newer
    assert database["responses"].count_documents({}) == 1


@pytest.mark.anyio
async def test_a_newer_credential_opens_nothing(
    stored: dict[str, Any], store: Store, database: Database[dict[str, Any]]
) -> None:
    _make_newer(database, "credentials", "key_1")
    with pytest.raises(StoredByNewerVersion, match="this credential"):
        await store.access.find("codeact_secret")

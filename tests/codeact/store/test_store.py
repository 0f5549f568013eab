"""The store on a real mongod: it returns what was stored, to its owner only."""

import asyncio
import os
import subprocess
import sys
import time

import msgspec
import pytest
from pymongo import AsyncMongoClient, MongoClient

from codeact import events as e
from codeact.errors import ConversationLocked, NotFound, StoreError
from codeact.ids import new_id
from codeact.store import Conversation, HistoryQuery, Store, StoredResponse
from sandbox_pool import outputs as o

pytestmark = pytest.mark.anyio


def user(text: str) -> e.InputMessage:
    return e.InputMessage(id=new_id("msg"), role="user", content=[{"type": "input_text", "text": text}])


def message(text: str) -> e.Message:
    return e.Message(id=new_id("msg"), status="completed", content=[e.OutputText(text)])


def call(*outputs: o.Stream | o.DisplayData | o.ExecuteResult | o.Error) -> e.CodeInterpreterCall:
    return e.CodeInterpreterCall(
        id=new_id("ci"),
        container_id="cntr_1",
        code="1 + 1",
        status="completed",
        outputs=[e.LogsOutput("2")],
        notebook_outputs=list(outputs),
        result=o.ExecutionResult(status="ok", duration_s=0.25, omitted_bytes=2**40),
        observation="2",
    )


def response(**fields: object) -> e.Response:
    return e.Response(id=new_id("resp"), created_at=time.time(), model="demo", **fields)  # type: ignore[arg-type]


async def answered(store: Store, text: str, *, owner: str = "ann", **fields: object) -> e.Response:
    """A response with one message, which has begun and ended."""
    answer = response(**fields)
    await store.begin_response(answer, [user(text)], owner=owner)
    answer.output.append(message(f"re: {text}"))
    await store.add_item(answer.id, 0, answer.output[0])
    answer.status, answer.completed_at = "completed", time.time()
    await store.end_response(answer)
    return answer


async def test_a_conversation_answers_one_request_at_a_time_at_whichever_server(uri: str) -> None:
    async with Store.connect(uri) as one, Store.connect(uri) as other:
        conversation = e.ConversationRef((await one.create_conversation(owner="ann")).id)
        first, second = (response(conversation=conversation) for _ in range(2))
        await one.begin_response(first, [user("hello")], owner="ann")
        with pytest.raises(ConversationLocked, match="within 6 s"):
            await other.begin_response(second, [user("hello")], owner="ann")
        await one.begin_response(first, [user("hello")], owner="ann")  # as after a connection broke
        first.status = "completed"
        await one.end_response(first)
        await other.begin_response(second, [user("hello")], owner="ann")


async def conversations(store: Store, owner: str) -> list[Conversation]:
    return (await store.history.find(HistoryQuery(), owner=owner)).conversations


def texts(thread: list[StoredResponse]) -> list[str]:
    return [stored.input[0].content[0]["text"] for stored in thread]


# ---- conversations -----------------------------------------------------------------------------------


async def test_a_conversation_comes_back_as_it_was_created(store: Store) -> None:
    metadata = {"a.b": "x", "$c": "y", "": "z", "nul\0": "\0", "é": "ü" * 512}
    created = await store.create_conversation(owner="ann", metadata=metadata)
    assert created.metadata == metadata
    assert created.last_response_id is None
    assert await store.get_conversation(created.id, owner="ann") == created


async def test_the_end_of_a_response_makes_it_its_conversations_last(store: Store) -> None:
    conversation = await store.create_conversation(owner="ann")
    first = await answered(store, "one", conversation=e.ConversationRef(conversation.id))
    found = await store.get_conversation(conversation.id, owner="ann")
    assert found.last_response_id == first.id
    assert found.updated_at > conversation.updated_at
    assert found.created_at == conversation.created_at


# ---- responses ---------------------------------------------------------------------------------------


async def test_a_response_comes_back_field_by_field(store: Store) -> None:
    metadata = {"a.b": "x", "$c": "y"}
    answer = response(
        metadata=metadata,
        tools=[{"type": "code_interpreter", "container": {"$ref": {"a.b": 2**80}}}],
        conversation=e.ConversationRef("conv_1"),
        instructions="be brief",
        temperature=0.5,
    )
    asked = [user("hello"), e.InputMessage(id="msg_1", role="developer", content=[])]
    await store.begin_response(answer, asked, owner="ann")
    begun = await store.get_response(answer.id, owner="ann")
    assert begun == StoredResponse(answer, asked)

    answer.output = [
        e.Reasoning(id="rs_1", status="completed", content=[e.ReasoningTextPart("hm")]),
        call(o.Stream("stdout", "2\n"), o.Error("ValueError", "no", ["a", "b"])),
        message("done"),
    ]
    for index, item in enumerate(answer.output):
        await store.add_item(answer.id, index, item)
    answer.status, answer.completed_at = "completed", time.time()
    answer.usage = e.ResponseUsage(input_tokens=3, output_tokens=4, total_tokens=7, cost_usd=0.01)
    answer.notices = [e.Notice("kernel_replaced", "A new kernel.")]
    answer.ledger = e.Ledger(first_token_s=0.1, total_s=1.5)
    await store.end_response(answer)
    assert await store.get_response(answer.id, owner="ann") == StoredResponse(answer, asked)


async def test_a_failed_response_keeps_its_error(store: Store) -> None:
    answer = response()
    await store.begin_response(answer, [user("hello")], owner="ann")
    answer.status, answer.error = "failed", e.ResponseError("model_unreachable", "No model.")
    await store.end_response(answer)
    assert (await store.get_response(answer.id, owner="ann")).response == answer


async def test_whatever_json_code_displays_comes_back(store: Store) -> None:
    wild = {"a.b": 1, "$where": 2, "": 3, "nul\0": 4, "big": 2**100, "deep": [[[{"x": None}]]], "_id": [1.5]}
    for _ in range(300):
        wild = {"deeper": wild}
    display = o.DisplayData({"application/json": wild, "text/plain": "\0"}, {"$x": {"a.b": 2**70}})
    answer = response()
    await store.begin_response(answer, [user("hello")], owner="ann")
    await store.add_item(answer.id, 0, call(display))
    [item] = (await store.get_response(answer.id, owner="ann")).response.output
    assert isinstance(item, e.CodeInterpreterCall)
    [found] = item.notebook_outputs
    assert isinstance(found, o.DisplayData)
    # Values of a display come back as their JSON: nobody on the way looks into them.
    assert msgspec.json.decode(bytes(found.data["application/json"])) == wild
    assert (found.data["text/plain"], found.metadata) == ("\0", display.metadata)


async def test_what_the_database_cannot_hold_is_an_error_of_ours(store: Store) -> None:
    answer = response()
    await store.begin_response(answer, [user("hello")], owner="ann")
    with pytest.raises(StoreError, match="cannot hold"):
        await store.add_item(answer.id, 0, message("\ud800"))
    with pytest.raises(StoreError, match="cannot hold"):
        await store.begin_response(response(), [user("x" * 20_000_000)], owner="ann")
    assert (await store.get_response(answer.id, owner="ann")).response.output == []


async def test_two_hundred_items_of_100_kb_come_back_in_order(store: Store) -> None:
    answer = response()
    await store.begin_response(answer, [user("hello")], owner="ann")
    answer.output = [message(str(index) + "x" * 100_000) for index in range(200)]
    await asyncio.gather(*(store.add_item(answer.id, at, item) for at, item in enumerate(answer.output)))
    await store.end_response(answer)
    assert (await store.get_response(answer.id, owner="ann")).response.output == answer.output


async def test_writes_may_be_repeated(store: Store) -> None:
    answer = response()
    item = message("once")
    for _ in range(2):
        await store.begin_response(answer, [user("hello")], owner="ann")
        await store.add_item(answer.id, 0, item)
        await store.put_blob(b"data", "text/plain", owner="ann")
    for _ in range(2):
        await store.end_response(answer)
    assert (await store.get_response(answer.id, owner="ann")).response.output == [item]


async def test_concurrent_responses_do_not_mix(store: Store) -> None:
    answers = await asyncio.gather(*(answered(store, str(n)) for n in range(40)))
    for n, answer in enumerate(answers):
        stored = await store.get_response(answer.id, owner="ann")
        assert texts([stored]) == [str(n)]
        assert stored.response.output_text == f"re: {n}"


# ---- threads -----------------------------------------------------------------------------------------


async def test_a_thread_is_the_response_and_its_ancestors_oldest_first(store: Store) -> None:
    previous = None
    for n in range(30):
        previous = (await answered(store, str(n), previous_response_id=previous)).id
    assert previous is not None
    thread = await store.thread(previous, owner="ann")
    assert texts(thread) == [str(n) for n in range(30)]
    assert [stored.response.output_text for stored in thread] == [f"re: {n}" for n in range(30)]


async def test_branches_share_their_ancestors_and_nothing_else(store: Store) -> None:
    root = await answered(store, "root")
    left = await answered(store, "left", previous_response_id=root.id)
    right = await answered(store, "right", previous_response_id=root.id)
    leaf = await answered(store, "leaf", previous_response_id=left.id)
    assert texts(await store.thread(leaf.id, owner="ann")) == ["root", "left", "leaf"]
    assert texts(await store.thread(right.id, owner="ann")) == ["root", "right"]
    assert texts(await store.thread(root.id, owner="ann")) == ["root"]


async def test_a_long_thread_takes_four_queries(store: Store, uri: str) -> None:
    previous = None
    for n in range(10):
        previous = (await answered(store, str(n), previous_response_id=previous)).id
    assert previous is not None
    async with AsyncMongoClient(uri) as client:
        before = (await client.admin.command("serverStatus"))["opcounters"]["query"]
        await store.thread(previous, owner="ann")
        assert (await client.admin.command("serverStatus"))["opcounters"]["query"] == before + 4


async def test_an_unknown_previous_response_is_named(store: Store) -> None:
    with pytest.raises(NotFound) as continued:
        await store.begin_response(response(previous_response_id="resp_no"), [user("hello")], owner="ann")
    with pytest.raises(NotFound) as read:
        await store.thread("resp_no", owner="ann")
    for raised in (continued, read):
        assert raised.value.param == "previous_response_id"
        assert raised.value.code == "previous_response_not_found"


# ---- owners ------------------------------------------------------------------------------------------


async def test_what_belongs_to_another_is_answered_like_what_does_not_exist(store: Store) -> None:
    conversation = await store.create_conversation(owner="ann")
    answer = await answered(store, "secret")
    sha256 = await store.put_blob(b"secret", "image/png", owner="ann")
    no_blob = "0" * 64
    for foreign, missing in (
        (store.get_conversation(conversation.id, owner="bob"), store.get_conversation("conv_no", owner="bob")),
        (store.get_response(answer.id, owner="bob"), store.get_response("resp_no", owner="bob")),
        (store.thread(answer.id, owner="bob"), store.thread("resp_no", owner="bob")),
        (store.get_blob(sha256, owner="bob"), store.get_blob(no_blob, owner="bob")),
        (
            store.begin_response(response(previous_response_id=answer.id), [], owner="bob"),
            store.begin_response(response(previous_response_id="resp_no"), [], owner="bob"),
        ),
    ):
        with pytest.raises(NotFound) as refused:
            await foreign
        with pytest.raises(NotFound) as unknown:
            await missing
        assert (refused.value.code, refused.value.param) == (unknown.value.code, unknown.value.param)
        for mine in (conversation.id, answer.id, sha256):
            refused.value.message = refused.value.message.replace(mine, "ID")
        for none in ("conv_no", "resp_no", no_blob):
            unknown.value.message = unknown.value.message.replace(none, "ID")
        assert refused.value.message == unknown.value.message
    assert await conversations(store, "bob") == []


# ---- blobs -------------------------------------------------------------------------------------------


async def test_equal_blobs_are_kept_once_for_an_owner(store: Store, uri: str) -> None:
    ids = {await store.put_blob(b"abc", "image/png", owner="ann") for _ in range(3)}
    assert ids == {"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    await store.put_blob(b"abc", "image/png", owner="bob")
    with MongoClient(uri) as client:
        assert client.get_default_database()["blobs"].count_documents({}) == 2


@pytest.mark.parametrize("size_bytes", [0, 1, 2_000_000, 2_000_001, 40_000_000])
async def test_a_blob_of_any_size_comes_back(store: Store, size_bytes: int) -> None:
    data = os.urandom(size_bytes)
    blob = await store.get_blob(await store.put_blob(data, "image/png", owner="ann"), owner="ann")
    assert blob.data == data
    assert blob.media_type == "image/png"


async def test_a_blob_that_was_put_only_in_part_is_not_found_until_it_is_put_again(store: Store, uri: str) -> None:
    data = os.urandom(9_000_000)
    sha256 = await store.put_blob(data, "image/png", owner="ann")
    with MongoClient(uri) as client:
        client.get_default_database()["blobs"].delete_one({"part": 1})
    with pytest.raises(NotFound):
        await store.get_blob(sha256, owner="ann")
    await store.put_blob(data, "image/png", owner="ann")
    assert (await store.get_blob(sha256, owner="ann")).data == data


# ---- the database ------------------------------------------------------------------------------------


async def test_two_stores_of_one_process_keep_to_their_own_databases(store: Store, uri: str) -> None:
    async with Store.connect(uri.replace("/test_", "/test_other_")) as other:
        try:
            mine = await store.create_conversation(owner="ann")
            assert await conversations(other, "ann") == []
        finally:
            await other._client.drop_database(other._client.get_default_database())
    assert await conversations(store, "ann") == [mine]


async def test_times_are_dates_with_a_zone_and_names_are_the_wires(store: Store, uri: str) -> None:
    answer = await answered(store, "hello", metadata={"a": "b"})
    async with AsyncMongoClient(uri, tz_aware=True) as client:
        database = client.get_default_database()
        document = await database["responses"].find_one({"_id": answer.id})
        item = await database["items"].find_one({"response_id": answer.id})
    assert document is not None
    assert document["created_at"].timestamp() == pytest.approx(answer.created_at, abs=0.001)
    assert document["created_at"].utcoffset().total_seconds() == 0
    wire = msgspec.to_builtins(answer)
    assert set(document["response"]) == set(wire) - {"output"}
    assert item is not None
    assert item["item"] == wire["output"][0]


async def test_every_write_waits_for_the_journal(uri: str) -> None:
    async with Store.connect(uri.replace("&journal=true", "")) as store:
        assert store._client.write_concern.document == {"j": True}


async def test_indexes_have_the_names_we_gave_them(store: Store, uri: str) -> None:
    async with AsyncMongoClient(uri) as client:
        names = {
            (name, index)
            for name in await client.get_default_database().list_collection_names()
            for index in await client.get_default_database()[name].index_information()
        }
    assert ("responses", "tree") in names
    assert [(name, index) for name, index in names if index.endswith(("_1", "_-1"))] == []


async def test_the_store_answers_pings(store: Store) -> None:
    await store.ping()


@pytest.mark.parametrize("module", ["codeact.store", "codeact.events", "codeact.settings"])
def test_importing_does_not_import_the_database_layer(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('beanie', 'pymongo', 'bson')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

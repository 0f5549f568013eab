"""The documents of responses, items and event batches, and their conversion from and to `codeact.events`.

A document has the wire's field names. Free-form JSON (what code displayed, a client's metadata and tools) is stored as
JSON text.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from pydantic import BaseModel, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.events import CodeInterpreterCall, Input, Item, Response
from codeact.events.last_code import last_code
from codeact.store.documents import stand_ins
from codeact.store.documents.reading import read_input, read_item
from codeact.store.documents.schema import EVENTS, FIELD, ITEM, RESPONSE, Schema
from codeact.store.documents.versioned import VersionedDocument
from codeact.store.records import StoredResponse
from codeact.store.search.search_fields import is_warm_up
from codeact.store.values import as_json, time_of
from sandbox_pool.outputs import DisplayData, ExecuteResult

__all__ = ["EventBatchDocument", "ItemDocument", "ResponseDocument", "TreeLink", "pack_end", "pack_response"]

COUNTED = [
    "created_at",
    "owner",
    *(f"response.{name}" for name in ("status", "model", "error.code")),
    *(f"response.codeact:ledger.{name}_s" for name in ("first_token", "first_output", "total")),
    *(f"response.usage.{name}" for name in ("input_tokens", "input_tokens_details.cached_tokens", "output_tokens")),
    "response.usage.codeact:cost_usd",
]
"""All the fields that statistics read, so that an index alone answers them."""

NEVER = time_of(0)
"""`created_at` of what only prepared a sandbox: it is in no period of the statistics. `response` has the true time."""

_BUNDLE = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ResponseDocument(VersionedDocument):
    """A response without its output, which is stored as `ItemDocument`s: 200 items of 100 KB do not fit into one
    document.

    `root_id` is the oldest ancestor, the same for a whole tree of branches. `last_code` is the `LastCode` up to the end
    of this response: empty if no code ran, None if unknown. `code_response_id` is the last response up to this one in
    which code ran, None if none is known. `process` names the server that runs the response; it is
    removed when the response has ended. `beat` grows while that server lives; `cancel` and `steers` are requests from
    other processes. `epoch` grows with each take-over by another server; items from epochs before `adopted` are ignored
    (`run_writes`). `client_metadata` is JSON text. `end` is the decided end, while the rest of it is being stored.
    `webhook` says that webhooks are to be told of the end (`waiting`), or that their deliveries exist (`made`).
    """

    SCHEMA: ClassVar[Schema] = RESPONSE
    id: str  # type: ignore[assignment]
    owner: str
    created_at: datetime
    root_id: str
    last_code: dict[str, Any] | None = None
    code_response_id: str | None = None
    process: str | None = None
    beat: int = 0
    epoch: int = 0
    adopted: int = 0
    end: dict[str, Any] | None = None
    webhook: dict[str, Any] | None = None
    cancel: bool = False
    steers: list[dict[str, Any]] = Field(default_factory=list)
    input: list[dict[str, Any]]
    client_metadata: str | None = None
    response: dict[str, Any]
    deleted: bool = False

    class Settings:
        name = "responses"
        indexes: ClassVar = [
            IndexModel(
                [("root_id", ASCENDING), ("_id", ASCENDING), ("response.previous_response_id", ASCENDING)],
                name="tree",
            ),
            IndexModel([("response.conversation.id", ASCENDING), ("_id", ASCENDING)], name="conversation"),
            IndexModel(
                [("response.conversation.id", ASCENDING)],
                name="one_at_a_time",
                unique=True,
                partialFilterExpression={
                    "response.conversation.id": {"$type": "string"},
                    "response.status": {"$in": ["queued", "in_progress"]},
                },
            ),
            IndexModel(
                [("process", ASCENDING), ("_id", ASCENDING)],
                name="unfinished",
                partialFilterExpression={"process": {"$exists": True}},
            ),
            IndexModel(
                [("webhook.state", ASCENDING), ("_id", ASCENDING)],
                name="webhooks",
                partialFilterExpression={"webhook.state": "waiting"},
            ),
            IndexModel([(path, ASCENDING) for path in COUNTED], name="statistics"),
        ]

    @classmethod
    def pack(
        cls, response: Response, messages: list[Input], *, owner: str, root_id: str, process: str | None = None
    ) -> "ResponseDocument":
        return cls(
            id=response.id,
            owner=owner,
            created_at=time_of(response.created_at),
            root_id=root_id,
            process=process,
            input=msgspec.to_builtins(messages),
            response=pack_response(response),
        )

    @classmethod
    async def link(cls, response_id: str, *, owner: str) -> "TreeLink | None":
        return await cls.find_one({"_id": response_id, "owner": owner}).project(TreeLink)

    @classmethod
    async def ancestors(cls, link: "TreeLink") -> list[str]:
        """The ids of the ancestors and of the response itself, oldest first."""
        return await cls.chain(link.id, link.root_id)

    @classmethod
    async def chain(cls, response_id: str, root_id: str) -> list[str]:
        """The ids of the response's ancestors and its own, oldest first. The index `tree` alone answers the query."""
        fields = {"root_id": 1, "response.previous_response_id": 1}
        tree = cls.get_pymongo_collection().find({"root_id": root_id}, fields)
        previous = {node["_id"]: node["response"].get("previous_response_id") async for node in tree}
        chain: list[str] = []
        at: str | None = response_id
        while at is not None:
            chain.append(at)
            at = previous.get(at)
        return chain[::-1]

    @classmethod
    def stand_in(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        return stand_ins.of_response(stored)

    def unpack(self, items: "list[ItemDocument]") -> StoredResponse:
        """Converts it to a response with its valid items."""
        wire = {
            **self.response,
            "metadata": msgspec.json.decode(self.response["metadata"]),
            "tools": msgspec.json.decode(self.response["tools"]),
            "output": [],
        }
        response = msgspec.convert(wire, Response)
        response.output = [read for item in items for read in self.counted(item)]
        return StoredResponse(response, read_input(self.input), self.deleted)

    def counted(self, item: "ItemDocument") -> list[Item]:
        """The item, unless it is invalid: a server that had lost the response may have stored it afterwards."""
        return [item.read()] if item.epoch >= self.adopted else []


class ItemDocument(VersionedDocument):
    """One finished item of a response's output. Its owner is that of the response, through which alone it is reached.

    `epoch` is the response's epoch in which the item was stored.
    """

    SCHEMA: ClassVar[Schema] = ITEM
    id: str  # type: ignore[assignment]
    response_id: str
    output_index: int
    item: dict[str, Any]
    epoch: int = 0

    class Settings:
        name = "items"
        indexes: ClassVar = [
            IndexModel([("response_id", ASCENDING), ("output_index", ASCENDING)], name="response_order"),
            IndexModel(
                [("item.call_id", ASCENDING)],
                name="function_calls",
                partialFilterExpression={"item.type": "function_call"},
            ),
            IndexModel(
                [("item.call_id", ASCENDING), ("item.type", ASCENDING)],
                name="custom_calls",
                partialFilterExpression={"item.type": "custom_tool_call"},
            ),
            IndexModel(
                [("item.type", ASCENDING), ("item.call_id", ASCENDING)],
                name="shell_calls",
                partialFilterExpression={"item.type": "shell_call"},
            ),
            IndexModel(
                [("item.type", DESCENDING), ("item.call_id", ASCENDING)],
                name="local_shell_calls",
                partialFilterExpression={"item.type": "local_shell_call"},
            ),
            IndexModel(
                [("item.call_id", DESCENDING)],
                name="tool_searches",
                partialFilterExpression={"item.type": "tool_search_call"},
            ),
            # Failures, by the time that is encoded in the ids.
            *(
                IndexModel(
                    [("_id", ASCENDING), (f"item.codeact:result.{path}", ASCENDING)],
                    name=name,
                    partialFilterExpression={f"item.codeact:result.{path}": {"$gt": ""}},
                )
                for name, path in (("raised", "error.ename"), ("limited", "limit"))
            ),
        ]

    @classmethod
    def pack(cls, response_id: str, output_index: int, item: Item) -> "ItemDocument":
        return cls(**cls.fields(response_id, output_index, item))

    @classmethod
    def fields(cls, response_id: str, output_index: int, item: Item, *, epoch: int = 0) -> dict[str, Any]:
        """The fields as MongoDB has them, except that the id is named `id`."""
        return {
            "id": item.id,
            "response_id": response_id,
            "output_index": output_index,
            "item": _pack_item(item),
            "epoch": epoch,
            FIELD: cls.SCHEMA.version,
        }

    @classmethod
    def stand_in(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        return stand_ins.of_item(stored)

    def read(self) -> Item:
        """The item, or a placeholder message if it cannot be read."""
        try:
            return read_item(self.unpack())
        except (msgspec.DecodeError, AttributeError, TypeError, ValueError):
            return read_item({"id": self.id, "type": f"{self.item.get('type')}, damaged"})

    def unpack(self) -> dict[str, Any]:
        for output in self.item.get("codeact:notebook_outputs", ()):
            if "data" in output:
                output["data"] = _BUNDLE.decode(output["data"])
            if "metadata" in output:
                output["metadata"] = msgspec.json.decode(output["metadata"])
        return self.item


class EventBatchDocument(VersionedDocument):
    """Consecutive events of one response, as JSON texts separated by newlines.

    The id is `response:first:part`, so that the ids alone put a response's batches in order. `first` is the number of
    the first event. A frame too long for one document is continued in the next part; all its parts but the last have a
    `size` of 0. The owner is that of the response.
    """

    SCHEMA: ClassVar[Schema] = EVENTS
    id: str  # type: ignore[assignment]
    first: int
    size: int
    frames: bytes
    expires_at: datetime
    epoch: int = 0

    class Settings:
        name = "events"
        indexes: ClassVar = [IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0)]

    @classmethod
    async def remove(cls, response_id: str) -> None:
        """Deletes all events of a response."""
        await cls.find({"_id": {"$gt": f"{response_id}:", "$lt": f"{response_id};"}}).delete()


class TreeLink(BaseModel):
    """A response's place in its tree. The index `tree` alone answers queries for it by `root_id`."""

    id: str = Field(alias="_id")
    root_id: str
    previous_response_id: str | None

    class Settings:
        projection: ClassVar = {
            "_id": 1,
            "root_id": 1,
            "previous_response_id": "$response.previous_response_id",
        }


def pack_response(response: Response) -> dict[str, Any]:
    """The response as on the wire, without its output."""
    wire: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(response, output=[]))
    del wire["output"]
    return wire | {"metadata": as_json(response.metadata), "tools": as_json(response.tools)}


def pack_end(response: Response) -> dict[str, Any]:
    """The fields of the document that change when the response has ended."""
    code = last_code(response.output)
    end: dict[str, Any] = {"response": pack_response(response)}
    if code is not None:
        end["last_code"] = asdict(code)
        end["code_response_id"] = response.id
    if is_warm_up(response):
        end["created_at"] = NEVER
    return end


def _pack_item(item: Item) -> dict[str, Any]:
    """The item as on the wire, with display data as JSON text, which is never decoded on the way."""
    if not isinstance(item, CodeInterpreterCall):
        return dict(msgspec.to_builtins(item))
    shown = item.notebook_outputs
    bare = [
        msgspec.structs.replace(output, data={}, metadata={})
        if isinstance(output, DisplayData | ExecuteResult)
        else output
        for output in shown
    ]
    wire: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(item, notebook_outputs=bare))
    for output, packed in zip(shown, wire["codeact:notebook_outputs"], strict=True):
        if isinstance(output, DisplayData | ExecuteResult):
            packed["data"] = as_json(output.data)
            if output.metadata:
                packed["metadata"] = as_json(output.metadata)
    return wire

"""What MongoDB holds of responses: structs of `codeact.events` enter as Beanie documents and leave as structs again.

A document has the wire's field names. Free-form JSON (what code displayed, a client's metadata and tools) is kept
as JSON text.
"""

from datetime import datetime
from typing import Any, ClassVar

import msgspec
from beanie import Document
from pydantic import BaseModel, Field
from pymongo import ASCENDING, IndexModel

from codeact.events import Input, Item, Response
from codeact.store.records import StoredResponse
from codeact.store.values import as_json, time_of

__all__ = ["EventBatchDocument", "ItemDocument", "ResponseDocument", "TreeLink"]

COUNTED = [
    "created_at",
    "owner",
    *(f"response.{name}" for name in ("status", "model", "error.code")),
    *(f"response.codeact:ledger.{name}_s" for name in ("first_token", "first_output", "total")),
    *(f"response.usage.{name}" for name in ("input_tokens", "input_tokens_details.cached_tokens", "output_tokens")),
    "response.usage.codeact:cost_usd",
]
"""All that statistics ask of responses, so that they read their index alone."""


class ResponseDocument(Document):
    """A response without its output, which is in `ItemDocument`s: 200 items of 100 KB do not fit into one document.

    `root_id` is the oldest ancestor, the same for a whole tree of branches. `process` names the server that
    produces it, and is absent once it has ended; `beat` grows while that server lives; `cancel` and `steers`
    are what other processes ask of it.
    """

    id: str  # type: ignore[assignment]
    owner: str
    created_at: datetime
    root_id: str
    process: str | None = None
    beat: int = 0
    cancel: bool = False
    steers: list[dict[str, Any]] = Field(default_factory=list)
    input: list[dict[str, Any]]
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
            response=_pack(response),
        )

    @classmethod
    async def link(cls, response_id: str, *, owner: str) -> "TreeLink | None":
        return await cls.find_one({"_id": response_id, "owner": owner}).project(TreeLink)

    @classmethod
    async def ancestors(cls, link: "TreeLink") -> list[str]:
        """The ids of its ancestors and its own, oldest first."""
        tree = await cls.find({"root_id": link.root_id}).project(TreeLink).to_list()
        previous = {node.id: node.previous_response_id for node in tree}
        chain: list[str] = []
        at: str | None = link.id
        while at is not None:
            chain.append(at)
            at = previous.get(at)
        return chain[::-1]

    @classmethod
    async def finish(cls, response: Response, *, process: str) -> None:
        """Stores how it ended, while this server holds it."""
        await cls.find_one({"_id": response.id, "process": process}).update({"$set": {"response": _pack(response)}})

    def unpack(self, items: "list[ItemDocument]") -> StoredResponse:
        wire = {
            **self.response,
            "metadata": msgspec.json.decode(self.response["metadata"]),
            "tools": msgspec.json.decode(self.response["tools"]),
            "output": [item.unpack() for item in items],
        }
        return StoredResponse(msgspec.convert(wire, Response), msgspec.convert(self.input, list[Input]))


class ItemDocument(Document):
    """One finished item of a response's output. Its owner is its response's: nobody reaches it another way."""

    id: str  # type: ignore[assignment]
    response_id: str
    output_index: int
    item: dict[str, Any]

    class Settings:
        name = "items"
        indexes: ClassVar = [
            IndexModel([("response_id", ASCENDING), ("output_index", ASCENDING)], name="response_order"),
            IndexModel(
                [("item.call_id", ASCENDING)],
                name="function_calls",
                partialFilterExpression={"item.type": "function_call"},
            ),
            # What went wrong, by the time that is in the ids.
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
        wire = msgspec.to_builtins(item)
        for output in wire.get("codeact:notebook_outputs", ()):
            output.update({name: as_json(output[name]) for name in ("data", "metadata") if name in output})
        return cls(id=item.id, response_id=response_id, output_index=output_index, item=wire)

    def unpack(self) -> dict[str, Any]:
        for output in self.item.get("codeact:notebook_outputs", ()):
            output.update({name: msgspec.json.decode(output[name]) for name in ("data", "metadata") if name in output})
        return self.item


class EventBatchDocument(Document):
    """Neighbouring events of one response, as JSON texts with a newline between them.

    Its id is `response:first:part`, so that a response's batches are read in order by their ids alone. `first`
    is the number of the first event. A frame that is too long for a document is continued in the next part;
    such parts have a `size` of 0, up to the one with its end. The owner is the response's.
    """

    id: str  # type: ignore[assignment]
    first: int
    size: int
    frames: bytes
    expires_at: datetime

    class Settings:
        name = "events"
        indexes: ClassVar = [IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0)]

    @classmethod
    async def remove(cls, response_id: str) -> None:
        """Forgets a response's events."""
        await cls.find({"_id": {"$gt": f"{response_id}:", "$lt": f"{response_id};"}}).delete()


class TreeLink(BaseModel):
    """A response's place in its tree; reading it by `root_id` needs the index `tree` alone."""

    id: str = Field(alias="_id")
    root_id: str
    previous_response_id: str | None

    class Settings:
        projection: ClassVar = {
            "_id": 1,
            "root_id": 1,
            "previous_response_id": "$response.previous_response_id",
        }


def _pack(response: Response) -> dict[str, Any]:
    """The response as it is on the wire, without its output."""
    wire: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(response, output=[]))
    del wire["output"]
    return wire | {"metadata": as_json(response.metadata), "tools": as_json(response.tools)}

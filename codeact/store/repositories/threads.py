"""Threads of responses: finds where a question attaches (one round trip), stores the new response there (one round
trip, or two while the last question is not answered), and reads the history before it.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from codeact.concurrency.concurrently import concurrently
from codeact.errors import BegunElsewhere, ConversationLocked
from codeact.events import Input, Item, Response
from codeact.events.last_code import LastCode
from codeact.store.database.operation import Operations, operation
from codeact.store.documents.reading import read_input, read_item, read_items
from codeact.store.documents.schema import CONVERSATION, FIELD
from codeact.store.missing import no_container, no_conversation, no_response_to_continue
from codeact.store.repositories.known_histories import measured
from codeact.store.repositories.known_threads import KnownThreads
from codeact.store.repositories.response_leases import LEASE_S
from codeact.store.repositories.thread_stages import LINK, UNREAD, Stages, conversation_of, last_response, response_of
from codeact.store.values import as_json

if TYPE_CHECKING:
    from codeact.store.documents.conversations import ConversationDocument
    from codeact.store.documents.documents import Documents

__all__ = ["Attachment", "Link", "Moved", "Threads"]


class Moved(ConversationLocked):
    """Another response has ended in the conversation since the attachment was read. Read it again and retry."""

    def __init__(self) -> None:
        super().__init__("The conversation has gone on meanwhile; ask again.", param="conversation", retry_after_s=0)


@dataclass(frozen=True, slots=True)
class Link:
    """A stored response that a question continues. `last_code` is empty if no code ran, None if unknown.

    `code_response_id` is the last response up to this one in which code ran; None if none is known.
    """

    response_id: str
    root_id: str
    last_code: Mapping[str, Any] | None
    code_response_id: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where a question attaches, as read at one moment: after `previous`, in a stored conversation or in a new one.

    `Threads.begin` stores a response there only if no other response has ended in the conversation since then, and if
    `is_known`, only if nothing at all has changed in it: then it is what this server has stored last.
    """

    previous: Link | None = None
    conversation: Mapping[str, Any] | None = field(default=None, repr=False)
    is_known: bool = False

    @property
    def conversation_id(self) -> str | None:
        """The conversation's id; None if the conversation does not exist yet."""
        return None if self.conversation is None else str(self.conversation["_id"])

    @property
    def last_response_id(self) -> str | None:
        """The conversation's latest response."""
        return None if self.conversation is None else self.conversation.get("last_response_id")

    @property
    def waiting(self) -> list[Input]:
        """The items that were added to the conversation outside of a response."""
        return read_input(CONVERSATION.upgrade(self.conversation or {}).get("pending", []))

    @property
    def container(self) -> Mapping[str, Any]:
        """The options that the conversation's sandboxes had (`ContainerOptions.shown`)."""
        return (self.conversation or {}).get("container") or {}


class Threads:
    """The part of `Store` with threads. `holder` is this server's name."""

    def __init__(
        self, documents: "Documents", operations: Operations, *, holder: str, lease_s: float = LEASE_S
    ) -> None:
        self._documents = documents
        self._holder = holder
        self._lease_s = lease_s
        self._operations = operations
        self._known = KnownThreads()

    # ---- where a question attaches: one round trip each ------------------------------------------------

    def known(
        self, *, response_id: str | None = None, conversation_id: str | None = None, owner: str
    ) -> Attachment | None:
        """The attachment after a response, or after the latest one of a conversation, without a query.

        None if this server has not stored its end and all that followed in the conversation. Another server may have
        changed the conversation since; then `begin` raises `Moved`, and this returns None.
        """
        if response_id is not None:
            found = self._known.after_response(response_id, owner=owner)
        else:
            found = self._known.after_last(conversation_id or "", owner=owner)
        if found is None or not self._documents.conversations.is_idle(found["conversation"][0]):
            return None
        return Attachment(_link(found), found["conversation"][0], is_known=True)

    @operation
    async def of_conversation(self, conversation_id: str, *, owner: str) -> Attachment:
        """The attachment after the latest response of the conversation. Raises `NotFound`."""
        place = {"_id": conversation_id, "owner": owner, "deleted": False}
        found = await _first(self._documents.conversations, [{"$match": place}, *last_response()])
        if found is None:
            raise no_conversation(conversation_id)
        return _after_last(found)

    @operation
    async def of_response(self, response_id: str, *, owner: str) -> Attachment:
        """The attachment after this response. Raises `NotFound` if it or its conversation does not exist."""
        place = {"_id": response_id, "owner": owner}
        stages: Stages = [{"$match": place}, {"$project": LINK}, *conversation_of(owner)]
        found = await _first(self._documents.responses, stages)
        if found is None:
            raise no_response_to_continue(response_id)
        return _after(found)

    @operation
    async def of_call(self, call_id: str, *, owner: str) -> Attachment | None:
        """The attachment after the response that made this call of a client's function; None if there is none."""
        place = _calls(call_id)
        found = await _first(self._documents.items, [{"$match": place}, *_responses_of_items(owner)])
        return None if found is None else _after(found)

    @operation
    async def of_item(self, item_id: str, *, owner: str) -> Attachment | None:
        """The attachment after the response that has the item; None if there is none, or if it has no conversation."""
        found = await _first(self._documents.items, [{"$match": {"_id": item_id}}, *_responses_of_items(owner)])
        return _after(found) if found and found["conversation"] else None

    @operation
    async def of_container(self, container_id: str, *, owner: str) -> tuple[str, Attachment | None]:
        """The container's conversation id, and the attachment after that one's latest response (None: it is deleted).

        Raises `NotFound` if there is no such container.
        """
        stages: Stages = [
            {"$match": {"_id": container_id, "owner": owner}},
            *conversation_of(owner, *last_response()),
        ]
        found = await _first(self._documents.containers, stages)
        if found is None:
            raise no_container(container_id)
        conversation = found["conversation"]
        return found["conversation_id"], _after_last(conversation[0]) if conversation else None

    @operation
    async def called(self, call_ids: Collection[str], *, owner: str) -> dict[str, str]:
        """The ids of the responses that called functions with these call ids; unknown call ids are left out."""
        place = _calls({"$in": list(call_ids)})
        fields = {"response_id": 1, "item.call_id": 1}
        stages: Stages = [{"$match": place}, {"$project": fields}, *response_of(owner)]
        found = await self._documents.items.get_pymongo_collection().aggregate(stages)
        return {each["item"]["call_id"]: each["response_id"] async for each in found}

    @operation
    async def items(self, item_ids: Collection[str], *, owner: str) -> dict[str, Item]:
        """Items of the owner's answers by id, without what code displayed. Unknown ids are left out."""
        place = {"_id": {"$in": list(item_ids)}}
        stages: Stages = [{"$match": place}, {"$project": UNREAD}, *response_of(owner)]
        found = await self._documents.items.get_pymongo_collection().aggregate(stages)
        return {each["_id"]: read_item(self._documents.items.readable(each)["item"]) async for each in found}

    # ---- what came before ----------------------------------------------------------------------------

    @operation
    async def history(self, link: Link, *, begun_in: str | None = None) -> list[Input | Item]:
        """Input and output of the response and its ancestors, oldest first, without what code displayed.

        `begun_in`: the conversation in which this server has just begun a response after this one. Then nobody has
        changed what this server has read of it before, and only the responses since then are read. The caller must not
        change the items.
        """
        known = self._known.conversation(begun_in) if begun_in is not None else None
        parts = self._known.histories.get(str(begun_in)) if known is not None else {}
        chain = self._known.chain(link.response_id, parts) if known is not None else None
        if chain is None:
            parts, chain = {}, await self._documents.responses.chain(link.response_id, link.root_id)
        read = await self._read([response_id for response_id in chain if response_id not in parts])
        if known is None:
            return [item for response_id in chain for item in read[response_id]]
        if self._known.conversation(str(begun_in)) is known:
            now = measured((one, parts.get(one) or read[one]) for one in chain)
            self._known.histories.put(str(begun_in), now, owner=known["owner"])
        return [item for one in chain for item in (parts[one].items if one in parts else read[one])]

    async def _read(self, response_ids: Sequence[str]) -> dict[str, list[Input | Item]]:
        """Input and output of each of these responses."""
        responses, outputs = await concurrently(
            partial(self._inputs, response_ids), partial(self._outputs, response_ids)
        )
        read: dict[str, list[Input | Item]] = {}
        for response_id in response_ids:
            found = responses.get(response_id, {})
            # A server that had lost the response may have stored items afterwards; they do not count.
            counted = [each for each in outputs.get(response_id, ()) if each.get("epoch", 0) >= found.get("adopted", 0)]
            read[response_id] = [*read_input(found.get("input", [])), *read_items(each["item"] for each in counted)]
        return read

    @operation
    async def has_continued(self, item_id: str, link: Link) -> bool:
        """Whether code of a response after this one has begun to continue the code of the item `item_id`."""
        place = {"root_id": link.root_id, "response.previous_response_id": link.response_id}
        responses = self._documents.responses.get_pymongo_collection().find(place, {"_id": 1})
        later = [response["_id"] async for response in responses]
        items = self._documents.items.get_pymongo_collection()
        continued = {"response_id": {"$in": later}, "item.codeact:continues": item_id}
        return await items.find_one(continued, {"_id": 1}) is not None

    @operation
    async def chain(self, link: Link) -> list[str]:
        """The ids of the response's ancestors and its own, oldest first."""
        return await self._documents.responses.chain(link.response_id, link.root_id)

    async def last_code(self, link: Link) -> LastCode | None:
        """The kernel in which code ran last, up to this response; None if no code ran.

        Queries the database only if no server has noted it: in imported conversations and those of older versions.
        """
        if link.last_code is not None:
            return LastCode(**link.last_code) if link.last_code else None
        return await self._last_code(link)

    @operation
    async def _last_code(self, link: Link) -> LastCode | None:
        chain = await self._documents.responses.chain(link.response_id, link.root_id)
        place = {"response_id": {"$in": chain}, "item.type": "code_interpreter_call"}
        fields = {"item.container_id": 1, "item.codeact:result.kernel_alive": 1}
        items = self._documents.items.get_pymongo_collection()
        found = await items.find_one(place, fields, sort=[("_id", -1)])
        if found is None:
            return None
        result = found["item"].get("codeact:result") or {}
        return LastCode(found["item"]["container_id"], result.get("kernel_alive", True))

    # ---- beginning -----------------------------------------------------------------------------------

    @operation
    async def begin(
        self,
        response: Response,
        input: list[Input],
        *,
        owner: str,
        at: Attachment,
        last_code: LastCode | None = None,
        client_metadata: Mapping[str, str] | None = None,
        container: Mapping[str, Any] | None = None,
        also: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Stores a response and its input, and its conversation if that is new.

        `last_code` is that of `at`. `client_metadata` is only stored. `container` are the options of the
        conversation's sandboxes from now on; None: as before. `also` runs concurrently with the last write,
        possibly twice, and must not raise; if this method raises, whatever `also` stored about the response is useless.
        Raises `Moved` if another response has ended in the conversation since `at` was read, or if the conversation is
        gone; `ConversationLocked` while another response runs in it, on any server; and `StoredByNewerVersion`. In
        these cases nothing else is stored.
        """
        CONVERSATION.check(at.conversation or {})
        root_id = response.id if at.previous is None else at.previous.root_id
        document = self._documents.responses.pack(response, input, owner=owner, root_id=root_id, process=self._holder)
        document.last_code = asdict(last_code) if last_code is not None else {}
        document.code_response_id = at.previous.code_response_id if at.previous is not None else None
        document.client_metadata = as_json(client_metadata) if client_metadata else None
        insert, meanwhile = partial(self._documents.insert, document), also or _nothing
        if response.conversation is not None:
            fields = {name: getattr(document, name) for name, kind in LINK.items() if kind == 1}
            tree = {"conversation_id": response.conversation.id, "previous": response.previous_response_id}
            self._known.begun({"_id": response.id, **fields, **tree})
        if at.conversation is not None:
            begin = methodcaller("begin", response, input, container)
            await self._begin_in(at.conversation, response, begin, insert, meanwhile, is_known=at.is_known)
            return
        if response.conversation is None:
            inserted, _ = await concurrently(insert, meanwhile)
        else:
            conversation = self._new(response.conversation.id, response, input, owner, container)
            inserted, _, _ = await concurrently(insert, partial(self._documents.insert, conversation), meanwhile)
        await self._check_inserted(inserted, response.id)

    async def _begin_in(
        self,
        known: Mapping[str, Any],
        response: Response,
        begin: Callable[["ConversationDocument"], object],
        insert: Callable[[], Awaitable[bool]],
        meanwhile: Callable[[], Awaitable[None]],
        *,
        is_known: bool,
    ) -> None:
        """`begin` in the conversation that was read as `known`, or with `is_known` was stored so by this server.

        The function `begin` changes the conversation's document.
        A response is inserted only while no other one runs in the conversation, and then this one alone may change
        what the conversation says of its latest question. While no question was under way, the conversation is changed
        at the same time, and only if nothing has changed it since. If the insertion is refused, that is taken back.
        """
        conversations = self._documents.conversations
        changed, is_idle = None, conversations.is_idle(known)
        if is_idle:
            change = partial(conversations.change_known, known, begin)
            inserted, changed, _ = await concurrently(insert, change, meanwhile)
        else:
            inserted = await insert()
        try:
            await self._check_inserted(inserted, response.id)
        except ConversationLocked:
            self._known.forget(known["_id"])
            if changed is not None:
                await conversations.change({"_id": changed.id}, methodcaller("take_back", response.id, known))
            raise
        if changed is None and not is_known:
            place = {"_id": known["_id"], "deleted": False, "last_response_id": known.get("last_response_id")}
            change = partial(conversations.change, place, begin, known=None if is_idle else known)
            changed, _ = await concurrently(change, _nothing if is_idle else meanwhile)
        if changed is None:
            self._known.forget(known["_id"])
            responses = self._documents.responses.get_pymongo_collection()
            await responses.delete_one({"_id": response.id, "process": self._holder})
            raise Moved
        self._known.stored(changed.stored)

    @operation
    async def end_in_conversation(self, response: Response, conversation_id: str) -> None:
        """Makes the response the last one of its conversation, unless another one has begun in it. May be repeated."""
        conversations = self._documents.conversations
        end, ended, known = methodcaller("end", response), None, self._known.conversation(conversation_id)
        if known is not None and known["begun_id"] == response.id:
            ended = await conversations.change_known(known, end)
        if ended is None:
            ended = await conversations.change({"_id": conversation_id, "begun_id": {"$in": [response.id, None]}}, end)
        if ended is None:
            self._known.forget(conversation_id)
        else:
            self._known.stored(ended.stored)

    def note_end(self, response_id: str, changes: Mapping[str, Any]) -> None:
        """Notes that the end of a response has been stored with these fields of its document."""
        self._known.ended(response_id, changes)

    async def _check_inserted(self, inserted: bool, response_id: str) -> None:
        """Raises `ConversationLocked` if it is not there, and `BegunElsewhere` if another server has inserted it.

        A call that is repeated finds that it has inserted it itself.
        """
        if inserted:
            return
        responses = self._documents.responses.get_pymongo_collection()
        found = await responses.find_one({"_id": response_id}, {"process": 1})
        if found is not None and found.get("process") != self._holder:
            raise BegunElsewhere(response_id)
        if found is None:
            raise ConversationLocked(
                "The conversation is answering another request, at another server; wait for its end or cancel it. If"
                f" that server has died, its answer is ended within {self._lease_s:g} s, and the conversation is free"
                " again.",
                param="conversation",
                retry_after_s=self._lease_s,
            )

    def _new(
        self,
        conversation_id: str,
        response: Response,
        input: list[Input],
        owner: str,
        container: Mapping[str, Any] | None,
    ) -> "ConversationDocument":
        create = self._documents.conversations.pack
        document = create(conversation_id, owner=owner, created_at=response.created_at, metadata={})
        document.begin(response, input, container)
        document.label()
        return document

    # ---- inside --------------------------------------------------------------------------------------

    async def _inputs(self, chain: Sequence[str]) -> dict[str, dict[str, Any]]:
        responses = self._documents.responses.get_pymongo_collection()
        found = responses.find({"_id": {"$in": list(chain)}}, {"input": 1, "adopted": 1, FIELD: 1})
        return {each["_id"]: self._documents.responses.readable(each) async for each in found}

    async def _outputs(self, chain: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        items = self._documents.items.get_pymongo_collection()
        found = items.find({"response_id": {"$in": list(chain)}}, UNREAD).sort({"response_id": 1, "output_index": 1})
        outputs: dict[str, list[dict[str, Any]]] = {}
        async for each in found:
            outputs.setdefault(each["response_id"], []).append(self._documents.items.readable(each))
        return outputs


async def _nothing() -> None: ...


async def _first(documents: Any, stages: Stages) -> dict[str, Any] | None:
    async for found in await documents.get_pymongo_collection().aggregate([*stages, {"$limit": 1}]):
        return dict(found)
    return None


def _responses_of_items(owner: str) -> Stages:
    """The `LINK` of each item's response, with its conversation."""
    return [*response_of(owner), {"$limit": 1}, {"$replaceRoot": {"newRoot": "$response"}}, *conversation_of(owner)]


def _link(found: Mapping[str, Any]) -> Link:
    return Link(found["_id"], found["root_id"], found.get("last_code"), found.get("code_response_id"))


def _after_last(conversation: dict[str, Any]) -> Attachment:
    """The attachment after the latest response of a conversation that was read together with it."""
    previous = conversation.pop("previous")
    return Attachment(_link(previous[0]) if previous else None, conversation)


def _calls(call_id: Any) -> dict[str, Any]:
    """The query for calls of a client's functions, shells and searches, with a part for each of the indexes."""
    kinds = ("function_call", "custom_tool_call", "shell_call", "local_shell_call", "tool_search_call")
    return {"$or": [{"item.type": kind, "item.call_id": call_id} for kind in kinds]}


def _after(found: Mapping[str, Any]) -> Attachment:
    """The attachment after a response that was read together with its conversation.

    Raises `NotFound` if that is deleted.
    """
    conversation_id, conversations = found.get("conversation_id"), found["conversation"]
    if conversation_id is not None and not conversations:
        raise no_conversation(conversation_id)
    return Attachment(_link(found), conversations[0] if conversations else None)

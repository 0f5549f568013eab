"""Gives the responses and items of an imported archive new ids, and checks that they can be stored."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from codeact.data_urls import image_of
from codeact.events import (
    Approval,
    ApprovalRequest,
    ClientCall,
    CodeApproval,
    CodeApprovalRequest,
    CodeInterpreterCall,
    Compaction,
    FunctionCallOutput,
    ImageOutput,
    InputMessage,
    Item,
    Message,
    ResponseError,
    ToolSearchOutput,
    encode,
)
from codeact.exports.archive_form import ArchivedConversation, ArchivedResponse, refused
from codeact.ids import new_ids
from codeact.storable import not_storable
from codeact.store.blobs import URL
from codeact.store.references import sha256_of

__all__ = ["Renewal"]

PART_BYTES = 8_000_000
"""Limit for one response's input and for one item: MongoDB takes documents of less than 16 MB."""
NAMES = frozenset({"type", "text", "image_url", "detail", "file_id", "file_data", "file_url", "filename", "size_bytes"})
INPUTS = {
    InputMessage: "msg",
    FunctionCallOutput: "fco",
    ToolSearchOutput: "tso",
    Compaction: "cmp",
    Approval: "mcpa",
    CodeApproval: "apa",
}
UNFINISHED = ResponseError("server_error", "This answer was not finished when the conversation was exported.")


class Renewal:
    """Replaces ids by new ones, the same old id always by the same new id.

    Call `apply` for each response in order, then `end`. Both raise `InvalidRequest` for values that cannot be stored,
    and for references to something that the archive does not contain.
    """

    def __init__(self) -> None:
        self._responses: dict[str, str] = {}
        self._containers: dict[str, str] = {}
        self._items: dict[str, str] = {}
        self._next_id = new_ids()

    def apply(self, number: int, one: ArchivedResponse) -> None:
        place = f"responses[{number}]"
        response = one.response
        if not 0 <= response.created_at <= 4e9:
            raise refused("it is no time", f"{place}.response.created_at")
        if response.id in self._responses:
            raise refused("it comes twice", f"{place}.response.id")
        if response.previous_response_id is not None:
            previous = self._responses.get(response.previous_response_id)
            if previous is None:
                raise refused("no earlier response has this id", f"{place}.response.previous_response_id")
            response.previous_response_id = previous
        response.id = self._responses.setdefault(response.id, self._next_id("resp"))
        if response.status in ("queued", "in_progress"):
            response.status, response.error = "failed", UNFINISHED
        if response.environment is not None:  # An archive chooses neither the image nor the memory of a sandbox here.
            response.environment.image, response.environment.memory_mb = None, 0
        for at, message in enumerate(one.input):
            new_id = self._next_id(INPUTS[type(message)])
            self._items[message.id] = message.id = new_id
            if isinstance(message, Compaction):
                self._compaction(message)
            if isinstance(message, Approval | CodeApproval):
                message.decided_by = None  # An archive allows nothing: anybody may have written it.
                message.approval_request_id = self._items.get(message.approval_request_id, "")
            if isinstance(message, InputMessage):
                _check_parts(message, f"{place}.input[{at}].content")
        for at, item in enumerate(response.output):
            self._item(item, self._next_id, f"{place}.response.output[{at}]")
        rest = msgspec.structs.replace(response, output=[])
        _check_storable([msgspec.to_builtins(rest), msgspec.to_builtins(one.input)], place)

    def response_id(self, old: str) -> str:
        """The new id of a response to which `apply` was applied. Raises `KeyError`."""
        return self._responses[old]

    def end(self, conversation: ArchivedConversation) -> None:
        last = conversation.last_response_id
        if last is not None and last not in self._responses:
            raise refused("no response has this id", "conversation.last_response_id")
        conversation.last_response_id = self._responses.get(last) if last is not None else None

    def _item(self, item: Item, next_id: Callable[[str], str], place: str) -> None:
        item.id = self._new_id(item.id, next_id)
        if isinstance(item, Message):
            for part in item.content:
                part.annotations = []  # They cite files of containers, which an archive does not include.
        if isinstance(item, Compaction):
            self._compaction(item)
        if isinstance(item, ClientCall) and item.code_item_id is not None:
            item.code_item_id = self._items.get(item.code_item_id)
        if isinstance(item, ClientCall) and item.caller is not msgspec.UNSET:
            item.caller.caller_id = self._items.get(item.caller.caller_id, "")
        if isinstance(item, ApprovalRequest | CodeApprovalRequest):
            item.code_item_id = self._items.get(item.code_item_id or "")
        if isinstance(item, CodeInterpreterCall):
            item.waits_for = [
                self._new_id(each, next_id) if each.startswith(("mcpr_", "apr_")) else each for each in item.waits_for
            ]
            item.restart = None  # It is of no use without the checkpoint, and nobody vouches for its results.
            item.continues = self._items.get(item.continues) if item.continues is not None else None
            item.container_id = self._containers.setdefault(item.container_id, next_id("cntr"))
            for output in item.outputs or ():
                if isinstance(output, ImageOutput) and not (sha256_of(output.url) or image_of(output.url)):
                    raise refused("an image must be a data: URL or a blob", f"{place}.outputs")
            for shown in item.notebook_outputs:
                urls = getattr(shown, "metadata", {}).get(URL, {})
                if not isinstance(urls, dict) or not all(
                    isinstance(url, str) and sha256_of(url) for url in urls.values()
                ):
                    raise refused(f"'{URL}' must map to blobs", f"{place}.codeact:notebook_outputs")
        if isinstance(item, CodeInterpreterCall):
            # Displayed values are stored as JSON text, so only their size matters.
            if sum(len(encode(shown)) for shown in item.notebook_outputs) > PART_BYTES:
                raise refused(f"it has more than {PART_BYTES:,} bytes", place)
            shown_metadata = [getattr(shown, "metadata", {}) for shown in item.notebook_outputs]
            _check_storable(
                [shown_metadata, msgspec.to_builtins(msgspec.structs.replace(item, notebook_outputs=[]))], place
            )
        else:
            _check_storable(msgspec.to_builtins(item), place)

    def _new_id(self, old: str, next_id: Callable[[str], str]) -> str:
        if old not in self._items:
            self._items[old] = next_id(old.partition("_")[0] if re.match(r"[a-z]{1,8}_", old) else "item")
        return self._items[old]

    def _compaction(self, item: Compaction) -> None:
        item.encrypted_content = ""  # Whoever exported it: it is another owner's, or may be.
        item.keeps = [self._items[kept] for kept in item.keeps if kept in self._items]


def _check_parts(message: InputMessage, place: str) -> None:
    """Checks the parts of a message: they are flat, with known names, and strings or integers as values."""
    for part in message.content:
        for name, value in part.items():
            if name not in NAMES or not isinstance(value, str | int | None):
                raise refused(f"'{name[:50]}' is not known in a part", place)


def _check_storable(value: Any, place: str) -> None:
    """Raises `InvalidRequest` if MongoDB cannot store the value: too large, too deep, or integers beyond 64 bits."""
    if len(msgspec.json.encode(value)) > PART_BYTES:
        raise refused(f"it has more than {PART_BYTES:,} bytes", place)
    if (problem := not_storable(value)) is not None:
        raise refused(problem, place)

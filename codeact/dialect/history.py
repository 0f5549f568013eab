"""Converts a stored conversation into chat messages, in the form of one dialect.

With tags, code is part of the assistant's text, and the observation is a user message that starts with `Observation:`
(Wang et al. 2024, "Executable Code Actions Elicit Better LLM Agents"). With calls, code is the argument of a call,
and the observation is the result of that call.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from codeact.dialect.base import Aside, Entry
from codeact.dialect.decisions import waited_in_vain
from codeact.dialect.images import displayed
from codeact.dialect.markup import CLOSE, OPEN
from codeact.dialect.turns import Parts, Turns, as_text
from codeact.events import (
    Approval,
    ApprovalRequest,
    ClientCall,
    CodeApproval,
    CodeApprovalRequest,
    CodeInterpreterCall,
    Compaction,
    FunctionCallOutput,
    InputMessage,
    Message,
    Reasoning,
    Written,
)
from codeact.file_names import called, is_second
from codeact.model import ChatMessage, PastCall
from codeact.observations.observation import HEADER
from codeact.observations.plaintext import excerpt

__all__ = ["FUNCTION", "NOTE", "USER_SAYS", "arguments_of", "block_of", "rendered", "text_of", "uses_tags"]

USER_SAYS = "The user says:"
"""Precedes the user's text if it is in the same message as an observation or a note."""
NOTE = "Note from the system:"
SECOND = "[Two files were sent under one name: the later one has a number in its name.]"
VALUE_CHARS = 4_000
FUNCTION = "python"
"""The name of the tool that runs code."""

Calls = Literal["function", "custom"]


def rendered(
    items: Sequence[Entry],
    *,
    system: str,
    model: str | None = None,
    calls: Calls | None = None,
    images: Mapping[str, str] | None = None,
) -> list[ChatMessage]:
    """Returns the conversation as messages, in which user and assistant alternate and results follow their calls.

    System and developer messages at the start are appended to `system`; later ones become notes of the user at their
    place, since many models accept a system message only at the start. Replies of the model `model` are repeated
    exactly, with their reasoning; reasoning of other models is left out. `calls` is the form of calls, None for tags.
    See `Dialect.messages`.
    """
    turns = Turns(system)
    facts = _Facts.of(items, model=model, calls=calls, images=images)
    for item in items:
        if isinstance(item, Aside):
            turns.add("assistant", item.reply)
            turns.add("user", item.text)
        elif item.id in facts.covered:
            continue
        elif isinstance(item, InputMessage):
            _add_input(turns, item, model)
        elif isinstance(item, Message):
            if item.before_result_of in facts.went_on:
                continue  # It is with its block, before the observation.
            written = facts.written(item)
            turns.add("assistant", text_of(item) if written is None or written.text is None else written.text)
        elif isinstance(item, Reasoning):
            if item.kept is not None and item.kept.model == model:
                turns.think(item.kept.back(item))
        elif isinstance(item, Compaction):
            turns.add("user", f"{NOTE} {item.text}")
        elif isinstance(item, FunctionCallOutput):
            if item.call_id in facts.lost or not item.call_id:
                value = excerpt(item.output, VALUE_CHARS)
                name = facts.names.get(item.call_id, "The function") if item.call_id else "tool_search"
                turns.add("user", f"{name}() returned:\n{value}")
        elif isinstance(item, CodeInterpreterCall):
            if calls is None:
                _add_block(turns, item, facts)
            else:
                _add_call(turns, item, facts, calls)
    return turns.messages()


def uses_tags(messages: Iterable[ChatMessage]) -> bool:
    """Whether the model has run code between tags before. If so, its Python fences are meant for the user to read."""
    mark = f"{OPEN}\n"
    return any(
        message.role == "assistant" and isinstance(message.content, str) and mark in message.content
        for message in messages
    )


def text_of(message: Message) -> str:
    """Returns the prose of an item, for prompts if the model's exact text is unknown."""
    return "".join(part.text for part in message.content).rstrip()


def block_of(call: CodeInterpreterCall) -> str:
    """Returns the code between tags, or in a Markdown fence if the model wrote it in one."""
    if call.tagged:
        return f"{OPEN}\n{call.code}\n{CLOSE}"
    fence = "````" if "```" in call.code else "```"
    return f"{fence}python\n{call.code}\n{fence}"


def arguments_of(code: str, calls: Calls) -> str:
    """Returns the code as the arguments of a call: JSON, or the plain code for a `custom` tool."""
    return code if calls == "custom" else json.dumps({"code": code}, ensure_ascii=False, separators=(",", ":"))


@dataclass(slots=True)
class _Facts:
    """Facts about the whole conversation that are needed to write messages for its single items.

    `names` maps the ids of function calls to the functions' names, `continued` the ids of code items to the items that
    continue them. `covered` has the ids of items that the exact text of another item contains, `lost` those of function
    calls whose code never continued. `went_on` maps ids of code items to the text that the model wrote after the block.
    """

    model: str | None
    calls: Calls | None
    images: Mapping[str, str] | None
    names: dict[str, str]
    continued: dict[str, CodeInterpreterCall]
    covered: set[str]
    lost: set[str]
    went_on: dict[str | None, str]
    requests: dict[str, ApprovalRequest | CodeApprovalRequest]
    decisions: dict[str, Approval | CodeApproval]

    @classmethod
    def of(
        cls, items: Sequence[Entry], *, model: str | None, calls: Calls | None, images: Mapping[str, str] | None
    ) -> "_Facts":
        names = {item.call_id: item.name for item in items if isinstance(item, ClientCall)}
        blocks = [item for item in items if isinstance(item, CodeInterpreterCall)]
        continued = {item.continues: item for item in blocks if item.continues is not None}
        lost = {call_id for item in blocks if item.id not in continued for call_id in item.waits_for}
        block_ids = {block.id for block in blocks}
        went_on: dict[str | None, str] = {
            item.before_result_of: text_of(item)
            for item in items
            if isinstance(item, Message) and item.before_result_of in block_ids
        }
        requests = {item.id: item for item in items if isinstance(item, ApprovalRequest | CodeApprovalRequest)}
        decisions = {item.approval_request_id: item for item in items if isinstance(item, Approval | CodeApproval)}
        facts = cls(model, calls, images, names, continued, set(), lost, went_on, requests, decisions)
        for item in items:
            if isinstance(item, Message | CodeInterpreterCall) and (written := facts.written(item)) is not None:
                facts.covered.update(written.items if written.text is not None else ())
        return facts

    def written(self, item: Message | CodeInterpreterCall) -> Written | None:
        """Returns the exact text of an item if this prompt's model wrote it, in the same form of calls; else None."""
        written = item.written
        if written is None or written.model != self.model:
            return None
        if isinstance(item, CodeInterpreterCall):
            form = None if written.call_id is None else "custom" if written.custom else "function"
            return written if form == self.calls else None
        return written

    def end_of(self, call: CodeInterpreterCall) -> CodeInterpreterCall:
        """Returns the item in which the execution that began in `call` ended."""
        seen = {call.id}
        while (after := self.continued.get(call.id)) is not None and after.id not in seen:
            seen.add(after.id)
            call = after
        return call

    def waited(self, call: CodeInterpreterCall) -> str:
        if asked := [self.requests[each] for each in call.waits_for if each in self.requests]:
            return waited_in_vain(asked, self.decisions, is_rest=bool(call.observation))
        called = ", ".join(f"{self.names.get(call_id, 'a function')}()" for call_id in call.waits_for)
        return f"{HEADER} the code waited for {called} and could not go on"

    def seen(self, call: CodeInterpreterCall) -> str | Parts:
        """Returns the observation of the execution that ended in this item, with the images that it displayed."""
        if call.waits_for:
            return f"{call.observation}\n{self.waited(call)}" if call.observation else self.waited(call)
        never = "this block was not run" + (" to its end" if call.continues is not None else "")
        text = call.observation or f"{HEADER} {never}"
        pictures = displayed(call, self.images) if self.images is not None else []
        return [{"type": "text", "text": text}, *pictures] if pictures else text


def _add_block(turns: Turns, item: CodeInterpreterCall, facts: _Facts) -> None:
    if item.continues is not None:
        if not item.waits_for or item.id not in facts.continued:
            turns.add("user", facts.seen(item))
        return
    if not item.code:
        return
    written = facts.written(item)
    if written is not None and written.text is not None:
        turns.add("assistant", written.text)
    else:
        turns.add("assistant", block_of(item), glue="\n")
        turns.add("assistant", facts.went_on.get(item.id, ""))
    if not item.waits_for or item.id not in facts.continued:
        turns.add("user", facts.seen(item))


def _add_call(turns: Turns, item: CodeInterpreterCall, facts: _Facts, calls: Calls) -> None:
    """Adds a call directly followed by its result, as servers require, even if the code ended in a later response."""
    if item.continues in facts.continued or not (item.code or item.observation):
        return
    written = facts.written(item)
    if written is None:
        written = Written(model="")
    if written.text is not None:
        turns.add("assistant", written.text)
    else:
        turns.add("assistant", facts.went_on.get(item.id, ""))
    arguments = arguments_of(item.code, calls) if written.arguments is None else written.arguments
    call = PastCall(written.call_id or f"call_{item.id}", FUNCTION, arguments, custom=calls == "custom")
    turns.call(call, facts.seen(facts.end_of(item)), same_reply=written.place > 0)


def _add_input(turns: Turns, item: InputMessage, model: str | None) -> None:
    parts = _parts(item)
    match item.role:
        case "system" | "developer":
            if as_text(parts).startswith(HEADER):  # A client sent code back with its output.
                turns.add("user", as_text(parts))
            elif turns.last.role == "system":
                turns.add("system", as_text(parts))
            else:
                turns.add("user", f"{NOTE} {as_text(parts)}")
        case "assistant":
            if item.kept is not msgspec.UNSET and item.kept.model == model:
                turns.think(item.kept.data)
            turns.add("assistant", as_text(parts).rstrip())
        case "user":
            if turns.last.role == "user" and turns.last.begins_with.startswith((HEADER, NOTE)):
                turns.add("user", USER_SAYS)
            turns.add("user", parts if any(part["type"] != "text" for part in parts) else as_text(parts))


def _parts(message: InputMessage) -> Parts:
    parts = [_part(part) for part in message.content]
    names = [
        str(part["filename"]) for part in message.content if part.get("type") == "input_file" and "filename" in part
    ]
    if any(is_second(name, names) for name in names):
        parts.append({"type": "text", "text": SECOND})
    return parts


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """Converts a content part of the Responses API into one of Chat Completions."""
    match part:
        case {"type": "input_image", "image_url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url, "detail": part.get("detail") or "auto"}}
        case {"type": "input_file", "filename": str(name)}:
            size = f", {part['size_bytes']:,} bytes" if "size_bytes" in part else ""
            return {"type": "text", "text": f"[The user's file {called(name)}{size}: it is in the working directory.]"}
        case {"text": str(text)}:
            return {"type": "text", "text": text}
    return {"type": "text", "text": f"[{part.get('type', 'a part')} that you cannot see]"}

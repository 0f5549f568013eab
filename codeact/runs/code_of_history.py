"""Gives a history that a client sends back the code that its client did not get, or left out.

An answer's items of code are not in every client's answers (`CODEACT_CODE_ITEMS`), and some clients drop them. The
model should read the code all the same, so it comes from the stored conversation: each block before what followed it
in the answer, if the client sends that. Code that the client sent itself, as messages or in a fence of a chat's text,
is not inserted again.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from codeact.events import (
    CodeInterpreterCall,
    CustomToolCall,
    FunctionCall,
    Input,
    InputMessage,
    Item,
    LocalShellCall,
    Message,
    ShellCall,
    ShellLocal,
    ToolSearchCall,
)
from codeact.runs.input_items import code_messages

__all__ = ["with_code"]

BEGIN, END = "````python\n", "\n````"
"""The fence around code in the text of a chat."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code, with what the model read about it. Its execution may have gone on in later answers."""

    code: str
    observation: str | None


def with_code(messages: Sequence[Input], stored: Sequence[Input | Item]) -> list[Input]:
    """Returns the messages of a client with the blocks of code from the stored conversation that they repeat.

    A block is inserted before the message of the assistant, or the text of the call, that followed it. Blocks without
    such a text, and those that the client sent itself, are left out. Takes linear time.
    """
    places: dict[str, deque[int]] = defaultdict(deque)
    fenced: set[str] = set()
    for index, message in enumerate(messages):
        if isinstance(message, InputMessage) and message.role == "assistant":
            text = _text(message) or ""
            places[text].append(index)
            fenced.update(_fenced(text))
    inserted: dict[int, list[Block]] = {}
    at = -1
    for blocks, text in _blocks_before_texts(stored):
        found = places.get(text, deque())
        while found and found[0] <= at:
            found.popleft()
        if found:
            at = found[0]
            inserted[at] = blocks
    completed: list[Input] = []
    for index, message in enumerate(messages):
        for block in inserted.get(index, ()):
            code, observation = code_messages(block.code, "", observation=block.observation)
            if _text(code) not in places and block.code.strip() not in fenced:
                completed += [code, observation]
        completed.append(message)
    return completed


def _fenced(text: str) -> Iterator[str]:
    """Yields the blocks of code in the text of an answer in Chat Completions (`ChatText`), without white space around.

    Takes linear time.
    """
    begin = text.find(BEGIN)
    while begin >= 0:
        start = begin + len(BEGIN)
        end = text.find(END, start - 1)
        if end < 0:
            return
        yield text[start:end].strip()
        begin = text.find(BEGIN, end + len(END))


def _blocks_before_texts(stored: Sequence[Input | Item]) -> Iterator[tuple[list[Block], str]]:
    """Yields each text of the assistant with the blocks of code between it and the text before."""
    blocks: dict[str, Block] = {}
    first: dict[str, str] = {}
    for item in stored:
        if isinstance(item, CodeInterpreterCall):
            # An item that continues another one has its observation, but not its code.
            begun = first[item.id] = first.get(item.continues or "", item.continues or item.id)
            known = blocks.get(begun, Block(item.code, None))
            blocks[begun] = replace(known, observation=item.observation or known.observation)
    since: list[Block] = []
    for item in stored:
        if isinstance(item, CodeInterpreterCall) and item.id in blocks:
            since.append(blocks[item.id])
        elif (text := _text(item)) is not None:
            yield since, text
            since = []


def _text(item: Input | Item) -> str | None:
    """What the assistant says in a message, or the text for a call, as in a history that a client sends back."""
    match item:
        case Message(content=content):
            return "".join(part.text for part in content)
        case InputMessage(role="assistant", content=parts):
            return "".join(part.get("text", "") for part in parts)
        case FunctionCall(name=name, arguments=arguments):
            return f"{name}({arguments})"
        case CustomToolCall(name=name, input=text):
            return f"{name}({text})"
        case ToolSearchCall(name=name, arguments=given):
            return f"{name}({msgspec.json.encode(given).decode()})"
        case ShellCall(name=name, action=action, environment=ShellLocal()):
            return f"{name}({msgspec.json.encode(action).decode()})"
        case LocalShellCall(name=name, action=command):
            return f"{name}({msgspec.json.encode(command).decode()})"
    return None

"""What the model reads: a stored conversation enters; chat messages in CodeAct's format leave.

Code is written between `<execute>` tags and what became of it comes back as a user message that starts with
`Observation:` (Wang et al. 2024, "Executable Code Actions Elicit Better LLM Agents").
"""

from collections.abc import Iterable, Sequence
from typing import Any

from codeact.events import CodeInterpreterCall, FunctionCall, FunctionCallOutput, Input, InputMessage, Item, Message
from codeact.markup import CLOSE, OPEN
from codeact.models import ChatMessage
from codeact.observation import HEADER, kernel_lost, observation
from codeact.plaintext import excerpt
from sandbox_pool.spec import Limits

__all__ = [
    "BRANCHED",
    "LAST_TURN",
    "USER_SAYS",
    "add_user",
    "chat_messages",
    "kernel_lost",
    "last_turn",
    "observation",
    "system_prompt",
    "uses_tags",
]

USER_SAYS = "The user says:"
"""Stands before a user's words where they share a message with an observation or a note."""

LAST_TURN = "No more code will run:"
"""What `last_turn` starts with."""

BRANCHED = (
    "The user went back to this point of the conversation and goes on from here. The Python kernel did not go back:"
    " variables and files of what came after this point may still exist."
)

VALUE_CHARS = 4_000

_NOTE = "Note from the system:"

_SYSTEM = """\
You solve tasks by writing Python that is run for you. You have an IPython kernel in a sandbox of this \
conversation's own; it keeps variables, imports and files from one block to the next.

To run code, say in a short sentence what it does, write one block, and stop there:

<execute>
print(6 * 7)
</execute>

You then get a message that starts with "Observation:" and shows what was printed, the value of the last \
expression, what was displayed, or the traceback. Read it before you go on: run another block, or answer.

Rules
- One block per reply and nothing after </execute>. Never write an observation yourself.
- You see only what is printed or displayed, and the value of the last expression. A matplotlib figure is \
shown to the user by plt.show().
- There is no network: downloads and `!pip install` fail. Use what is installed, or write it yourself.
- A block may run {time} s and use {memory} MB of memory and {cpus} CPU. Split longer work into \
blocks and print progress.
- After an error, fix its cause; variables set before it are still there.
- Rely on observations, not on what you remember or guess.
{notes}
Once you know the answer, or when no code is needed, answer the user in Markdown without tags. To show code \
that should not run, use a ```text fence.

Example
User: Which digit sum has 2 to the power of 100?
You: I add up its digits.
<execute>
sum(int(digit) for digit in str(2**100))
</execute>
User: Observation: ok, 0.01 s
value:
115
You: The digit sum of 2¹⁰⁰ is **115**.
"""


_FUNCTIONS = """\
Functions
These are defined in your kernel; call them in your code like any other. They run outside of the sandbox, may reach \
the network, return what JSON can say (dicts, lists, strings, numbers), and raise CallError where they fail. Several \
calls may share a block.

{functions}
"""


def system_prompt(
    *, instructions: str | None = None, limits: Limits, notes: Sequence[str] = (), functions: str = ""
) -> str:
    """How to act, in a few hundred tokens.

    `notes` are further rules, `instructions` the caller's own words, `functions` the signatures and docstrings
    of functions that code can call.
    """
    text = _SYSTEM.format(
        time=f"{limits.execution_timeout_s:g}",
        memory=limits.memory_mb,
        cpus=f"{limits.cpus:g}",
        notes="".join(f"- {note}\n" for note in notes),
    )
    if functions:
        text = f"{text}\n{_FUNCTIONS.format(functions=functions)}"
    return f"{text}\nInstructions\n{instructions}\n" if instructions else text


def last_turn(max_turns: int) -> str:
    """The user message that ends a loop which has run code `max_turns` times."""
    return (
        f"{LAST_TURN} you have run code {max_turns} times, the most that is allowed here."
        " Answer now, without tags, from what you have, and say what is missing."
    )


def uses_tags(messages: Iterable[ChatMessage]) -> bool:
    """Whether the model has run code between tags before. Its Python fences are then meant to be read."""
    return any(
        message.role == "assistant" and isinstance(message.content, str) and f"{OPEN}\n" in message.content
        for message in messages
    )


def chat_messages(items: Sequence[Input | Item], *, system: str) -> list[ChatMessage]:
    """A stored conversation as the model reads it, user and assistant in turn.

    System and developer messages at the start join `system`; later ones become notes where they stand,
    since many models take a system message only first. Reasoning is left out.
    """
    messages = [ChatMessage("system", system)]
    continued = {item.continues for item in items if isinstance(item, CodeInterpreterCall)}
    names = {item.call_id: item.name for item in items if isinstance(item, FunctionCall)}
    lost: set[str] = set()
    for item in items:
        match item:
            case InputMessage(role="system" | "developer"):
                text = _as_text(_parts(item))
                if messages[-1].role == "system":
                    _add(messages, "system", text)
                else:
                    _add(messages, "user", f"{_NOTE} {text}")
            case InputMessage(role="assistant"):
                _add(messages, "assistant", _as_text(_parts(item)).rstrip())
            case InputMessage():
                _add_said(messages, _parts(item))
            case Message():
                _add(messages, "assistant", "".join(part.text for part in item.content).rstrip())
            case CodeInterpreterCall(continues=str()):
                _add(messages, "user", item.observation or f"{HEADER} this block was not run to its end")
            case CodeInterpreterCall(waits_for=[_, *_]):
                _add(messages, "assistant", _block(item))
                if item.id not in continued:
                    lost |= set(item.waits_for)
                    called = ", ".join(f"{names.get(call_id, 'a function')}()" for call_id in item.waits_for)
                    _add(messages, "user", f"{HEADER} the code waited for {called} and could not go on")
            case FunctionCallOutput() if item.call_id in lost:
                value = excerpt(item.output, VALUE_CHARS)
                _add(messages, "user", f"{names.get(item.call_id, 'The function')}() returned:\n{value}")
            case CodeInterpreterCall() if item.code:
                _add(messages, "assistant", _block(item))
                _add(messages, "user", item.observation or f"{HEADER} this block was not run")
    return messages


def add_user(messages: Sequence[ChatMessage], text: str) -> list[ChatMessage]:
    """The messages with `text` said by the user; joined to a last message of the user's."""
    result = list(messages)
    _add(result, "user", text)
    return result


def _block(call: CodeInterpreterCall) -> str:
    """The code as the model wrote it."""
    if call.tagged:
        return f"{OPEN}\n{call.code}\n{CLOSE}"
    fence = "````" if "```" in call.code else "```"
    return f"{fence}python\n{call.code}\n{fence}"


Parts = list[dict[str, Any]]


def _parts(message: InputMessage) -> Parts:
    return [_part(part) for part in message.content]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """A content part of the Responses API as Chat Completions has it."""
    match part:
        case {"type": "input_image", "image_url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url, "detail": part.get("detail") or "auto"}}
        case {"type": "input_file", "filename": str(name)}:
            size = f", {part['size_bytes']:,} bytes" if "size_bytes" in part else ""
            return {"type": "text", "text": f"[The user's file {name!r}{size}: it is in the working directory.]"}
        case {"text": str(text)}:
            return {"type": "text", "text": text}
    return {"type": "text", "text": f"[{part.get('type', 'a part')} that you cannot see]"}


def _as_text(parts: Parts) -> str:
    return "\n\n".join(part["text"] for part in parts if part["type"] == "text")


def _add_said(messages: list[ChatMessage], parts: Parts) -> None:
    content: str | Parts = parts if any(part["type"] != "text" for part in parts) else _as_text(parts)
    last = messages[-1]
    if last.role == "user" and _as_text(_listed(last.content)).startswith((HEADER, _NOTE)):
        _add(messages, "user", USER_SAYS)
    _add(messages, "user", content)


def _add(messages: list[ChatMessage], role: Any, content: str | Parts) -> None:
    """Appends a message or, after one of the same role, joins it to that."""
    if not content:
        return
    last = messages[-1] if messages else None
    if last is None or last.role != role:
        messages.append(ChatMessage(role, content))
    elif isinstance(last.content, str) and isinstance(content, str):
        messages[-1] = ChatMessage(role, f"{last.content}\n\n{content}")
    else:
        messages[-1] = ChatMessage(role, _listed(last.content) + _listed(content))


def _listed(content: str | Parts) -> Parts:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content

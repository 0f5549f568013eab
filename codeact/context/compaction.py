"""Decides which items a model still reads after a compaction. No I/O."""

from collections.abc import Sequence

from codeact.context.tokens import estimated_tokens
from codeact.dialect.base import Aside, Entry
from codeact.events import CodeInterpreterCall, Compaction, InputMessage, Message, Reasoning
from codeact.observations.observation import HEADER

__all__ = ["compacted", "is_of_user", "kept_ids", "latest", "questions", "size_tokens", "text_of_input"]

NEWEST = 2
"""How many of the newest blocks of code are kept, with the items around them, if there is space."""

READ_CHARS = 20_000


def latest(items: Sequence[Entry]) -> int | None:
    """Returns the index of the last compaction with a text, which is the one in effect; None if there is none."""
    found = (at for at in range(len(items) - 1, -1, -1) if isinstance(item := items[at], Compaction) and item.text)
    return next(found, None)


def compacted(items: Sequence[Entry]) -> list[Entry]:
    """Returns the items that a model reads: those from the last compaction on.

    Before the compaction come the instructions at the start of the conversation, after it the earlier items that it
    keeps. A compaction that a client sent back keeps none; then the user's earlier messages remain before it.
    """
    at = latest(items)
    if at is None:
        return [item for item in items if not isinstance(item, Compaction)]
    compaction, before = items[at], items[:at]
    assert isinstance(compaction, Compaction)
    start = _instructions(before)
    rest = [item for item in items[at + 1 :] if not isinstance(item, Compaction)]
    if not compaction.keeps:
        said = [item for item in before[start:] if is_of_user(item)]
        return [*before[:start], *said, compaction, *rest]
    keeps = set(compaction.keeps)
    kept = [item for item in before[start:] if not isinstance(item, Aside | Compaction) and item.id in keeps]
    return [*before[:start], compaction, *kept, *rest]


def kept_ids(items: Sequence[Entry], *, room_tokens: float) -> list[str]:
    """Returns the ids of the items to keep after a compaction. `items` are those that the model reads now.

    The user's last question and the newest block of code after it are always kept. If there is space, it also keeps one
    more block, the newest one that failed, and the answer before the question.
    """
    items = [item for item in items if not isinstance(item, Aside)]
    asked = next((at for at in range(len(items) - 1, -1, -1) if is_of_user(items[at])), 0)
    # All messages of one request stay together, with the notes on the kernel.
    while asked > 0 and isinstance(items[asked - 1], InputMessage):
        asked -= 1
    blocks = [at for at, item in enumerate(items) if isinstance(item, CodeInterpreterCall)]
    chosen = {at for at in range(asked, len(items)) if isinstance(items[at], InputMessage)}
    room_tokens -= sum(size_tokens(items[at]) for at in chosen)
    for at in reversed(blocks[-NEWEST:]):
        step = _step(items, at)
        cost = sum(size_tokens(items[each]) for each in step if each not in chosen)
        # A model that does not read the result of its last step would repeat that step.
        if cost > room_tokens and not (at == blocks[-1] and at > asked):
            break
        chosen.update(step)
        room_tokens -= cost
    answer = next((at for at in range(asked - 1, -1, -1) if isinstance(items[at], Message)), None)
    if answer is not None and answer not in chosen and size_tokens(items[answer]) <= room_tokens:
        chosen.add(answer)
        room_tokens -= size_tokens(items[answer])
    failed = next((at for at in reversed(blocks) if _failed(items[at])), None)
    if failed is not None and failed not in chosen:
        step = _step(items, failed)
        if sum(size_tokens(items[each]) for each in step) <= room_tokens:
            chosen.update(step)
    return [item.id for at, item in enumerate(items) if at in chosen and not isinstance(item, Aside | Compaction)]


def questions(items: Sequence[Entry]) -> list[str]:
    """Returns the texts of the user's messages, oldest first."""
    return [
        text_of_input(item)
        for item in items
        if isinstance(item, InputMessage) and is_of_user(item) and text_of_input(item)
    ]


def size_tokens(item: Entry) -> float:
    """Estimates how many tokens of the item a model reads; a long text counts like its beginning."""
    match item:
        case CodeInterpreterCall(code=code, observation=observation):
            return _tokens(code) + _tokens(observation or "")
        case InputMessage():
            return _tokens(text_of_input(item))
        case Message(content=content):
            return sum(_tokens(part.text) for part in content)
        case Compaction(text=text):
            return _tokens(text)
    return 0.0


def _tokens(text: str) -> float:
    return estimated_tokens(text[:READ_CHARS]) * max(1.0, len(text) / READ_CHARS)


def _instructions(items: Sequence[Entry]) -> int:
    """Returns the number of system and developer messages at the start of a conversation."""
    count = 0
    for item in items:
        if not isinstance(item, InputMessage) or item.role not in ("system", "developer"):
            break
        count += 1
    return count


def _step(items: Sequence[Entry], at: int) -> list[int]:
    """Returns the indexes of a block, the model's messages and reasoning before it, and the calls of its code.

    For the last block that includes the answer after it. A block that continues an earlier item includes that item and
    everything in between.
    """
    block, start, end = items[at], at, at + 1
    if isinstance(block, CodeInterpreterCall) and block.continues is not None:
        start = next((index for index, item in enumerate(items) if getattr(item, "id", None) == block.continues), at)
    while start > 0 and not isinstance(items[start - 1], CodeInterpreterCall | Compaction | InputMessage):
        start -= 1
    is_last = not any(isinstance(item, CodeInterpreterCall) for item in items[at + 1 :])
    ends = (InputMessage,) if is_last else (InputMessage, CodeInterpreterCall, Message, Reasoning)
    while end < len(items) and not isinstance(items[end], ends):
        end += 1
    return list(range(start, end))


def is_of_user(item: Entry) -> bool:
    """Whether this is a message of the user, and not an observation that a client sent back."""
    return isinstance(item, InputMessage) and item.role == "user" and not text_of_input(item).startswith(HEADER)


def _failed(item: Entry) -> bool:
    return isinstance(item, CodeInterpreterCall) and item.result is not None and item.result.error is not None


def text_of_input(item: InputMessage) -> str:
    """Returns the text of a message, without images and files."""
    return "\n".join(str(part["text"]) for part in item.content if isinstance(part.get("text"), str))

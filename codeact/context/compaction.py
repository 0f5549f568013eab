"""Decides what a compaction stands for: which items a model no longer reads, and which it still does. Pure."""

from collections.abc import Sequence

from codeact.context.tokens import estimated_tokens
from codeact.dialect.base import Aside, Said
from codeact.events import CodeInterpreterCall, Compaction, InputMessage, Message, Reasoning
from codeact.observations.observation import HEADER

__all__ = ["compacted", "is_of_user", "kept_ids", "latest", "questions", "size_tokens", "text_of_input"]

NEWEST = 2
"""As many of the newest blocks of code stay, with all that stands around them, where there is room."""

READ_CHARS = 20_000


def latest(items: Sequence[Said]) -> int | None:
    """The index of the compaction that counts: the last one that has a text. None where there is none."""
    found = (at for at in range(len(items) - 1, -1, -1) if isinstance(item := items[at], Compaction) and item.text)
    return next(found, None)


def compacted(items: Sequence[Said]) -> list[Said]:
    """What a model reads of a conversation: the items from the last compaction on.

    Before it stand the instructions with which the conversation begins. Items that it keeps follow it. One that came
    from a client keeps none: what the user said before it stays where it stood.
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


def kept_ids(items: Sequence[Said], *, room_tokens: float) -> list[str]:
    """Which of these items stay beside a compaction that follows them. `items` are those that the model reads now.

    They are what the user asked last and the newest block of code behind it, whatever their size; and, where there is
    room, one more block, the newest that failed, and the answer before the question.
    """
    items = [item for item in items if not isinstance(item, Aside)]
    asked = next((at for at in range(len(items) - 1, -1, -1) if is_of_user(items[at])), 0)
    # What was said in one go stays together: notes on the kernel, and all messages of one request.
    while asked > 0 and isinstance(items[asked - 1], InputMessage):
        asked -= 1
    blocks = [at for at, item in enumerate(items) if isinstance(item, CodeInterpreterCall)]
    chosen = {at for at in range(asked, len(items)) if isinstance(items[at], InputMessage)}
    room_tokens -= sum(size_tokens(items[at]) for at in chosen)
    for at in reversed(blocks[-NEWEST:]):
        step = _step(items, at)
        cost = sum(size_tokens(items[each]) for each in step if each not in chosen)
        # Without what its last step has shown, a model would do that step again.
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


def questions(items: Sequence[Said]) -> list[str]:
    """What the user said, oldest first, as text."""
    return [
        text_of_input(item)
        for item in items
        if isinstance(item, InputMessage) and is_of_user(item) and text_of_input(item)
    ]


def size_tokens(item: Said) -> float:
    """About how many tokens a model reads of it. Of a long text the beginning counts for the rest."""
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


def _instructions(items: Sequence[Said]) -> int:
    """How many system and developer messages a conversation begins with."""
    count = 0
    for item in items:
        if not isinstance(item, InputMessage) or item.role not in ("system", "developer"):
            break
        count += 1
    return count


def _step(items: Sequence[Said], at: int) -> list[int]:
    """The block with what the model said and thought before it, and the calls that its code made.

    Behind the last block the answer stands too. Code that went on from an earlier item takes that along, and what
    stands between.
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


def is_of_user(item: Said) -> bool:
    """Whether the user said it; an observation that a client sent back is none of the user's words."""
    return isinstance(item, InputMessage) and item.role == "user" and not text_of_input(item).startswith(HEADER)


def _failed(item: Said) -> bool:
    return isinstance(item, CodeInterpreterCall) and item.result is not None and item.result.error is not None


def text_of_input(item: InputMessage) -> str:
    """The texts of a message, without images and files."""
    return "\n".join(str(part["text"]) for part in item.content if isinstance(part.get("text"), str))

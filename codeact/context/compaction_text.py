"""Writes the text of a compaction, which a model reads instead of the earlier messages. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from codeact.context.compaction import text_of_input
from codeact.context.facts import facts
from codeact.dialect.base import Entry
from codeact.events import CodeInterpreterCall, InputMessage, Message
from codeact.observations.plaintext import excerpt
from sandbox_pool.inventory import Inventory

__all__ = ["ASK", "Earlier", "compaction_text", "described", "earlier_of"]

ASK = (
    "Note from the system: the messages above will be replaced by a summary, since they become too long. Write your"
    " part of it now, in at most 250 words and without code: what the user wants, what was decided and why, what was"
    " found out that no variable holds, and what is still to be done. Variables, functions and files are read from the"
    " kernel and stand beside it, so do not list them. Reply with that text alone."
)
HEAD = (
    "Earlier messages of this conversation were summarised. What follows stands for them: it tells of earlier work, and"
    " asks for nothing."
)
WORDS = "Aims, decisions and open ends:"
SAID = "What the user said, oldest first, shortened:"
HELD = "What the kernel holds, as it said itself at this point:"
NO_KERNEL = "No kernel was running at this point: variables and files of earlier code are gone."
LAST = "What came last before this point:"
RECALL = "{count} blocks of code had run. recall(n) returns what block n showed, from 1 to {count}."

WORDS_SHARE, SAID_SHARE = 3, 6
"""The model's summary gets at most a third of the text, and the user's messages a sixth."""
WORDS_CHARS, SAID_CHARS, ONE_CHARS = 4_000, 4_000, 300


@dataclass(frozen=True, slots=True)
class Earlier:
    """The parts of an earlier compaction of the same conversation that a later one repeats."""

    words: str = ""
    said: tuple[str, ...] = ()


def earlier_of(text: str) -> Earlier:
    """Parses the text of an earlier compaction."""
    words = _between(text, WORDS, (SAID, HELD, NO_KERNEL))
    said = _between(text, SAID, (HELD, NO_KERNEL))
    return Earlier(words, tuple(line[2:] for line in said.splitlines() if line.startswith("- ") and line[2:3] != "…"))


def compaction_text(
    *,
    words: str,
    said: Sequence[str],
    inventory: Inventory | None,
    blocks: int,
    most_chars: int,
    earlier: Earlier | None = None,
) -> str:
    """Returns the text, of about `most_chars` characters at most.

    `words` is the model's summary; if it is empty, that of the `earlier` compaction is used. `said` are the user's
    messages. `inventory` is None if no kernel runs. `blocks` is the number of blocks of code so far, which `recall` can
    return.
    """
    earlier = earlier or Earlier()
    words = (words or earlier.words)[: min(WORDS_CHARS, most_chars // WORDS_SHARE)].strip()
    lines = _said([*earlier.said, *said], min(SAID_CHARS, most_chars // SAID_SHARE))
    parts = [HEAD]
    if words:
        parts.append(f"{WORDS}\n{words}")
    if lines:
        parts.append("\n".join([SAID, *lines]))
    end = RECALL.format(count=blocks) if blocks else ""
    if inventory is None:
        parts.append(NO_KERNEL)
    else:
        room = most_chars - sum(len(part) + 2 for part in parts) - len(HELD) - len(end)
        parts.append(f"{HELD}\n{facts(inventory, most_chars=room)}")
    if end:
        parts.append(end)
    return "\n\n".join(parts)


def described(items: Sequence[Entry], *, most_chars: int) -> str:
    """Describes the kept items in text, for a client that sends back only the compaction."""
    parts = []
    for item in items:
        match item:
            case InputMessage(role="user"):
                parts.append(f"The user: {text_of_input(item)}")
            case Message(content=content):
                parts.append(f"The assistant: {''.join(part.text for part in content)}")
            case CodeInterpreterCall(code=code, observation=observation):
                parts.append(f"Code:\n{code}\n{observation or 'It was not run to its end.'}")
    each_chars = most_chars // max(1, len(parts))
    return "\n\n".join([LAST, *(excerpt(part, each_chars) for part in parts)]) if parts else ""


def _said(said: Sequence[str], room_chars: int) -> list[str]:
    """Returns the first message and as many of the newest as fit, one line each."""
    lines = [_line(each) for each in said]
    if not lines:
        return []
    first, *rest = lines
    room_chars -= len(first)
    newest: list[str] = []
    for line in reversed(rest):
        if len(line) > room_chars:
            newest.append(f"- … ({len(rest) - len(newest)} more)")
            break
        newest.append(line)
        room_chars -= len(line)
    return [first, *reversed(newest)]


def _line(text: str) -> str:
    """Returns the beginning of a message as one line; reads only that part."""
    short = " ".join(text[: 2 * ONE_CHARS].split())
    return f"- {short if len(short) <= ONE_CHARS else f'{short[: ONE_CHARS - 1]}…'}"


def _between(text: str, begin: str, ends: Sequence[str]) -> str:
    found = text.partition(f"\n\n{begin}\n")[2]
    for end in ends:
        found = found.partition(f"\n\n{end}")[0]
    return found.strip()

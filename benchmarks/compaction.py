"""How much of a long conversation a model still knows: 40 questions about what 100 turns of work have made.

    codeact bench compaction

The work makes 10 files, 10 tables, 10 numbers and 10 functions, between turns that only print. Then each of them is
asked for: the name of the file, a column of the table, the number, a constant in the function. The model is scripted
and can only repeat lines of its prompt. It reads the compacted conversation, in the window that the figure names;
the same history, where the oldest messages are dropped until it fits; and all of it. The kernel is real.

- `compacted_N`, `dropped_N`: the part of the questions that are answered right, with a window of N thousand tokens
- `whole`: the same with the whole history
- `compactions_N`: how many there were; `cached_N`: the part of each prompt's characters, over all turns, that began the
  prompt before it, which is what a prompt cache keeps
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from codeact import AsyncAgent
from codeact import events as e
from codeact.context.budget import Budget
from codeact.context.compaction_text import ASK
from codeact.context.policy import DropOldest
from codeact.context.prompts import fitted
from codeact.context.tokens import TokenMeter
from codeact.context.window import text_of
from codeact.dialect.base import Entry
from codeact.dialect.tags import Tags
from codeact.events import InputMessage
from codeact.model import ChatMessage
from codeact.models.scripted import ScriptedModel
from codeact.store.memory import MemoryStore

__all__ = ["FACTS", "Fact", "Worker", "answered", "measure", "questions"]

TURNS = 100
WINDOWS = (8_192, 16_384, 32_768, 131_072)
TOPICS = (
    *("harbour", "orchard", "glacier", "meadow", "lantern", "quarry", "saddle", "timber", "violin", "walnut"),
    *("anchor", "bramble", "copper", "damson", "ember", "falcon", "gravel", "hazel", "indigo", "juniper"),
    *("kettle", "linen", "marble", "nectar", "onyx", "pebble", "quartz", "russet", "sorrel", "thistle"),
    *("umber", "velvet", "willow", "yarrow", "zephyr", "amber", "basalt", "cobalt", "delta", "estuary"),
)
STEP = re.compile(r"Step (\d+)\.")
ASKED = re.compile(r"What do we know of (\w+)\?")
LINES = 4
"""What belongs to a name stands on its line or on the next ones."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What `code` makes; `answer` is to be told where somebody asks for the name."""

    name: str
    code: str
    answer: str


def _fact(number: int, topic: str) -> Fact:
    value = 10_007 + 7_919 * number % 89_989
    match number % 4:
        case 0:
            path = f"{topic}_report_{value}.csv"
            return Fact(f"{topic}_report", f"open('{path}', 'w').write('a,b\\n1,2\\n' * {number + 1})", path)
        case 1:
            column = f"col_{value}"
            return Fact(f"{topic}_table", f"{topic}_table = {{'{column}': [1, 2, 3], 'other': [4, 5, 6]}}", column)
        case 2:
            return Fact(f"{topic}_limit", f"{topic}_limit = {value}", str(value))
    return Fact(f"{topic}_rate", f"def {topic}_rate(x):\n    return x * 2 + {value}", str(value))


FACTS = [_fact(number, topic) for number, topic in enumerate(TOPICS)]


class Worker(ScriptedModel):
    """Does the step that it is asked for; of a name it repeats what its prompt has about that. `prompts` are all."""

    def __init__(self, window_tokens: int | None = None) -> None:
        super().__init__(self._say)
        self._window_tokens = window_tokens
        self.prompts: list[str] = []

    async def window_tokens(self) -> int | None:
        """How much it reads."""
        return self._window_tokens

    def _say(self, messages: Sequence[ChatMessage]) -> str:
        prompt = "\n".join(text_of(message) for message in messages)
        last = text_of(messages[-1])
        if ASK in last:
            return "The user has me make files, tables, numbers and functions, step by step, and will ask for them."
        self.prompts.append(prompt)
        if asked := ASKED.findall(last):
            return answered(prompt, asked[-1])
        if "Observation:" in last.rpartition("\n\n")[2] or last.startswith("Observation:"):
            return f"That is done. {_prose(len(self.prompts))}"
        step = int(STEP.findall(last)[-1])
        made = [FACTS[each] for each in range(len(FACTS)) if each * TURNS // len(FACTS) == step]
        code = made[0].code if made else f"for n in range(40):\n    print('row', n, n * {step}, (n * {step}) % 97)"
        return f"I do step {step}.\n<execute>\n{code}\n</execute>"


def _prose(seed: int) -> str:
    return " ".join(f"Remark {n} about point {seed * n % 89} of the plan." for n in range(12))


def answered(prompt: str, name: str) -> str:
    """What the prompt says of a name: the lines where it stands, but for those that ask for it."""
    lines = prompt.splitlines()
    found = [at for at, line in enumerate(lines) if name in line and not ASKED.search(line)]
    return "\n".join("\n".join(lines[at : at + LINES]) for at in found) or "I do not know."


def questions() -> list[str]:
    """What is asked, in the order of `FACTS`."""
    return [f"What do we know of {fact.name}?" for fact in FACTS]


async def measure(sandbox: str) -> dict[str, float]:
    """Runs the work once for each window, and returns the figures."""
    figures: dict[str, float] = {}
    for window in WINDOWS:
        worker, size = Worker(window), f"{window // 1024}"
        async with AsyncAgent(worker, sandbox=sandbox, store=(store := MemoryStore())) as agent:
            for step in range(TURNS):
                await agent.run(f"Step {step}. Go on with the plan.")
            history = _items(store)
            worked = len(worker.prompts)
            right = 0
            for question, fact in zip(questions(), FACTS, strict=True):
                right += fact.answer in (await agent.run(question)).answer
        figures[f"compacted_{size}"] = right / len(FACTS)
        figures[f"dropped_{size}"] = await _dropped(history, window)
        figures[f"compactions_{size}"] = sum(isinstance(item, e.Compaction) for item in history)
        figures[f"cached_{size}"] = _cached(worker.prompts[:worked])
    figures["whole"] = await _dropped(history, None)
    return figures


def _items(store: MemoryStore) -> list[Entry]:
    [thread] = store.threads.conversations.values()
    return [item for stored in thread.responses.values() for item in (*stored.input, *stored.response.output)]


async def _dropped(history: Sequence[Entry], window: int | None) -> float:
    """The part of the questions that are answered right where the oldest messages are dropped."""
    right = 0
    said = [item for item in history if not isinstance(item, e.Compaction)]
    for question, fact in zip(questions(), FACTS, strict=True):
        asked = InputMessage(id="msg", role="user", content=[{"type": "input_text", "text": question}])
        messages = await fitted(
            [*said, asked],
            room_tokens=Budget(window).room_tokens or 10**9,
            render=lambda items: Tags().messages(items, system="You act by writing Python. " * 100, model="scripted"),
            policy=DropOldest(),
            meter=TokenMeter(ScriptedModel([])),
        )
        right += fact.answer in answered("\n".join(text_of(message) for message in messages), fact.name)
    return right / len(FACTS)


def _cached(prompts: Sequence[str]) -> float:
    """The part of the prompts' characters that stood at the beginning of the prompt before."""
    return sum(_same(before, after) for before, after in pairwise(prompts)) / sum(map(len, prompts[1:]))


def _same(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low

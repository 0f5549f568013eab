"""A model that follows a script, for tests and offline use."""

import re
from collections.abc import AsyncGenerator, Callable, Sequence

import anyio
import anyio.lowlevel

from codeact.errors import ModelError, ModelRefused
from codeact.model import ChatMessage, Finish, ModelEvent, Sampling, TextDelta, Usage

__all__ = ["ScriptedModel", "Step", "Turn"]

Step = ModelEvent | ModelError | anyio.Event
Turn = str | Sequence[Step]

CHARS_PER_TOKEN = 4


class ScriptedModel:
    """Each call uses the next turn, or calls a function to get it. After the last turn it raises `ModelRefused`.

    A turn is either a text or a sequence of steps. A text is streamed word by word, with `pace_s` before each word,
    followed by a `Finish` and a `Usage`. A step is an event to yield, a `ModelError` to raise, or an `anyio.Event` to
    wait for. `calls` contains the messages of every call, `samplings` its sampling parameters. `unread_chars` is how
    much of the last text was not read, because the caller closed the stream.
    """

    dialects: frozenset[str] = frozenset({"tags", "tool_call", "freeform"})

    def __init__(
        self,
        turns: Sequence[Turn] | Callable[[Sequence[ChatMessage]], Turn],
        *,
        name: str = "scripted",
        pace_s: float = 0.0,
    ) -> None:
        self.name = name
        self.calls: list[list[ChatMessage]] = []
        self.samplings: list[Sampling] = []
        self.unread_chars: int | None = None
        self._turns = turns
        self._pace_s = pace_s

    async def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        """See `Model.stream`. `sampling` is recorded and otherwise ignored."""
        self.calls.append(list(messages))
        self.samplings.append(sampling)
        turn = self._turn(messages)
        if isinstance(turn, str):
            self.unread_chars = len(turn)
            for word in re.findall(r"\s*\S+|\s+\Z", turn):
                await anyio.sleep(self._pace_s)
                self.unread_chars -= len(word)
                yield TextDelta(word)
            yield Finish("stop")
            yield _usage(messages, turn)
            return
        for step in turn:
            await anyio.lowlevel.checkpoint()
            if isinstance(step, ModelError):
                raise step
            if isinstance(step, anyio.Event):
                await step.wait()
            else:
                yield step

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        """See `Model.estimate`. Estimated from the length."""
        return _usage(messages, output)

    def _turn(self, messages: Sequence[ChatMessage]) -> Turn:
        if callable(self._turns):
            return self._turns(messages)
        if len(self.calls) > len(self._turns):
            raise ModelRefused(f"The script of the model '{self.name}' has no turn left.")
        return self._turns[len(self.calls) - 1]


def _usage(messages: Sequence[ChatMessage], output: str) -> Usage:
    chars = sum(len(str(message.content)) for message in messages)
    return Usage(
        input_tokens=chars // CHARS_PER_TOKEN,
        output_tokens=len(output) // CHARS_PER_TOKEN,
        cost_usd=0.0,
        estimated=True,
    )

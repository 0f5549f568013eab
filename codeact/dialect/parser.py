"""Parses a model's text, in chunks of any size, into prose, thinking and one block of code.

The code is what stands between `<execute>` and `</execute>`, or in a Markdown fence marked as Python:

- In prose, tags in a `` `code span` `` (which ends on its line) and in any other fence are prose. A closing
  tag that closes nothing is dropped. Tags may have attributes, capitals and the names of `markup.NAMES`.
- `<think>` or `<thinking>` to its closing tag, or to the end, is thinking. Tags inside do nothing. A `</think>`
  without its `<think>` says that all before it was a thought: `ThoughtAloud`. With `thinks` the model is known to
  leave the beginning out: all is thinking until `</think>`, and is read again as an answer if that never comes.
- In code, `</execute>` closes, except inside a string literal: one that ends on its line, or a triple-quoted
  one, where the tag closes only if it stands alone on its line or nothing follows it (more likely then, the
  literal was never closed). A closing fence closes except inside a triple-quoted string, and so does another
  closing tag, or the end of a chat template's turn, except inside any string.
- An opening tag alone on a line of code, or an unclosed block that is no Python: nobody knows where code ends and
  prose begins, so the block is `Malformed`.
- A fence right inside the tags, or tags right inside a Python fence, are one pair: what closes first, closes.
- An empty block is dropped, as if it had not been written.
- Calls of tools and channels in the forms of other systems are `dress`'s to read: code, or `Unreadable`.
- A line that begins with `Observation:` is one that the model made up: `Invented`.
- Remnants of a chat template are dropped; what ends a turn there ends the reply.

Each stretch of prose or thinking is stripped on both sides; code loses the blank lines before it and the
whitespace after it. A block that is not closed ends with the text. What follows a closed block is ignored:
a model that goes on writing there makes up an observation it has not seen.
"""

from collections.abc import Callable

from codeact.dialect import parser_calls, parser_code, parser_prose, parser_thoughts
from codeact.dialect.parser_reading import Reading, Step
from codeact.dialect.python_source import parses
from codeact.dialect.segments import (
    CodeEnd,
    CodeStart,
    CodeText,
    Invented,
    Malformed,
    Segment,
    Text,
    Thinking,
    ThoughtAloud,
    Unreadable,
)

__all__ = [
    "CodeEnd",
    "CodeStart",
    "CodeText",
    "Invented",
    "Malformed",
    "Parser",
    "Segment",
    "Text",
    "Thinking",
    "ThoughtAloud",
    "Unreadable",
]

IN_A_STRING = (
    "it ended inside a string literal. If that holds the text of a closing tag, write it in two parts, as in"
    " '</' 'execute>'."
)
NOT_CLOSED = "its block was not closed, and what stands in it is no Python."

STEPS: dict[Step, Callable[[Reading], bool]] = {
    "start": parser_calls.start,
    "unmarked": parser_thoughts.unmarked,
    "think": parser_thoughts.think,
    "harmony_thought": parser_thoughts.harmony_thought,
    "prose": parser_prose.prose,
    "other_fence": parser_prose.other_fence,
    "fenced": parser_calls.fenced,
    "addressed": parser_calls.addressed,
    "call": parser_calls.call,
    "opening": parser_code.opening,
    "code": parser_code.code,
}
"""What reads each kind of text: one token at a time. A step returns False when it needs more text to go on."""


class Parser:
    """One reply of a model, up to and including its first block of code.

    With neighbouring segments of one kind merged, the result is the same however the text was cut. No
    segment is empty; text is held back only while it may still become a tag, or whitespace that is stripped.
    With `fences=False` a Python fence is code only if the tags stand right inside it.
    """

    def __init__(self, *, fences: bool = True, thinks: bool = False) -> None:
        self.was_stopped = False
        self._reading = Reading(fences=fences, step="unmarked" if thinks else "start")

    @property
    def done(self) -> bool:
        """Whether the reply is over: its block of code is whole, or no more of it can be used."""
        return self._reading.done

    @property
    def thought_ended(self) -> bool:
        """Whether a closing tag told a thought from the answer."""
        return self._reading.thought_ended

    @property
    def rest(self) -> str:
        """What came after the end of the reply and was ignored, as far as it came together with it."""
        return self._reading.unread if self.done else ""

    def feed(self, text: str) -> list[Segment]:
        """What is decided now; nothing once `done`."""
        reading = self._reading
        if reading.done:
            return []
        reading.buffer += text
        while not reading.done and STEPS[reading.step](reading):
            pass
        reading.drop_read()
        return reading.out.take()

    def finish(self, *, stopped: bool = False) -> list[Segment]:
        """The end of the text: what was held back, and the end of an unclosed block.

        `stopped`: the server was asked to stop before `</execute>`, and the reply has ended by itself. Tagged code that
        ends with its line is whole then, unless a string is open in it.
        """
        reading = self._reading
        reading.final = True
        segments = self.feed("")
        if reading.out.in_code and not reading.done:
            stopped = stopped and reading.tagged and not reading.to_end
            in_string = stopped and bool(reading.strings.quote)
            if in_string and not parses(reading.out.code):
                reading.mark(Malformed(IN_A_STRING))
            elif (
                reading.to_end or not reading.tagged or (stopped and reading.out.ends_line) or parses(reading.out.code)
            ):
                self.was_stopped = stopped
                reading.close()
            else:
                reading.mark(Malformed(NOT_CLOSED))
            segments += reading.out.take()
        return segments

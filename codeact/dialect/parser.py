"""Parses a model's text, in chunks of any size, into prose, thinking and one block of code.

Code is the text between `<execute>` and `</execute>`, or in a Markdown fence marked as Python:

- In prose, tags in a `` `code span` `` (which ends on its line) and in any other fence are prose. A closing
  tag that closes nothing is dropped. Tags may have attributes, capitals and the names of `markup.NAMES`.
- Text from `<think>` or `<thinking>` to the closing tag, or to the end, is thinking; tags in it have no effect. A
  `</think>` without a `<think>` means that all text before it was a thought: `ThoughtAloud`. `thinks` is set for models
  that omit `<think>`: all text before `</think>` is thinking, and if it never comes, the text is parsed as an answer.
- In code, `</execute>` closes the block except inside a string literal. A literal with single quotes counts if it ends
  on its line. In a triple-quoted literal the tag closes nevertheless if it is alone on its line or nothing follows it,
  since then the literal was probably never closed. A closing fence closes the block except inside a triple-quoted
  string; other closing tags, and tokens that end a turn in chat templates, close it except inside any string.
- An opening tag alone on a line of code, or an unclosed block that is no Python, makes the block `Malformed`: it is
  unknown where its code ends.
- A fence directly inside the tags, or tags directly inside a Python fence, are one pair: whatever closes first ends it.
- An empty block is dropped.
- `parser_calls` reads tool calls and channels in the formats of other systems, as code or as `Unreadable`.
- A line that begins with `Observation:` was made up by the model: `Invented`.
- Remnants of a chat template are dropped; a token that ends a turn there ends the reply.

Prose and thinking are stripped at both ends; code loses the blank lines before it and the white space after it. A
block that is not closed ends with the text. Text after a block between tags is ignored: a model that continues there
makes up an observation that it has not seen. Text after a fence without tags is prose: the model may have meant the
fence for its reader. In it no further fence is code, and an opening tag ends the reply as `Malformed`.
"""

from collections.abc import Callable

from codeact.dialect import parser_calls, parser_code, parser_prose, parser_thoughts
from codeact.dialect.parser_reading import SPACE, Place, Reading, Step, end_of
from codeact.dialect.python_source import parses
from codeact.dialect.segments import Malformed, Segment

__all__ = ["Parser"]

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
"""The function that reads each kind of text, one token at a time; it returns False if it needs more text first."""


class Parser:
    """Parses one reply of a model, up to and including its first block of code.

    If adjacent segments of one kind are merged, the result does not depend on how the text was cut. No segment is
    empty. The parser holds text back only while it may still become a tag, or is white space that may be stripped.
    With `fences=False` a Python fence is code only if it directly contains the tags. With `notes_places`, `take_places`
    says where in the reply its prose was.
    """

    def __init__(self, *, fences: bool = True, thinks: bool = False, notes_places: bool = False) -> None:
        self.was_stopped = False
        self._reading = Reading(fences=fences, step="unmarked" if thinks else "start")
        if notes_places:
            self._reading.places = []

    @property
    def done(self) -> bool:
        """Whether the reply is complete: its block of code, an error or a chat template's token has ended it."""
        return self._reading.done

    @property
    def thought_ended(self) -> bool:
        """Whether a closing tag such as `</think>` has ended a thought."""
        return self._reading.thought_ended

    @property
    def held(self) -> str:
        """See `Reader.held`. A line end may be unread, since a closing fence may follow it."""
        reading = self._reading
        if reading.done or not reading.out.in_code or reading.out.held:
            return reading.out.held
        before, newline, _ = reading.buffer[reading.at : end_of(SPACE, reading.buffer, reading.at)].partition("\n")
        return reading.out.spaces + before + newline if newline else ""

    @property
    def rest(self) -> str:
        """The ignored text after the end of the reply; only the part that came in the same piece as the end."""
        return self._reading.unread if self.done else ""

    def take_places(self) -> list[Place]:
        """Returns the pieces of prose since the last call, before they are stripped, and empties the list."""
        places = self._reading.places or []
        if places:
            self._reading.places = []
        return places

    def feed(self, text: str) -> list[Segment]:
        """Returns the segments that are certain after this piece; none once `done`."""
        reading = self._reading
        if reading.done:
            return []
        reading.buffer += text
        while not reading.done and STEPS[reading.step](reading):
            pass
        reading.drop_read()
        return reading.out.take()

    def finish(self, *, stopped: bool = False) -> list[Segment]:
        """Returns the remaining segments at the end of the text, and closes an open block.

        `stopped`: the server was asked to stop before `</execute>` and ended the reply by itself. Then code between
        tags is complete if it ends with the end of a line and no string literal is open.
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

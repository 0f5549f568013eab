"""The state that the parser's steps share: the text that is not read yet, and what was found so far.

A `Reading` holds what is shared by the steps of a parser: the text that is not read yet, what kind of text it is,
and what was found so far. What the marks mean is decided by the steps.
"""

import re
from typing import Literal

from codeact.dialect.markup import Patterns
from codeact.dialect.segments import (
    CodeText,
    Invented,
    Malformed,
    SegmentWriter,
    Text,
    ThoughtAloud,
    Unreadable,
    Written,
)
from codeact.dialect.string_literals import Strings

__all__ = ["AHEAD", "HELD", "HELD_CHARS", "SPACE", "Reading", "Step", "end_of"]

AHEAD = 1000
"""Characters after a tag in which a code span or a string literal must end, to count as one."""
HELD_CHARS = 400_000
"""The longest call in another form, and the longest thought that may turn out to be the answer."""
HELD = 1_000
"""A run of backticks or blanks that may still become something is held back up to here."""

SPACE = re.compile(r"\s*")
_MARK = re.compile(r"[<\[`~◁\n]")

Step = Literal[
    "start",
    "unmarked",
    "think",
    "harmony_thought",
    "prose",
    "other_fence",
    "fenced",
    "addressed",
    "call",
    "opening",
    "code",
]
"""The kind of text that is read next; each has its function in `codeact.dialect.parser`."""


class Reading:
    """One reply, as far as it has come. Its `step` says what is read next."""

    def __init__(self, *, fences: bool, step: Step) -> None:
        self.done = False
        self.thought_ended = False  # A thought was told from the answer by its end.
        self.fences = fences
        self.out = SegmentWriter()
        self.buffer = "\n"
        self.at = 1
        self.final = False
        self.step: Step = step
        self.has_prose = False  # Whether there is prose.
        self.span = 0  # Backticks that opened the code span we are in.
        self.fence = ""  # The fence that we are in, be it code or prose.
        self.name = "execute"  # Of the tag that opened the code.
        self.tagged = False
        self.to_end = False  # The code ends with the text.
        self.pending: list[str] = []
        self.pending_chars = 0
        self.strings = Strings()
        self.fenced_inside = False  # Whether fences stand in the code, which then do not close it.
        self.code_end = ""  # The last characters of code: a fence may come in two pieces.

    # The buffer keeps the character before the position, since the patterns look at it.

    @property
    def unread(self) -> str:
        """The text after the position."""
        return self.buffer[self.at :]

    def drop_read(self) -> None:
        """Forgets the text before the position, but for one character."""
        self.buffer, self.at = self.buffer[self.at - 1 :], 1

    def begin_code(self, *, name: str = "execute", tagged: bool = True, to_end: bool = False) -> None:
        """A block of code begins at the position. `tagged` is False where a fence alone opened it."""
        self.name, self.tagged, self.to_end = name.casefold(), tagged, to_end
        self.step = "opening"

    def close(self) -> None:
        """The block of code is whole, and with it the reply is over."""
        self.out.end_code()
        self.done = True

    def mark(self, segment: Malformed | Unreadable | Invented | ThoughtAloud) -> None:
        """Hands out what the reply turned out to be, which ends it unless it was a thought so far."""
        self.out.mark(segment)
        self.done = not isinstance(segment, ThoughtAloud)

    def next(self, patterns: Patterns, kind: Written) -> re.Match[str] | None:
        """The next token, with the text before it handed out; None: not there yet.

        At the end of the text nothing can become a token any more. Only in code such a rest stays unread:
        half a closing tag is no Python.
        """
        buffer, at = self.buffer, self.at
        if buffer[at - 1] != "\n" and not _MARK.search(buffer, at):  # Nearly all text, so this is quick.
            if at < len(buffer):
                self.put(kind, buffer[at:])
                self.at = len(buffer)
            return None
        tokens, tail = patterns
        unfinished = None
        if not self.final or kind is CodeText:
            unfinished = tail.search(buffer, max(at, buffer.rfind("\n") + 1, len(buffer) - HELD))
        end = unfinished.start() if unfinished else len(buffer)
        token = tokens.search(buffer, at, end)
        stop = token.start() if token else end
        if stop > at:
            self.put(kind, buffer[at:stop])
            self.at = stop
        return token

    def take(self, kind: Written, token: re.Match[str]) -> None:
        """Hands out a token that is text after all."""
        self.put(kind, token[0])
        self.at = token.end()

    def put(self, kind: Written, text: str) -> None:
        """Hands out text of this kind."""
        if kind is CodeText:
            self.strings.feed(text)
            self.fenced_inside = self.fenced_inside or "```" in self.code_end + text
            self.code_end = (self.code_end + text[-2:])[-2:]
        elif kind is Text:
            if "\n" in text:
                self.span = 0
            self.has_prose = self.has_prose or not text.isspace()
        elif self.step == "unmarked":
            self.hold(text)
        self.out.put(kind, text)

    def hold(self, text: str) -> None:
        """Remembers text whose meaning only its end tells, up to `HELD_CHARS`."""
        if text and self.pending_chars < HELD_CHARS:
            self.pending.append(text)
            self.pending_chars += len(text)


def end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where the match that begins at `start` ends; `start` where nothing matches."""
    match = pattern.match(text, start)
    return match.end() if match else start

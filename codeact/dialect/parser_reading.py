"""The state that the parser's steps share: the text that is not read yet, what kind of text it is, and the segments.

The steps decide what a token means; `Reading` finds tokens and passes text on.
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

__all__ = ["AHEAD", "HELD", "HELD_CHARS", "SPACE", "Place", "Reading", "Step", "end_of"]

AHEAD = 1000
"""A code span or string literal around a tag must end within this many characters after the tag to count."""
HELD_CHARS = 400_000
"""Limit for a call in another format, and for a thought that is parsed again as an answer."""
HELD = 1_000
"""Limit for backticks or white space that the parser holds back because they may become part of a token."""
SECOND = "only the first block of a reply runs."

SPACE = re.compile(r"\s*")
_MARK = re.compile(r"[<\[`~◁\n]")

Place = tuple[int, str]
"""A piece of a reply: how many characters of the reply precede it, and its text."""
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
"""The kind of text that is read next; `codeact.dialect.parser.STEPS` maps each to its function."""


class Reading:
    """The state of parsing one reply. `step` says which kind of text is read next."""

    def __init__(self, *, fences: bool, step: Step) -> None:
        self.done = False
        self.thought_ended = False  # A closing tag has ended a thought.
        self.fences = fences
        self.out = SegmentWriter()
        self.buffer = "\n"
        self.at = 1
        self.final = False
        self.step: Step = step
        self.has_prose = False
        self.span = 0  # The number of backticks that opened the current code span.
        self.fence = ""  # The opening of the current fence, in code or in prose.
        self.name = "execute"  # Of the tag that opened the code.
        self.tagged = False
        self.to_end = False  # The code ends with the text.
        self.pending: list[str] = []
        self.pending_chars = 0
        self.strings = Strings()
        self.fenced_inside = False  # Whether the code contains fences; then a fence does not close it.
        self._tails: dict[re.Pattern[str], re.Match[str] | None] = {}
        self._tails_of = ""
        self.code_end = ""  # The last characters of code: a fence may be cut into two pieces.
        self.has_code = False  # The block of code has ended; what follows is text.
        self.places: list[Place] | None = None  # Where each piece of prose is in the reply, if somebody asks.
        self._dropped_chars = 0

    # The buffer includes the character before the position, since the patterns look at it.

    @property
    def unread(self) -> str:
        """The text from the position on."""
        return self.buffer[self.at :]

    def drop_read(self) -> None:
        """Drops the text before the position, except for one character."""
        self._dropped_chars += self.at - 1
        self.buffer, self.at = self.buffer[self.at - 1 :], 1

    def read_again(self) -> None:
        """Goes back to the beginning of the reply, all of which is in `pending`."""
        self.buffer, self.at, self.step, self._dropped_chars = "\n" + "".join(self.pending), 1, "start", 0

    def begin_code(self, *, name: str = "execute", tagged: bool = True, to_end: bool = False) -> None:
        """Begins a block of code at the position. `tagged` is False if a fence without tags opened it."""
        if self.has_code:
            self.mark(Malformed(SECOND))
            return
        self.name, self.tagged, self.to_end = name.casefold(), tagged, to_end
        self.step = "opening"

    def close(self) -> None:
        """Ends the block of code, and the reply with it, unless only a fence without tags marked the block."""
        self.out.end_code()
        self.has_code, self.step, self.fence = True, "prose", ""
        self.done = self.tagged or self.to_end or self.final

    def mark(self, segment: Malformed | Unreadable | Invented | ThoughtAloud) -> None:
        """Adds this segment; every kind but `ThoughtAloud` ends the reply."""
        self.out.mark(segment)
        self.done = not isinstance(segment, ThoughtAloud)

    def next(self, patterns: Patterns, kind: Written) -> re.Match[str] | None:
        """Finds the next token and adds the text before it as a segment; returns None if there is no token yet.

        At the end of the reply an incomplete token counts as text, except in code: half a closing tag is no Python.
        """
        buffer, at = self.buffer, self.at
        if buffer[at - 1] != "\n" and not _MARK.search(buffer, at):  # The fast path for nearly all text.
            if at < len(buffer):
                self.put(kind, buffer[at:])
                self.at = len(buffer)
            return None
        tokens, tail = patterns
        unfinished = self._unfinished(tail) if not self.final or kind is CodeText else None
        end = unfinished.start() if unfinished else len(buffer)
        token = tokens.search(buffer, at, end)
        stop = token.start() if token else end
        if stop > at:
            self.put(kind, buffer[at:stop])
            self.at = stop
        return token

    def _unfinished(self, tail: re.Pattern[str]) -> re.Match[str] | None:
        """Finds where a token begins that the end of the text cuts off.

        The search takes up to a millisecond, so its result holds for all tokens before that place.
        """
        if self._tails_of is not self.buffer:
            self._tails_of = self.buffer
            self._tails.clear()
        match = self._tails.get(tail)
        if tail not in self._tails or (match is not None and match.start() < self.at):
            start = max(self.at, self.buffer.rfind("\n") + 1, len(self.buffer) - HELD)
            match = self._tails[tail] = tail.search(self.buffer, start)
        return match

    def take(self, kind: Written, token: re.Match[str]) -> None:
        """Adds a token as plain text."""
        self.put(kind, token[0])
        self.at = token.end()

    def put(self, kind: Written, text: str) -> None:
        """Adds text of this kind."""
        if kind is CodeText:
            self.strings.feed(text)
            self.fenced_inside = self.fenced_inside or "```" in self.code_end + text
            self.code_end = (self.code_end + text[-2:])[-2:]
        elif kind is Text:
            if "\n" in text:
                self.span = 0
            self.has_prose = self.has_prose or not text.isspace()
            if self.places is not None:
                self.places.append((self._dropped_chars + self.at - 1, text))
        elif self.step == "unmarked":
            self.hold(text)
        self.out.put(kind, text)

    def hold(self, text: str) -> None:
        """Collects text whose meaning is known only at its end, up to `HELD_CHARS`."""
        if text and self.pending_chars < HELD_CHARS:
            self.pending.append(text)
            self.pending_chars += len(text)


def end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Returns the end of the match that begins at `start`, or `start` if there is none."""
    match = pattern.match(text, start)
    return match.end() if match else start

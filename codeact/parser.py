"""Text of a model enters in chunks of any size; prose, thinking and one block of code leave as segments.

The code is what stands between `<execute>` and `</execute>`, or in a Markdown fence marked as Python:

- In prose, tags in a `` `code span` `` (which ends on its line) and in any other fence are prose. A closing
  tag that closes nothing is dropped; so is a `</think>` without its `<think>`: the text before it has been
  handed out as prose by then.
- `<think>` or `<thinking>` to its closing tag, or to the end, is thinking. Tags inside do nothing.
- In code, `</execute>` closes, except inside a string literal: one that ends on its line, or a triple-quoted
  one, where the tag closes only if it stands alone on its line or nothing follows it (more likely then, the
  literal was never closed). A closing fence closes except inside a triple-quoted string.
- A fence right inside the tags, or tags right inside a Python fence, are one pair: what closes first, closes.
- An empty block is dropped, as if it had not been written.

Each stretch of prose or thinking is stripped on both sides; code loses the blank lines before it and the
whitespace after it. A block that is not closed ends with the text. What follows a closed block is ignored:
a model that goes on writing there makes up an observation it has not seen.
"""

import re
from collections.abc import Callable

from codeact.markup import (
    CLOSE,
    LANGUAGES,
    OPEN,
    OPENING_FENCE,
    OPENING_TAIL,
    PROSE,
    THINKING,
    Patterns,
    code_patterns,
    fence_patterns,
    language,
)
from codeact.segments import CodeEnd, CodeStart, CodeText, Segment, SegmentWriter, Text, Thinking, Written
from codeact.strings import Strings

__all__ = ["CodeEnd", "CodeStart", "CodeText", "Parser", "Segment", "Text", "Thinking"]

AHEAD = 1000
"""Characters after a tag in which a code span or a string literal must end, to count as one."""

_SPACE = re.compile(r"\s*")
_END_OF_LINE = re.compile(r"[ \t\r]*\n")
_REST_OF_LITERAL = {quote: re.compile(rf"(?:[^\\\n{quote}]|\\.)*", re.DOTALL) for quote in ("'", '"')}


class Parser:
    """One reply of a model, up to and including its first block of code.

    With neighbouring segments of one kind merged, the result is the same however the text was cut. No
    segment is empty; text is held back only while it may still become a tag, or whitespace that is stripped.
    With `fences=False` a Python fence is code only if the tags stand right inside it.
    """

    def __init__(self, *, fences: bool = True) -> None:
        self.done = False
        self._fences = fences
        self._out = SegmentWriter()
        self._buffer = "\n"
        self._at = 1
        self._final = False
        self._step: Callable[[], bool] = self._prose
        self._span = 0  # Backticks that opened the code span we are in.
        self._fence = ""  # The fence that we are in, be it code or prose.
        self._tagged = False
        self._strings = Strings()

    def feed(self, text: str) -> list[Segment]:
        """What is decided now; nothing once `done`."""
        if self.done:
            return []
        self._buffer += text
        while not self.done and self._step():
            pass
        self._buffer, self._at = self._buffer[self._at - 1 :], 1
        return self._out.take()

    def finish(self) -> list[Segment]:
        """The end of the text: what was held back, and the end of an unclosed block."""
        self._final = True
        segments = self.feed("")
        if self._out.in_code and not self.done:
            self._close()
            segments += self._out.take()
        return segments

    # The buffer keeps the character before the position, since the patterns look at it.
    # Each step reads one token of its kind of text; it returns False when it needs more text to go on.

    def _prose(self) -> bool:
        token = self._next(PROSE, Text)
        if token is None:
            return False
        if fence := token["run"]:
            return self._prose_fence(token, fence)
        if ticks := token["ticks"]:
            self._span = 0 if self._span == len(ticks) else self._span or len(ticks)
            self._take(Text, token)
            return True
        return self._prose_tag(token, token["tag"])

    def _prose_fence(self, token: re.Match[str], fence: str) -> bool:
        is_code = language(token) in LANGUAGES
        if is_code and not self._fences:
            inside = self._buffer[_end(_SPACE, self._buffer, token.end()) :][: len(OPEN)]
            if not self._final and inside != OPEN and OPEN.startswith(inside):
                return False
            is_code = inside == OPEN
        self._fence, self._span = fence, 0
        if is_code:
            self._open(token, tagged=False)
        else:
            self._take(Text, token)
            self._step = self._other_fence
        return True

    def _prose_tag(self, token: re.Match[str], tag: str) -> bool:
        if self._span:
            start, ahead = token.end(), token.end() + AHEAD
            closing = re.compile(rf"(?<!`)`{{{self._span}}}(?!`)|\n").search(self._buffer, start, ahead)
            closes = closing is not None and closing[0] != "\n"
            undecided = closing is None or (closes and closing.end() == len(self._buffer))
            if undecided and not self._final and len(self._buffer) < ahead:
                return False
            if closes:
                self._take(Text, token)
                return True
            self._span = 0
        if tag == OPEN:
            self._fence = ""
            self._open(token, tagged=True)
            return True
        self._at = token.end()
        if tag in ("<think>", "<thinking>"):
            self._step = self._think
        return True

    def _other_fence(self) -> bool:
        token = self._next(fence_patterns(self._fence), Text)
        if token is None:
            return False
        self._take(Text, token)
        self._step = self._prose
        return True

    def _think(self) -> bool:
        token = self._next(THINKING, Thinking)
        if token is None:
            return False
        self._at = token.end()
        self._step = self._prose
        return True

    def _open(self, token: re.Match[str], *, tagged: bool) -> None:
        self._tagged = tagged
        self._at = token.end()
        self._step = self._opening

    def _opening(self) -> bool:
        """Between the opening tag or fence and the first character of code."""
        buffer, start = self._buffer, _end(_SPACE, self._buffer, self._at)
        if OPENING_TAIL.match(buffer, start):
            return False
        if buffer.startswith(OPEN, start):
            self._at = start + len(OPEN)
            self._tagged = True
        elif buffer.startswith(CLOSE, start):
            self._at = start + len(CLOSE)
            self._step = self._prose
        elif self._fence and buffer.startswith(self._fence, start):
            self._at = start + len(self._fence)
            self._step = self._prose
        elif not self._fence and (fence := OPENING_FENCE.match(buffer, start)) and language(fence) in LANGUAGES | {""}:
            self._at = fence.end()
            self._fence = fence["run"]
        else:
            newline = buffer.rfind("\n", self._at, start)
            self._at = newline + 1 if newline >= 0 else start
            self._out.start_code(self._tagged)
            self._step = self._code
        return True

    def _code(self) -> bool:
        token = self._next(code_patterns(self._fence), CodeText)
        if token is None:
            return False
        in_literal = self._in_literal(token)
        if in_literal is None:
            return False
        if in_literal:
            self._take(CodeText, token)
        else:
            self._close()
        return True

    def _in_literal(self, token: re.Match[str]) -> bool | None:
        """Whether this end of code stands in a string literal and so is none. None: more text will tell."""
        quote = self._strings.quote
        if not quote:
            return False
        if not token[0].endswith(CLOSE):
            return True
        buffer, end = self._buffer, token.end()
        if len(quote) == 3:
            if token["line"] is not None and _END_OF_LINE.match(buffer, end):
                return False
            if _end(_SPACE, buffer, end) < len(buffer):
                return True
        else:
            window = buffer[: end + AHEAD]
            stop = window[_end(_REST_OF_LITERAL[quote], window, end) :][:1]
            if stop == quote:
                return True
            if stop == "\n" or len(window) == end + AHEAD:
                return False
        return False if self._final else None

    def _close(self) -> None:
        self._out.end_code()
        self.done = True

    def _next(self, patterns: Patterns, kind: Written) -> re.Match[str] | None:
        """The next token, with the text before it handed out; None: not there yet.

        At the end of the text nothing can become a token any more. Only in code such a rest stays unread:
        half a closing tag is no Python.
        """
        tokens, tail = patterns
        held = None
        if not self._final or kind is CodeText:
            held = tail.search(self._buffer, max(self._at, self._buffer.rfind("\n") + 1))
        end = held.start() if held else len(self._buffer)
        token = tokens.search(self._buffer, self._at, end)
        stop = token.start() if token else end
        if stop > self._at:
            self._put(kind, self._buffer[self._at : stop])
            self._at = stop
        return token

    def _take(self, kind: Written, token: re.Match[str]) -> None:
        """Hands out a token that is text after all."""
        self._put(kind, token[0])
        self._at = token.end()

    def _put(self, kind: Written, text: str) -> None:
        if kind is CodeText:
            self._strings.feed(text)
        elif "\n" in text:
            self._span = 0
        self._out.put(kind, text)


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start

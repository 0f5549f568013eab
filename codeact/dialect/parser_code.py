"""The parser's steps inside a block of code, up to its end.

Each step returns False if it needs more text first.
"""

import re

from codeact.dialect.markup import CLOSING, LANGUAGES, OPENING, OPENING_FENCE, OPENING_TAIL, code_patterns, language
from codeact.dialect.parser_reading import AHEAD, HELD, SPACE, Reading, end_of
from codeact.dialect.segments import CodeText, Malformed

__all__ = ["code", "opening"]

OPENED_AGAIN = "its block was opened a second time where it should have been closed."

_END_OF_LINE = re.compile(r"[ \t\r]*\n")
_REST_OF_LITERAL = {quote: re.compile(rf"(?:[^\\\n{quote}]|\\.)*", re.DOTALL) for quote in ("'", '"')}


def opening(reading: Reading) -> bool:
    """Reads from the opening tag or fence to the first character of code."""
    buffer, start = reading.buffer, end_of(SPACE, reading.buffer, reading.at)
    reading.at = max(reading.at, start - HELD)
    if not reading.final and OPENING_TAIL.match(buffer, start):
        return False
    if tag := OPENING.match(buffer, start):
        reading.at = tag.end()
        reading.tagged = True
    elif tag := CLOSING.match(buffer, start):
        reading.at = tag.end()
        reading.step = "prose"
    elif reading.fence and buffer.startswith(reading.fence, start):
        reading.at = start + len(reading.fence)
        reading.step = "prose"
    elif not reading.fence and (fence := OPENING_FENCE.match(buffer, start)) and language(fence) in LANGUAGES | {""}:
        reading.at = fence.end()
        reading.fence = fence["run"]
    elif reading.to_end and buffer.startswith("{", start):
        reading.hold("python ")
        reading.step = "call"
    elif start == len(buffer) or _opening_is_over(reading, start):
        return reading.step == "prose"
    else:
        newline = buffer.rfind("\n", reading.at, start)
        reading.at = newline + 1 if newline >= 0 else start
        reading.out.start_code(reading.tagged)
        reading.step = "code"
    return True


def _opening_is_over(reading: Reading, start: int) -> bool:
    """Whether a mark that ends the block is at `start` instead of code, or may be there once more text arrives."""
    tokens, tail = code_patterns(reading.fence, reading.name)
    token = tokens.search(reading.buffer, reading.at, start + AHEAD)
    if token is not None and not reading.buffer[reading.at : token.start()].strip():
        reading.at, reading.step = token.end(), "prose"
        return True
    if len(reading.buffer) > start + AHEAD:
        return False
    # The search starts before the white space, since some marks count only at the beginning of their line.
    unfinished = tail.search(reading.buffer, reading.at)
    return unfinished is not None and unfinished.start() <= start


def code(reading: Reading) -> bool:
    """Reads code until a mark outside of string literals closes it."""
    token = reading.next(code_patterns(reading.fence, reading.name), CodeText)
    if token is None:
        return False
    in_literal = _in_literal(reading, token)
    if in_literal is None:
        return False
    if in_literal:
        reading.take(CodeText, token)
    elif token["wrong"] and not re.search(r"[/\\]|end", token["wrong"], re.IGNORECASE):
        reading.mark(Malformed(OPENED_AGAIN))
    else:
        reading.at = token.end()
        reading.close()
    return True


def _in_literal(reading: Reading, token: re.Match[str]) -> bool | None:
    """Whether this end mark is inside a string literal and does not close the code. None: more text is needed."""
    quote = reading.strings.quote
    if not quote:
        return bool(token["fence"]) and not reading.fence and reading.fenced_inside
    if not token["own"]:
        return True
    buffer, end = reading.buffer, token.end()
    if len(quote) == 3:
        if token["line"] is not None and _END_OF_LINE.match(buffer, end):
            return False
        if end_of(SPACE, buffer, end) < len(buffer):
            return True
    else:
        window = buffer[end : end + AHEAD]
        stop = window[end_of(_REST_OF_LITERAL[quote], window, 0) :][:1]
        if stop == quote:
            return True
        if stop == "\n" or len(window) == AHEAD:
            return False
    return False if reading.final else None

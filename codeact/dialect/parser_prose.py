"""The parser's steps in prose, up to the next token.

Each step returns False if it needs more text first.
"""

import re

from codeact.dialect import parser_calls
from codeact.dialect.markup import CLOSING, LANGUAGES, OPENING, OPENING_TAIL, PROSE, THINKING, fence_patterns, language
from codeact.dialect.parser_reading import AHEAD, SPACE, Reading, end_of
from codeact.dialect.segments import Invented, Text, ThoughtAloud

__all__ = ["other_fence", "prose"]


def prose(reading: Reading) -> bool:
    """Reads text for the user until a token opens code, a thought, a fence or a call."""
    token = reading.next(PROSE, Text)
    if token is None:
        return False
    match token.lastgroup if not token["run"] else "run":
        case "run":
            return _fence(reading, token, token["run"])
        case "ticks":
            ticks = len(token["ticks"])
            reading.span = 0 if reading.span == ticks else reading.span or ticks
            reading.take(Text, token)
        case "tag" | "special" as kind:
            in_span = _in_span(reading, token)
            if in_span is None:
                return False
            if not in_span:
                return _tag(reading, token) if kind == "tag" else parser_calls.special(reading, token)
            reading.take(Text, token)
        case "observation":
            if reading.has_code:
                reading.done = True
            else:
                reading.at = token.end()
                reading.mark(Invented())
        case "call":
            reading.step = "call"
        case _:
            reading.at = token.end()
            reading.begin_code(name=token["name"])
    return True


def other_fence(reading: Reading) -> bool:
    """Reads a fence in prose until it closes."""
    token = reading.next(fence_patterns(reading.fence), Text)
    if token is None:
        return False
    reading.take(Text, token)
    reading.step = "prose"
    return True


def _fence(reading: Reading, token: re.Match[str], fence: str) -> bool:
    """Reads the first line of a fence and decides whether the fence contains code to run."""
    named = language(token)
    is_code = named in LANGUAGES
    if reading.has_code:
        is_code = False
    elif is_code and not reading.fences:
        start = end_of(SPACE, reading.buffer, token.end())
        is_code = OPENING.match(reading.buffer, start) is not None
        if not is_code and not reading.final and OPENING_TAIL.match(reading.buffer, start):
            return False
    reading.fence, reading.span = fence, 0
    if is_code:
        reading.at = token.end()
        reading.begin_code(tagged=False)
    else:
        reading.take(Text, token)
        may_hold_call = named in ("", "json", "tool_call", "tool_calls", "function_call")
        reading.step = "fenced" if may_hold_call else "other_fence"
    return True


def _in_span(reading: Reading, token: re.Match[str]) -> bool | None:
    """Whether the token is in a code span. None: more text is needed to decide."""
    if not reading.span:
        return False
    start, ahead = token.end(), token.end() + AHEAD
    closing = re.compile(rf"(?<!`)`{{{reading.span}}}(?!`)|\n").search(reading.buffer, start, ahead)
    closes = closing is not None and closing[0] != "\n"
    undecided = closing is None or (closes and closing.end() == len(reading.buffer))
    if undecided and not reading.final and len(reading.buffer) < ahead:
        return None
    if not closes:
        reading.span = 0
    return closes


def _tag(reading: Reading, token: re.Match[str]) -> bool:
    """Reads a tag outside of code spans that opens or closes code or a thought."""
    tag = token["tag"].casefold()
    reading.at = token.end()
    if OPENING.match(tag):
        reading.fence = ""
        reading.begin_code(name=re.split(r"[\s>]", tag[1:], maxsplit=1)[0])
    elif THINKING[0].match(tag):
        reading.thought_ended = True
        if reading.has_prose or reading.has_code:
            reading.mark(ThoughtAloud())
            reading.has_prose = reading.has_code = False
        reading.step = "start"
    elif not CLOSING.match(tag):
        reading.step = "think"
    return True

"""The parser's steps inside a model's thoughts, up to their end.

Each step returns False if it needs more text first.
"""

from codeact.dialect.markup import HARMONY_THOUGHT, PROSE, THINKING
from codeact.dialect.parser_reading import HELD_CHARS, SPACE, Reading, end_of
from codeact.dialect.segments import Thinking

__all__ = ["harmony_thought", "think", "unmarked"]


def think(reading: Reading) -> bool:
    """Reads from `<think>` to its closing tag."""
    token = reading.next(THINKING, Thinking)
    if token is None:
        return False
    reading.at = token.end()
    reading.thought_ended = True
    reading.step = "start"
    return True


def unmarked(reading: Reading) -> bool:
    """Reads the beginning of a reply from a model that omits `<think>`: text is a thought until the closing tag.

    If the reply has no closing tag, the same text is parsed again as an answer.
    """
    start = end_of(SPACE, reading.buffer, reading.at)
    if not reading.pending and start < len(reading.buffer):
        if not reading.final and THINKING[1].match(reading.buffer, start):
            return False
        if (tag := PROSE[0].match(reading.buffer, start)) and tag["tag"] and not THINKING[0].match(tag["tag"]):
            reading.step = "start"
            return True
    if think(reading):
        return True
    if not reading.final or reading.pending_chars >= HELD_CHARS:
        return False
    reading.read_again()
    return True


def harmony_thought(reading: Reading) -> bool:
    """Reads a message in the analysis channel of the harmony format."""
    token = reading.next(HARMONY_THOUGHT, Thinking)
    if token is None:
        return False
    reading.step = "prose"
    return True

"""Conversions of a reply's text, so that it can be read, stored and shown."""

from collections.abc import Sequence

import msgspec

from codeact.dialect.segments import CodeEnd, CodeStart, CodeText
from codeact.model import TextDelta, ToolCall, ToolCallDelta

__all__ = ["as_prose", "encodable", "in_pieces"]

PIECE_CHARS = 2_000
"""Reading a text of this length takes about 10 ms at most, whatever it contains."""


def encodable(text: str) -> str:
    """Returns the text with each unpaired surrogate replaced; JSON can contain one, UTF-8 cannot."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def as_prose(segment: CodeStart | CodeText | CodeEnd) -> str:
    """Returns text that shows code which will not run, in a Markdown fence."""
    match segment:
        case CodeStart():
            return "```python\n"
        case CodeText(text):
            return text
        case CodeEnd():
            return "\n```\n"


def in_pieces(event: TextDelta | ToolCallDelta | ToolCall) -> Sequence[TextDelta | ToolCallDelta | ToolCall]:
    """Divides a delta with a long text into several with short ones."""
    text = event.text if isinstance(event, TextDelta) else event.arguments
    if len(text) <= PIECE_CHARS or isinstance(event, ToolCall):
        return (event,)
    pieces = (text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS))
    if isinstance(event, TextDelta):
        return [TextDelta(piece) for piece in pieces]
    return [msgspec.structs.replace(event, arguments=piece) for piece in pieces]

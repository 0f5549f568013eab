"""Conversions of a reply's text, so that it can be stored and shown."""

from codeact.dialect.segments import CodeEnd, CodeStart, CodeText

__all__ = ["as_prose", "encodable"]


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

"""Texts of a reply in forms that can be stored and shown."""

from codeact.dialect.segments import CodeEnd, CodeStart, CodeText

__all__ = ["as_prose", "encodable"]


def encodable(text: str) -> str:
    """The text without half a surrogate pair, which JSON can hold and UTF-8 cannot."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def as_prose(segment: CodeStart | CodeText | CodeEnd) -> str:
    """Code that will not run any more, shown as a fence."""
    match segment:
        case CodeStart():
            return "```python\n"
        case CodeText(text):
            return text
        case CodeEnd():
            return "\n```\n"

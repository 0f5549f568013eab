"""What a program printed, for a reader without a terminal: raw output enters, bounded plain text leaves."""

import re

__all__ = ["as_terminal", "excerpt"]

_ERASE = r"\x1b\[[0-2]?K"
# ECMA-48: control sequences, command strings, two-character escapes; last, any other control character.
_CONTROL = re.compile(
    rf"(?!{_ERASE})(?:\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-Z\\^-~]"
    r"|[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f])"
)
_MOVES = re.compile(rf"(\r|\x08|{_ERASE})")
_LONGEST_MARKER = len("\n… [9,999,999,999 characters cut] …\n")


def as_terminal(text: str) -> str:
    """The text as a terminal would show it: no colours, and what a carriage return overwrote is gone."""
    text = _CONTROL.sub("", text.replace("\r\n", "\n"))
    if not _MOVES.search(text):
        return text
    return "\n".join(_overwritten(line) if _MOVES.search(line) else line for line in text.split("\n"))


def _overwritten(line: str) -> str:
    cells: list[str] = []
    cursor = 0
    for piece in _MOVES.split(line):
        match piece:
            case "\r":
                cursor = 0
            case "\x08":
                cursor = max(0, cursor - 1)
            case "\x1b[1K":
                cells[:cursor] = " " * min(cursor, len(cells))
            case "\x1b[K" | "\x1b[0K":
                del cells[cursor:]
            case "\x1b[2K":
                cells = [" "] * cursor
            case _:
                cells[cursor : cursor + len(piece)] = piece
                cursor += len(piece)
    return "".join(cells).rstrip(" ")


def excerpt(text: str, size: int) -> str:
    """The text as a terminal would show it, in at most `size` characters.

    Of a longer text the head and the tail stay, with the number of characters cut between them. The time
    it takes is bounded by `size`, however long the text is.
    """
    head = tail = ""
    if len(text) <= 8 * size:
        text = head = tail = as_terminal(text)
    else:
        head, tail = as_terminal(text[: 4 * size]), as_terminal(text[-4 * size :])
    if len(text) <= size:
        return text
    room = max(0, size - _LONGEST_MARKER)
    head, tail = head[: room // 2], tail[len(tail) - (room - room // 2) :]
    return f"{head}\n… [{len(text) - len(head) - len(tail):,} characters cut] …\n{tail}"[:size]

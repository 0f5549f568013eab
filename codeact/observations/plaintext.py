"""Converts raw output of a program into plain text of limited length, as a terminal would show it."""

import html
import re

from codeact.ansi import CONTROLS, CSI, STRING, STRING_END

__all__ = ["as_terminal", "excerpt", "unescaped", "visible_text"]

_ERASE = r"\x1b\[[0-2]?K"
# ECMA-48: control sequences, command strings and two-character escapes; after those all other control characters.
_CONTROL = re.compile(
    rf"(?!{_ERASE})(?:\x1b{CSI}[@-~]|\x1b{STRING}{STRING_END}?|\x1b[ -/]*[0-Z\\^-~]"
    rf"|[\x00-\x07\x0b\x0c{CONTROLS}])"
)
_MOVES = re.compile(rf"(\r|\x08|{_ERASE})")
_LONGEST_MARKER = len("\n… [9,999,999,999 characters cut] …\n")


def as_terminal(text: str) -> str:
    """Returns the text as a terminal would show it: without colours, and without text that `\\r` overwrote."""
    text = _CONTROL.sub("", text.replace("\r\n", "\n"))
    if not _MOVES.search(text):
        return text
    return "\n".join(_overwritten(line) if _MOVES.search(line) else line for line in text.split("\n"))


def _overwritten(line: str) -> str:
    """Returns one line after its cursor moves and erasures.

    The time for a piece depends only on its own length: erasures are recorded, and applied once at the end.
    """
    cells: list[str] = []
    written_at: list[int] = []  # For each cell, how many erasures came before it was written.
    erased: list[int] = []  # For each erasure, how many cells from the start it cleared.
    cursor = 0
    for piece in _MOVES.split(line):
        match piece:
            case "\r":
                cursor = 0
            case "\x08":
                cursor = max(0, cursor - 1)
            case "\x1b[1K":
                erased.append(cursor)
            case "\x1b[K" | "\x1b[0K":
                del cells[cursor:], written_at[cursor:]
            case "\x1b[2K":
                erased.append(len(cells))
            case _:
                end = cursor + len(piece)
                cells[cursor:end], written_at[cursor:end] = piece, [len(erased)] * len(piece)
                cursor = end
    later = [*erased, 0]
    for number in range(len(erased) - 1, -1, -1):
        later[number] = max(later[number], later[number + 1])
    return "".join(
        " " if at < later[number] else cell for at, (cell, number) in enumerate(zip(cells, written_at, strict=True))
    ).rstrip(" ")


def excerpt(text: str, size: int) -> str:
    """Returns the text as a terminal would show it, in at most `size` characters.

    Of a longer text it returns the beginning and the end, with the number of removed characters between them. The time
    depends on `size` only, not on the length of the text.
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


_HIDING = re.compile(r"<(script|style)\b", re.IGNORECASE)
_HIDDEN_UNTIL = {kind: re.compile(rf"</{kind}\s*>", re.IGNORECASE) for kind in ("script", "style")}
_TAG = re.compile(r"<[^<>]*>")
_LONG_NUMBER = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,})")


def visible_text(markup: str, most: int = 10_000) -> str:
    """Returns the text in the first `most` characters of HTML, without scripts, styles and tags.

    Each run of white space becomes one space.
    """
    markup = markup[:most]
    parts, at = [], 0
    endless: set[str] = set()
    for opening in _HIDING.finditer(markup):
        kind = opening[1].lower()
        if opening.start() < at or kind in endless:
            continue
        closing = _HIDDEN_UNTIL[kind].search(markup, opening.end())
        if closing is None:
            endless.add(kind)
            continue
        parts.append(markup[at : opening.start()])
        at = closing.end()
    parts.append(markup[at:])
    return " ".join(unescaped(_TAG.sub(" ", " ".join(parts))).split())


def unescaped(text: str) -> str:
    """Replaces HTML's character references by the characters. Longer numbers than any character has become U+FFFD."""
    return html.unescape(_LONG_NUMBER.sub("\ufffd", text))

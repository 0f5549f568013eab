"""Reads the header and rows of a dataframe's HTML as plain text. Pure."""

import re
from collections.abc import Iterator

from codeact.observations.plaintext import unescaped

__all__ = ["lines_of", "read_table"]

MOST_CELLS = 200_000
MOST_CHARS = 5_000_000
# A comment, a tag, or text. The tags that pandas writes contain neither `<` nor `>`; others are refused.
PIECE = re.compile(r"<!--|<(?P<end>/?)(?P<tag>[a-zA-Z][a-zA-Z0-9]*)(?P<rest>[^<>]*)>|(?P<text>[^<]+)|(?P<stray><)")
SPANS = re.compile(r"\b(?:col|row)span\s*=\s*[\"']?(?!1[\"'\s/]|1\Z)", re.IGNORECASE)


BLOCKS = re.compile(r"<(?:p|div|tr|li|br|h[1-6]|pre|hr|dt|dd)\b", re.IGNORECASE)
SIZED = re.compile(r"<(?:img|svg|canvas|video|iframe|table)\b|height", re.IGNORECASE)
TAGS = re.compile(r"<[^<>]*>")


def lines_of(markup: str) -> int | None:
    """How many lines the HTML seems to have; None if it contains something with its own height."""
    if SIZED.search(markup):
        return None
    return len(BLOCKS.findall(markup)) + len(TAGS.sub("", markup)) // 90


def read_table(html: str) -> tuple[list[str], list[list[str]]] | None:
    """Unique column names, and rows; None if the HTML is anything other than one plain table."""
    if len(html) > MOST_CHARS:
        return None
    parser = _Tables()
    if not parser.read(html):
        return None
    rows = parser.rows
    if parser.tables != 1 or parser.nested or len(rows) < 2 or len(rows) * len(rows[0]) > MOST_CELLS:
        return None
    width = max(map(len, rows))
    if width == 0 or any(len(row) != width for row in rows):
        return None
    header, *body = rows
    # The name of a named index is in a row of its own, below an empty cell of the header.
    if (
        parser.heads > 1
        and len(body) > 1
        and not any(name and other for name, other in zip(header, body[0], strict=True))
    ):
        header, body = [name or other for name, other in zip(header, body[0], strict=True)], body[1:]
    names: dict[str, None] = {}
    for name in header:
        unique, again = name, 1
        while unique in names:
            again += 1
            unique = f"{name} ({again})" if name else " " * again
        names[unique] = None
    return list(names), body


class _Tables:
    """Reads each piece of the HTML once: `html.parser` starts again at each tag without an end."""

    def __init__(self) -> None:
        self.tables = 0
        self.nested = False
        self.rows: list[list[str]] = []
        self.heads = 0
        """How many of the first rows are in the table's head."""
        self._in_head = False
        self._cell: list[str] | None = None

    def read(self, html: str) -> bool:
        """Returns False as soon as it meets something that does not belong in a plain table."""
        for piece in _pieces(html):
            if piece["stray"] is not None:
                return False
            if (tag := piece["tag"]) is None:
                if self._cell is not None and piece["text"]:
                    self._cell.append(piece["text"])
            elif piece["end"]:
                self._end(tag.lower())
            else:
                self._start(tag.lower(), piece["rest"])
            if self.nested:
                return False
        return True

    def _start(self, tag: str, attributes: str) -> None:
        if tag == "table":
            self.tables += 1
        elif tag in ("script", "img", "svg", "iframe", "form"):
            self.nested = True
        elif tag == "thead":
            self._in_head = True
        elif tag == "tr":
            self.rows.append([])
            self.heads += self._in_head
        elif tag in ("td", "th"):
            self.nested = not self.rows or SPANS.search(attributes) is not None
            self._cell = []

    def _end(self, tag: str) -> None:
        if tag == "thead":
            self._in_head = False
        if tag in ("td", "th") and self._cell is not None and self.rows:
            self.rows[-1].append(unescaped("".join(self._cell)).strip())
            self._cell = None


def _pieces(html: str) -> Iterator[re.Match[str]]:
    """The pieces outside of comments and style sheets."""
    at = 0
    while (piece := PIECE.match(html, at)) is not None:
        at = piece.end()
        is_style = (piece["tag"] or "").lower() == "style" and not piece["end"]
        closing = "-->" if piece[0] == "<!--" else "</style" if is_style else ""
        if not closing:
            yield piece
            continue
        at = html.find(closing, at)
        if at < 0:
            return
        at += len(closing) if closing == "-->" else 0

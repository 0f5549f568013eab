"""HTML that shows a dataframe: markup enters, a header and rows of plain text leave. No HTML comes through. Pure."""

from html.parser import HTMLParser

__all__ = ["read_table"]

MOST_CELLS = 200_000


def read_table(html: str) -> tuple[list[str], list[list[str]]] | None:
    """Names of columns, each once, and rows; None where the HTML is anything but one plain table."""
    parser = _Tables()
    parser.feed(html)
    parser.close()
    rows = parser.rows
    if parser.tables != 1 or parser.nested or len(rows) < 2 or len(rows) * len(rows[0]) > MOST_CELLS:
        return None
    width = max(map(len, rows))
    if width == 0 or any(len(row) != width for row in rows):
        return None
    header, *body = rows
    # A frame with a named index: its name stands alone in a row of its own, below an empty place of the header.
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


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables = 0
        self.nested = False
        self.rows: list[list[str]] = []
        self.heads = 0
        """How many of the first rows are in its head."""
        self._in_head = False
        self._cell: list[str] | None = None
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables += 1
            self._depth += 1
        elif tag in ("script", "img", "svg", "iframe", "form"):
            self.nested = True
        elif tag == "thead":
            self._in_head = True
        elif tag == "tr":
            self.rows.append([])
            self.heads += self._in_head
        elif tag in ("td", "th"):
            spans = any(name in ("colspan", "rowspan") and value != "1" for name, value in attrs)
            self.nested = self.nested or spans or not self.rows
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "thead":
            self._in_head = False
        if tag in ("td", "th") and self._cell is not None and self.rows:
            self.rows[-1].append("".join(self._cell).strip())
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

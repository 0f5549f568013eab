r"""Applies cursor moves to earlier lines, so that nested progress bars read as a terminal shows them.

Nested progress bars draw the inner bar below the outer one and move the cursor back up (`\x1b[A`). The time is linear
in the length of the text: the cursor moves up a limited number of rows, and to a limited number of columns.
"""

import re

__all__ = ["climbed"]

CLIMB = re.compile(r"\x1b\[(\d{0,4})([AF])")
PIECES = re.compile(r"(\x1b\[\d{0,4}[ABEFGK]|[\r\n\x08])")
COLOURS = re.compile(r"\x1b\[[\d;]{0,40}m")
MOST_CHARS = 1_000_000
"""A longer text is returned unchanged: the model reads little of it anyway."""
ROWS = 100
COLUMNS = 150


def climbed(text: str) -> str:
    """Returns the text as a terminal finally shows it. A text that never moves the cursor up is returned unchanged."""
    if len(text) > MOST_CHARS or CLIMB.search(text) is None:
        return text
    screen = _Screen()
    pieces = PIECES.split(COLOURS.sub("", text.replace("\r\n", "\n")))
    for number, piece in enumerate(pieces):
        # Every second piece is a control sequence, at which the text was split.
        if number % 2:
            screen.move(piece)
        else:
            screen.write(piece)
    return "\n".join("".join(row).rstrip(" ") for row in screen.rows)


class _Screen:
    def __init__(self) -> None:
        self.rows: list[list[str]] = [[]]
        self._row = 0
        self._column = 0

    def move(self, control: str) -> None:
        match control:
            case "\r":
                self._column = 0
            case "\x08":
                self._column = max(0, self._column - 1)
            case "\n":
                self._go(self._row + 1, 0)
            case _:
                self._obey(control[-1], control[2:-1])

    def _obey(self, command: str, digits: str) -> None:
        count = int(digits or 0)
        match command:
            case "A" | "F":
                highest = max(0, len(self.rows) - ROWS)
                row = max(highest, self._row - max(1, count))
                self._go(row, self._column if command == "A" else 0)
            case "B" | "E":
                row = min(len(self.rows) - 1, self._row + max(1, count))
                self._go(row, self._column if command == "B" else 0)
            case "G":
                self._column = min(max(1, count) - 1, COLUMNS)
            case _:
                cells = self.rows[self._row]
                if count == 0:
                    del cells[self._column :]
                elif count == 2:
                    cells.clear()
                elif self._column <= COLUMNS:
                    cells[: self._column] = " " * min(self._column, len(cells))

    def _go(self, row: int, column: int) -> None:
        if row == len(self.rows):
            self.rows.append([])
        self._row, self._column = row, column

    def write(self, piece: str) -> None:
        cells = self.rows[self._row]
        missing = self._column - len(cells)
        if missing > 0:
            # The cursor came from a longer row; a terminal has a limited width, so pad up to that.
            missing = min(missing, COLUMNS)
            self._column = len(cells) + missing
            cells.extend(" " * missing)
        cells[self._column : self._column + len(piece)] = piece
        self._column += len(piece)

"""Shows a model's Markdown on a terminal while it streams: finished blocks are printed, the unfinished one is redrawn.

The text must be free of control sequences. Links appear with their addresses, not as links of the terminal, whose
target nobody sees; HTML appears as text.
"""

import re

from markdown_it import MarkdownIt
from rich.console import Console
from rich.markdown import Markdown

from codeact.ansi import SGR

__all__ = ["StreamedMarkdown"]

MOST_CHARS = 6_000
"""A block that is longer is printed in parts, which bounds the work for each piece of text."""
REDRAWN_CHARS = 2_000
"""A block that is longer is redrawn for each line, not for each piece."""
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


class StreamedMarkdown:
    """One text. `feed` its pieces, then call `end`. Between the two, nothing else may write to the terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tail = ""
        self._rows = 0
        """How many rows of the terminal the drawn tail has; the cursor is at the beginning of the row below."""
        self.is_empty = True

    def feed(self, text: str) -> None:
        """Adds a piece, which may end anywhere."""
        self._tail += text
        while done := _finished(self._tail[: 2 * MOST_CHARS + 1]):
            block, self._tail = self._tail[:done], self._tail[done:]
            self._draw(block, is_last=True)
        if self._tail.strip() and (len(self._tail) < REDRAWN_CHARS or "\n" in text):
            self._draw(self._tail, is_last=False)

    def end(self) -> None:
        """Prints what is left."""
        if self._tail.strip():
            self._draw(self._tail, is_last=True)
        self._tail = ""

    def _draw(self, block: str, *, is_last: bool) -> None:
        """Draws a block in the place of what was drawn of it before."""
        with self._console.capture() as captured:
            self._console.print(_rendered(block))
        lines = [line.rstrip(" ") for line in captured.get().split("\n")]
        seen = [index for index, line in enumerate(lines) if SGR.sub("", line).strip()]
        lines = lines[seen[0] : seen[-1] + 1] if seen else []
        if lines and not self.is_empty:
            lines.insert(0, "")
        if not is_last:
            # What has scrolled away cannot be redrawn: only the last lines are shown until the block is complete.
            lines = lines[-max(1, self._console.height - 2) :]
        erase = f"\x1b[{self._rows}A\r\x1b[J" if self._rows else ""
        self._console.file.write(erase + "".join(f"{line}\n" for line in lines))
        self._console.file.flush()
        self._rows = 0 if is_last else len(lines)
        if is_last and lines:
            self.is_empty = False


def _rendered(block: str) -> Markdown:
    shown = Markdown("", hyperlinks=False, code_theme="ansi_dark")
    shown.markup, shown.parsed = block, _PARSER.parse(block)
    return shown


def _finished(text: str) -> int:
    """Where the first block ends: after a blank line that is not inside of a fence, or where it is too long.

    0: nowhere yet.
    """
    fence, at, has_words = "", 0, False
    for line in text.splitlines(keepends=True):
        at += len(line)
        found = _FENCE.match(line)
        if fence:
            fence = "" if found is not None and found[1].startswith(fence) else fence
        elif found is not None:
            fence = found[1]
        elif has_words and not line.strip() and line.endswith("\n"):
            return at
        has_words = has_words or bool(line.strip())
        if at > MOST_CHARS:
            return at if at < 2 * MOST_CHARS else MOST_CHARS
    return 0

"""Remembers which blocks of code ran, so that checkpoints know how names were made and what of modules was changed.

`kernel_state.py` imports it inside of a sandbox. The text of the blocks is in `linecache`, where tracebacks
find it, too.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import linecache
from typing import Any

__all__ = ["Blocks"]

BLOCKS, CHARS = 2_000, 200_000


class Run:
    """One run of a block: its first `ran` statements have run to their end, with `is_whole` all of them."""

    def __init__(self, file):
        self.file = file
        self.ran = 0
        self.is_whole = False


class Blocks:
    """The blocks that ran, oldest first. One block may run more than once."""

    def __init__(self):
        self._runs = []
        self._own = 0

    def add(self, file):
        """Notes that the block whose text `linecache` has under this name runs. Set what ran of the result."""
        self._runs.append(Run(file))
        del self._runs[: -BLOCKS - 1]
        return self._runs[-1]

    def add_text(self, text):
        """Notes that this text, which is no block of the notebook, runs."""
        self._own += 1
        file = f"<restored {self._own}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        self.add(file).is_whole = True

    def statements(self):
        """Returns the top-level statements of all blocks, each with its text; and whether these are all that ran.

        Those of which it is not certain that they ran, since their block has failed, are together one `ast.Module`.
        """
        found: list[Any] = []
        chars, complete = 0, len(self._runs) <= BLOCKS
        parsed: dict[str, Any] = {}
        for run in reversed(self._runs[-BLOCKS:]):
            file = run.file
            if file not in parsed:
                parsed[file] = _parsed(file)
            if parsed[file] is None:
                complete = False
                continue
            text, nodes = parsed[file]
            chars += len(text)
            if chars > CHARS:
                complete = False
                break
            ran = len(nodes) if run.is_whole else run.ran
            if nodes[ran:]:
                found.append((ast.Module(nodes[ran:], []), text))
            found += [(node, text) for node in reversed(nodes[:ran])]
        return found[::-1], complete


def _parsed(file):
    """The text of a block and its statements; None if its text is gone, or no Python."""
    entry = linecache.cache.get(file)
    if entry is None or len(entry) != 4:
        return None
    text = "".join(entry[2])
    try:
        return text, ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None

"""Tracks whether a position in Python source is inside a string literal, while the source streams in.

It applies only the lexical rules of string literals and comments (Python reference, 2.1.3 and 2.7.1), so it also
works on incomplete and incorrect programs.
"""

import re

__all__ = ["Strings"]

_SINGLE = r"\\.|%s|\n"
_TRIPLE = r"\\.|%s"
_NEXT = {
    "": re.compile(r'"""|\'\'\'|"|\'|#'),
    "#": re.compile(r"\n"),
    **{quote: re.compile(_SINGLE % quote, re.DOTALL) for quote in ("'", '"')},
    **{quote: re.compile(_TRIPLE % quote, re.DOTALL) for quote in ("'''", '"""')},
}


LOOK_AHEAD = 3
"""The number of characters that decide whether a quote is a single or a triple one."""


def _read(opener: str, source: str, until: int) -> tuple[str, int]:
    """Reads the tokens of `source` that begin before `until`.

    `opener` is what is open before the source: a quote, `#` for a comment, or an empty string. Returns what is open
    after it, and the position at which the last token ends.
    """
    at = 0
    while (match := _NEXT[opener].search(source, at)) and match.start() < until:
        at = match.end()
        if not opener:
            opener = match[0]
        elif match[0][0] != "\\":
            opener = ""
    return opener, at


class Strings:
    """Reads code in pieces of any size. The result does not depend on how the code was cut."""

    def __init__(self) -> None:
        self._opener = ""
        self._pending = ""  # The last characters, whose meaning may depend on what follows.

    def feed(self, code: str) -> None:
        code = self._pending + code
        decided = max(0, len(code) - LOOK_AHEAD + 1)
        self._opener, at = _read(self._opener, code, decided)
        self._pending = code[max(at, decided) :]

    @property
    def quote(self) -> str:
        """The quote that opened the current string literal, if no further quote follows; empty outside of strings."""
        opener, _ = _read(self._opener, self._pending, len(self._pending))
        return "" if opener == "#" else opener

"""Whether a reader of Python source stands inside a string: pieces of code enter, the open quote leaves.

Only the lexical rules of string literals and comments (Python reference, 2.1.3 and 2.7.1), so that half a
program, or a wrong one, can be read as well.
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


def _read(opener: str, source: str) -> str:
    """What is open after `source`, when `opener` was open before it: a quote, `#` or nothing."""
    at = 0
    while match := _NEXT[opener].search(source, at):
        at = match.end()
        if not opener:
            opener = match[0]
        elif match[0][0] != "\\":
            opener = ""
    return opener


class Strings:
    """Reads code in pieces of any size; the answer is the same however the code was cut."""

    def __init__(self) -> None:
        self._opener = ""
        self._pending = ""  # Quotes and backslashes at the end: what they mean depends on what follows.

    def feed(self, code: str) -> None:
        code = self._pending + code
        decided = code.rstrip("\\'\"")
        self._opener = _read(self._opener, decided)
        self._pending = code[len(decided) :]

    @property
    def quote(self) -> str:
        """The quote that would end the string we are in, if no quote comes next; empty outside of strings."""
        opener = _read(self._opener, self._pending)
        return "" if opener == "#" else opener

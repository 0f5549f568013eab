"""Filters text of models and kernels, so that it is safe to write to a terminal.

Control sequences can rename a terminal's window, fill the clipboard (OSC 52) or overwrite what the user has read. The
filter keeps only colours (SGR, ECMA-48 8.3.117), `\\n`, `\\r` and `\\t`.
"""

import re
import sys
from typing import Any

import msgspec

from codeact.ansi import CONTROLS, CSI, SGR, STRING, STRING_END

__all__ = ["TerminalText", "escaped", "print_json"]

_SEQUENCE = re.compile(
    rf"\x1b(?:{CSI}[@-~]|{STRING}{STRING_END}|[ -/]*[0-OQ-WYZ\\`-~])"
    rf"|[\x00-\x08\x0b\x0c{CONTROLS}\ud800-\udfff]"
)
_UNFINISHED = re.compile(rf"\x1b(?:{CSI}|{STRING}\x1b?|[ -/]*)?\Z")
_LONGEST = 4096
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that JSON allows in strings and a terminal obeys: controls such as U+009B, and changes of direction."""


def escaped(json: str) -> str:
    """The same JSON, safe on a terminal: characters in its strings that a terminal would obey are escaped."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def print_json(value: Any) -> None:
    """Writes the value to standard output, as one line of JSON that is safe on a terminal."""
    sys.stdout.write(escaped(msgspec.json.encode(value).decode()) + "\n")
    sys.stdout.flush()


class TerminalText:
    """A filter for one stream of text. Its pieces may end anywhere, even inside a control sequence."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._unfinished = ""

    def feed(self, text: str) -> str:
        """Returns the safe text of this piece; an unfinished sequence waits for the next call."""
        text = self._unfinished + text
        unfinished = _UNFINISHED.search(text)
        # A "sequence" longer than any real one is text: only its first character is removed.
        if unfinished and len(unfinished[0]) <= _LONGEST:
            self._unfinished = unfinished[0]
            text = text[: unfinished.start()]
        else:
            self._unfinished = ""
        return _SEQUENCE.sub(self._allowed, text)

    def _allowed(self, sequence: re.Match[str]) -> str:
        return sequence[0] if self._colours and SGR.fullmatch(sequence[0]) else ""

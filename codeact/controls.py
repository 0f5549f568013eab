"""Text of models and kernels enters; text that is safe to write to a terminal leaves.

A terminal obeys what it is sent: it can be told to rename its window, to fill the clipboard (OSC 52) or
to overwrite what the user has read. Colours (SGR, ECMA-48 8.3.117), `\\n`, `\\r` and `\\t` may pass.
"""

import re

__all__ = ["SGR", "TerminalText"]

SGR = re.compile(r"\x1b\[[0-9;:]*m")

_STRING = r"[\]PX^_][^\x07\x1b]*"  # OSC, DCS, SOS, PM, APC and what they carry
_CSI = r"\[[0-?]*[ -/]*"
_SEQUENCE = re.compile(
    rf"\x1b(?:{_CSI}[@-~]|{_STRING}(?:\x07|\x1b\\)|[ -/]*[0-OQ-WYZ\\`-~])"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
)
_UNFINISHED = re.compile(rf"\x1b(?:{_CSI}|{_STRING}\x1b?|[ -/]*)?\Z")
_LONGEST = 4096


class TerminalText:
    """A filter for one stream of text, whose pieces may end anywhere, also inside a sequence."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._held = ""

    def feed(self, text: str) -> str:
        """The safe part of the text so far; an unfinished sequence is held until the next call."""
        text = self._held + text
        unfinished = _UNFINISHED.search(text)
        # A "sequence" longer than any real one is text: its first character is removed and the rest shown.
        if unfinished and len(unfinished[0]) <= _LONGEST:
            self._held = unfinished[0]
            text = text[: unfinished.start()]
        else:
            self._held = ""
        return _SEQUENCE.sub(self._allowed, text)

    def _allowed(self, sequence: re.Match[str]) -> str:
        return sequence[0] if self._colours and SGR.fullmatch(sequence[0]) else ""

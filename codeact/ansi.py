r"""Patterns of terminals' escape sequences (ECMA-48), from which everything that removes them is built.

Each pattern reads a text in linear time. `CSI` and `STRING` leave out the escape character before them.
"""

import re

__all__ = ["CONTROLS", "CSI", "SGR", "STRING", "STRING_END", "without_sequences"]

CSI = r"\[[0-?]*[ -/]*"
"""A control sequence up to its last character, which is one of `[@-~]`."""
STRING = r"[\]PX^_][^\x07\x1b]*"
"""A command string (OSC, DCS, SOS, PM or APC) and what it carries, up to `STRING_END`."""
STRING_END = r"(?:\x07|\x1b\\)"
CONTROLS = r"\x0e-\x1f\x7f-\x9f"
"""Control characters, for a class of characters; those before `\x0e` have uses of their own in text."""
SGR = re.compile(r"\x1b\[[0-9;:]*m")
"""A colour (8.3.117)."""

_SEQUENCE = re.compile(rf"\x1b{CSI}[@-~]")


def without_sequences(text: str) -> str:
    """The text without control sequences: no colours, no moves of the cursor."""
    return _SEQUENCE.sub("", text)

r"""Patterns of terminal escape sequences (ECMA-48), used by everything that removes them.

Each pattern matches in linear time. `CSI` and `STRING` do not include the escape character before them.
"""

import re

__all__ = ["CONTROLS", "CSI", "SGR", "STRING", "STRING_END", "without_sequences"]

CSI = r"\[[0-?]*[ -/]*"
"""A control sequence without its last character, which is one of `[@-~]`."""
STRING = r"[\]PX^_][^\x07\x1b]*"
"""A command string (OSC, DCS, SOS, PM or APC) with its content, up to `STRING_END`."""
STRING_END = r"(?:\x07|\x1b\\)"
CONTROLS = r"\x0e-\x1f\x7f-\x9f"
"""Control characters, for use in a character class. Those before `\x0e` have their own uses in text."""
SGR = re.compile(r"\x1b\[[0-9;:]*m")
"""A colour (8.3.117)."""

_SEQUENCE = re.compile(rf"\x1b{CSI}[@-~]")


def without_sequences(text: str) -> str:
    """The text without control sequences, such as colours and cursor movements."""
    return _SEQUENCE.sub("", text)

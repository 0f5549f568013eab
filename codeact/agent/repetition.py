"""Detects that a model repeats itself, in its text or in its blocks of code."""

import re
from collections import Counter

__all__ = ["BlockHistory", "Repetition"]

WINDOW_CHARS = 24_000
LOOK_EVERY_CHARS = 2_000
SHORTEST_CHARS = 6_000
"""A repetition counts only if the repeated text has at least this length."""
TIMES = 4
PROBE_CHARS = 64
PROBES = 8


class Repetition:
    """Searches the end of a streamed text for a period, with limited memory and in linear time."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._new_chars = 0
        self._text = ""

    def feed(self, piece: str) -> bool:
        """Adds a piece; returns whether the end of the text consists of one passage, repeated several times."""
        self._pieces.append(piece)
        self._new_chars += len(piece)
        if self._new_chars < LOOK_EVERY_CHARS:
            return False
        self._text = (self._text + "".join(self._pieces))[-WINDOW_CHARS:]
        self._pieces.clear()
        self._new_chars = 0
        return self._is_periodic()

    def _is_periodic(self) -> bool:
        """Tries, as periods, the distances from the last characters to their earlier occurrences."""
        text = self._text
        probe, at = text[-PROBE_CHARS:], len(text) - 1
        for _ in range(PROBES):
            at = text.rfind(probe, 0, at + PROBE_CHARS - 1)
            if at < 0:
                return False
            period = len(text) - PROBE_CHARS - at
            needed = max(SHORTEST_CHARS, TIMES * period)
            if needed > len(text):
                return False
            if text[-needed:-period] == text[-needed + period :]:
                return True
        return False


class BlockHistory:
    """The blocks of code of one answer, with the observation of each."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[int, int]] = Counter()

    def times(self, code: str, observation: str) -> int:
        """Counts this block; returns how often it has had the same observation, apart from its duration."""
        header, newline, rest = observation.partition("\n")
        normalised = re.sub(r"(?<!\d)\d{1,9}\.\d{1,9} s", "", header) + newline + rest
        key = hash(code.strip()), hash(normalised)
        self._seen[key] += 1
        return self._seen[key]

"""Reads what a kernel adds to an error beside its message, as bounded facts."""

import msgspec

__all__ = ["Clue"]

NAMES = 60
CHARS = 200


class Clue(msgspec.Struct, frozen=True):
    """Facts from inside the sandbox (`kernel_clues.py`), to be trusted as little as anything from there.

    `about` is what was missing: `column`, `label`, `key`, `index`, `attribute`, `name`, `module`, `file` or `network`.
    `name` is the one that was asked for, `known` are those that exist, the nearest first, and `more` of them are left
    out. `place` is where was looked: a directory, a module, a type.
    """

    about: str
    name: str = ""
    known: list[str] = []
    more: int = 0
    place: str = ""

    def bounded(self) -> "Clue":
        """The same with every text and list cut to a size that fits into what a model reads."""
        known = [name[:CHARS] for name in self.known[:NAMES]]
        return Clue(self.about[:CHARS], self.name[:CHARS], known, min(max(self.more, 0), 10**9), self.place[:CHARS])

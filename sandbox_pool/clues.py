"""The facts that a kernel adds to an error message, such as the names that exist, with their sizes bounded."""

import msgspec

__all__ = ["Clue"]

NAMES = 60
CHARS = 200


class Clue(msgspec.Struct, frozen=True):
    """What the code asked for and what exists instead. It comes from `kernel_clues.py` in the sandbox: do not trust it.

    `about` is the kind of thing that was missing: `column`, `label`, `key`, `index`, `attribute`, `name`, `module`,
    `file` or `network`. `name` is the requested name. `known` lists existing names, the most similar first; `more` is
    how many further names it leaves out. `place` is where the code looked: a directory, a module or a type.
    """

    about: str
    name: str = ""
    known: list[str] = []
    more: int = 0
    place: str = ""

    def bounded(self) -> "Clue":
        """Returns a copy whose texts and list are cut to a size that fits into a model's prompt."""
        known = [name[:CHARS] for name in self.known[:NAMES]]
        return Clue(self.about[:CHARS], self.name[:CHARS], known, min(max(self.more, 0), 10**9), self.place[:CHARS])

"""Says what of a kernel's state comes back from a checkpoint, what does not, and which code makes it again. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sandbox_pool.checkpoint import Manifest, Unsaved

__all__ = ["RestoredState", "restored_state"]

MOST_NAMES = 40
MOST_UNSAVED = 20
MOST_CHARS = 200
"""Of a name or a reason."""
MOST_CODE_CHARS = 1_500
"""How much code the note repeats of one block, and of all blocks after the checkpoint."""
MOST_SEARCHED_CHARS = 100_000
"""How much of the latest code is searched for the block that made a name."""
_BINDS = re.compile(r"(?<![\w.])([^\W\d]\w*)\s*(?:=(?!=)|:=|,)|\b(?:as|def|class|import|for)\s+([^\W\d]\w*)")
"""A name that code seems to bind. One pass finds all of them: code chooses the names, and how many there are."""


@dataclass(frozen=True, slots=True)
class RestoredState:
    """What comes back: names of variables and the number of files, and what does not.

    `unsaved` are variables with the reason and the code that made them; empty code is unknown. `missed` is the code
    that ran after the checkpoint. `rerun` are the names that come back by running the code again that made them.
    If `blocks_again` is not 0, what is `unsaved` comes back, too, by running so many blocks of code again.
    """

    names: tuple[str, ...]
    files: int
    unsaved: tuple[tuple[str, str, str], ...] = ()
    missed: tuple[str, ...] = ()
    rerun: tuple[str, ...] = ()
    blocks_again: int = 0

    def without(self, refused: Sequence[Unsaved]) -> "RestoredState":
        """This state, without options of its container that are not allowed any more."""
        return replace(self, unsaved=(*((each.name, each.reason, "") for each in refused), *self.unsaved))

    def _again(self) -> str:
        blocks = _count(self.blocks_again, "recorded block")
        return f"Not saved, and made again by running {blocks} of code again with the recorded results of calls"

    def for_user(self) -> str:
        """Two or three sentences."""
        parts = [f"Restored: {_count(len(self.names), 'name')} and {_count(self.files, 'file')}."]
        if self.rerun:
            parts.append(f"Made again by their code: {_joined(self.rerun[:MOST_NAMES], len(self.rerun))}.")
        if self.unsaved:
            shown = [f"{name} ({reason})" for name, reason, _ in self.unsaved[:MOST_UNSAVED]]
            names = _joined(shown, len(self.unsaved))
            parts.append(f"{self._again()}: {names}." if self.blocks_again else f"Not restored: {names}.")
        if self.missed:
            parts.append(f"{_count(len(self.missed), 'block')} of code ran after it was saved.")
        return " ".join(parts)

    def for_model(self) -> str:
        """What the model needs to go on: the names, what is missing, and the code that makes it again."""
        names = _joined(self.names[:MOST_NAMES], len(self.names)) if self.names else "none"
        lines = [f"Restored variables, functions and imports: {names}. Files: {self.files}."]
        if self.rerun:
            lines.append(
                f"Of these, made again by running their code: {_joined(self.rerun[:MOST_NAMES], len(self.rerun))}."
            )
        for name, reason, code in self.unsaved[:MOST_UNSAVED]:
            made = f" The block that made it:\n{_cut(code)}" if code else ""
            lines.append(f"{self._again() if self.blocks_again else 'Not restored'}: {name} ({reason}).{made}")
        if len(self.unsaved) > MOST_UNSAVED:
            how = "made again so" if self.blocks_again else "not restored"
            lines.append(f"{len(self.unsaved) - MOST_UNSAVED} more names are {how}.")
        if self.blocks_again and self.unsaved:
            lines.append("If that fails, the output of your next code says so.")
        if self.missed:
            lines.append(
                "The state was saved before these blocks ran, so run again what you need of them:\n"
                + _cut("\n\n".join(self.missed))
            )
        return "\n".join(lines)


def restored_state(
    manifest: Manifest, *, codes: Sequence[str] = (), missed: Sequence[str] = (), blocks_again: int = 0
) -> RestoredState:
    """Describes a checkpoint. `codes` are the blocks that ran before it, oldest first; `missed` those after it.

    `blocks_again` is how many blocks run again to make what is not saved.
    """
    recent, room = [], MOST_SEARCHED_CHARS
    for code in reversed(codes):
        room -= len(code)
        if room >= 0:
            recent.append(code)
    makers = _makers(recent) if manifest.unsaved else {}
    unsaved = tuple(
        (_short(each.name), _short(each.reason), makers.get(each.name, "") if number < MOST_UNSAVED else "")
        for number, each in enumerate(manifest.unsaved)
    )
    named = [each.name for each in manifest.names()]
    named += [each.name for each in manifest.imports]
    rerun = tuple(_short(each.name) for each in manifest.sources if each.rerun)
    names = tuple(dict.fromkeys([*map(_short, named), *rerun]))
    return RestoredState(names, len(manifest.files), unsaved, tuple(missed), rerun, blocks_again)


def _makers(latest: Sequence[str]) -> dict[str, str]:
    """For each name that these blocks seem to bind, the first block that does."""
    makers: dict[str, str] = {}
    for code in latest:
        for found in _BINDS.finditer(code):
            makers.setdefault(found[1] or found[2], code)
    return makers


def _short(text: str) -> str:
    """The sandbox wrote the text: one line of it, not too long."""
    return " ".join(text[:MOST_CHARS].split())


def _cut(code: str) -> str:
    return code if len(code) <= MOST_CODE_CHARS else f"{code[:MOST_CODE_CHARS]}\n# (cut here)"


def _joined(names: Sequence[str], total: int) -> str:
    more = f" and {total - len(names)} more" if total > len(names) else ""
    return ", ".join(names) + more


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

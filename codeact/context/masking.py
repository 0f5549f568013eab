"""Masks old output and old code of a conversation: replaces each by a line that says what was left out."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from codeact.dialect.base import Entry
from codeact.dialect.images import wanted
from codeact.events import CodeInterpreterCall

__all__ = ["Masks", "Replaced"]

NEWEST = 2
"""How many of the newest blocks are never masked; the newest one that failed is not either."""
SHORTEST_CHARS = 300
"""Shorter texts are not masked: the line in their place would be as long."""
IMAGE_CHARS = 4_000

Replaced = dict[str, tuple[CodeInterpreterCall, object, CodeInterpreterCall]]
"""By the ids of blocks: a block, what of it is masked and how, and the block that stands in its place."""


class Masks:
    """The masks of one conversation: the ids of the blocks whose output, or whose code, is left out.

    `outputs` and `codes` are the ids that were masked before; the sets grow. `numbers` maps ids to the blocks' numbers
    for `recall`; the line for a block without a number does not mention `recall`. `applied` notes what it has
    replaced in `replaced`, and returns the same objects for the same blocks.
    """

    def __init__(self, outputs: set[str] | None = None, codes: set[str] | None = None) -> None:
        self._outputs: set[str] = set() if outputs is None else outputs
        self._codes: set[str] = set() if codes is None else codes
        self.numbers: Mapping[str, int] = {}
        self.replaced: Replaced = {}

    def hide(self, items: Sequence[Entry]) -> bool:
        """Whether a part of these items is masked."""
        return any(
            item.id in self._outputs or item.id in self._codes
            for item in items
            if isinstance(item, CodeInterpreterCall)
        )

    def add(self, items: Sequence[Entry], *, to_save_chars: int) -> None:
        """Masks more, the oldest first, until `to_save_chars` are saved or nothing more can be masked."""
        old = list(_old([item for item in items if isinstance(item, CodeInterpreterCall)]))
        for chosen, length in ((self._outputs, _output_chars), (self._codes, _code_chars)):
            for item in old:
                if to_save_chars <= 0:
                    return
                if item.id not in chosen and length(item) > SHORTEST_CHARS:
                    chosen.add(item.id)
                    to_save_chars -= length(item)

    def applied(self, items: Sequence[Entry]) -> list[Entry]:
        """Returns the items with a line in place of each masked part."""
        if not self._outputs and not self._codes:
            return list(items)
        return [self._applied(item) if isinstance(item, CodeInterpreterCall) else item for item in items]

    def _applied(self, item: CodeInterpreterCall) -> CodeInterpreterCall:
        hides_output = item.id in self._outputs and item.observation is not None
        hides_code = item.id in self._codes
        if not hides_output and not hides_code:
            return item
        number = self.numbers.get(item.id)
        of = (hides_output, hides_code, number)
        known = self.replaced.get(item.id)
        if known is None or known[0] is not item or known[1] != of:
            masked = item if not hides_output else _without_output(item, number)
            known = self.replaced[item.id] = item, of, _without_code(masked) if hides_code else masked
        return known[2]


def _without_output(item: CodeInterpreterCall, number: int | None) -> CodeInterpreterCall:
    header, _, rest = (item.observation or "").partition("\n")
    pictures = len(wanted(item))
    shown = f" and {pictures} image{'s' if pictures > 1 else ''}" if pictures else ""
    again = "run code to see them again" if number is None else f"recall({number}) returns the text"
    text = f"{header}\n[{len(rest):,} characters of output{shown} are left out here; {again}]"
    return msgspec.structs.replace(item, observation=text, outputs=None)


def _without_code(item: CodeInterpreterCall) -> CodeInterpreterCall:
    lines = item.code.count("\n") + 1
    code = f"# {lines} lines of code are left out here; what they defined is still in the kernel."
    written = item.written
    if written is not None:
        written = msgspec.structs.replace(written, text=None, items=[], arguments=None)
    return msgspec.structs.replace(item, code=code, written=written)


def _old(blocks: Sequence[CodeInterpreterCall]) -> Iterable[CodeInterpreterCall]:
    failed = next((item.id for item in reversed(blocks) if item.result is not None and item.result.error), None)
    return (item for item in blocks[:-NEWEST] if item.id != failed)


def _output_chars(item: CodeInterpreterCall) -> int:
    return len(item.observation or "") + IMAGE_CHARS * len(wanted(item))


def _code_chars(item: CodeInterpreterCall) -> int:
    return len(item.code)

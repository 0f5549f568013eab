"""Describes the content of a kernel in a few lines of text, from its inventory. No I/O.

The values come from inside a sandbox: control characters and line breaks become spaces, except line breaks in the
source of functions, which is indented.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from sandbox_pool.inventory import HeldFile, HeldFunction, HeldImport, HeldVariable, Inventory

__all__ = ["facts"]

FULL_CHARS, SHORT_CHARS, NAME_CHARS = 500, 120, 80
SOURCE_CHARS, SOURCE_LINES = 1_200, 30
NOTHING = "The kernel holds no variables, and the working directory no files."
TITLES = {
    "files": "Files:",
    "variables": "Variables:",
    "functions": "Functions and classes:",
    "imports": "Imports:",
}
LEFT_OUT = "{count} more are left out; dir() and os.listdir() name them."
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")


@dataclass(slots=True)
class _Entry:
    """One fact, in three forms from short to long. `level` is the index of the form that is used, -1 for none."""

    kind: str
    forms: tuple[str, str, str]
    level: int = -1

    def cost(self, level: int) -> int:
        return len(self.forms[level]) + 1 - (len(self.forms[self.level]) + 1 if self.level >= 0 else 0)


def facts(inventory: Inventory, *, most_chars: int) -> str:
    """Returns a description of the inventory in at most `most_chars` characters.

    Every entry gets its name before any entry gets more; the newest entries get the longest forms. A last line says
    how many entries did not fit.
    """
    entries = list(_entries(inventory))
    if not entries:
        return NOTHING[: max(0, most_chars)]
    kinds = {entry.kind for entry in entries}
    room = most_chars - sum(len(title) + 2 for kind, title in TITLES.items() if kind in kinds) - len(LEFT_OUT)
    for level in range(3):
        for entry in entries:
            cost = entry.cost(level)
            if entry.level == level - 1 and cost <= room:
                entry.level = level
                room -= cost
    left_out = inventory.omitted + sum(entry.level < 0 for entry in entries)
    parts = []
    for kind, title in TITLES.items():
        # The newest entries come first in `entries`; the text has them in the order in which they were made.
        lines = [entry.forms[entry.level] for entry in reversed(entries) if entry.kind == kind and entry.level >= 0]
        if lines:
            parts.append("\n".join([title, *lines]))
    if left_out:
        parts.append(LEFT_OUT.format(count=left_out))
    return "\n\n".join(parts)[: max(0, most_chars)]


def _entries(inventory: Inventory) -> Iterator[_Entry]:
    """Yields the entries in the order of their rank: the kinds in turn, newest first, and imports last."""
    files = [_Entry("files", _file(each)) for each in reversed(inventory.files)]
    variables = [_Entry("variables", _variable(each)) for each in reversed(inventory.variables)]
    functions = [_Entry("functions", _function(each)) for each in reversed(inventory.functions)]
    for entry in chain.from_iterable(zip_longest(variables, functions, files)):
        if entry is not None:
            yield entry
    for line in _imports(inventory.imports):
        yield _Entry("imports", (line, line, line))


def _variable(each: HeldVariable) -> tuple[str, str, str]:
    name, kind = _line(each.name), " ".join(filter(None, (_line(each.type), _line(each.shape))))
    detail, head = _line(each.detail), _line(each.head)
    # Columns and keys are more useful than the first rows of a table.
    forms = [f"{name}: {kind}" + (f" = {what}" if what else "") for what in (detail or head, f"{detail}; {head}")]
    return (
        _cut(f"{name}: {_line(each.type)}", NAME_CHARS),
        _cut(forms[0], SHORT_CHARS),
        _cut(forms[bool(detail)], FULL_CHARS),
    )


def _function(each: HeldFunction) -> tuple[str, str, str]:
    lines = each.source.strip().splitlines()
    begins = next((line for line in lines if line.lstrip().startswith(("def ", "async def ", "class "))), "")
    head = _cut(_line(begins) or f"{_line(each.kind)} {_line(each.name)}", SHORT_CHARS)
    source = "\n".join(f"    {_CONTROLS.sub(' ', line).rstrip()}" for line in lines[:SOURCE_LINES])
    return head, head, _cut(source, SOURCE_CHARS) or head


def _file(each: HeldFile) -> tuple[str, str, str]:
    name = _cut(_line(each.path), 2 * NAME_CHARS)
    sized = f"{name}, {each.size_bytes:,} bytes"
    return name, sized, f"{sized}, {each.sha256[:12]}" if each.sha256 else sized


def _imports(imports: Sequence[HeldImport]) -> list[str]:
    """Returns a few lines with many names each."""
    names = [_import(each) for each in imports]
    return [", ".join(names[at : at + 20]) for at in range(0, len(names), 20)]


def _import(each: HeldImport) -> str:
    name, module = _line(each.name), _line(each.module)
    return name if name == module or not module else f"{name} ({module})"


def _line(text: str) -> str:
    return _BREAKS.sub(" ", text).strip()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

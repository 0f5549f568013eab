"""The kernel's own report of its variables, functions, imports and files, checked and bounded."""

from typing import Annotated

import msgspec

__all__ = ["HeldFile", "HeldFunction", "HeldImport", "HeldVariable", "Inventory", "to_inventory"]

MOST_BYTES = 1_000_000
SOURCE_CHARS = 4_000

_Name = Annotated[str, msgspec.Meta(max_length=200)]
_Words = Annotated[str, msgspec.Meta(max_length=SOURCE_CHARS)]
MOST_ENTRIES = 1_000
"""Of each kind. A kernel that is not manipulated reports at most 200."""
MOST_CELLS = 50
_Most = msgspec.Meta(max_length=MOST_ENTRIES)
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**60)]


class HeldVariable(msgspec.Struct, frozen=True):
    """A variable: `shape` is its length or shape, `detail` its dtype, columns or keys, `head` its first part.

    `table` has the labels and the first rows of a data frame; the kernel reports at most 6 rows of 12 cells.
    """

    name: _Name
    type: _Words = ""
    shape: _Words = ""
    detail: _Words = ""
    head: _Words = ""
    table: Annotated[
        list[Annotated[list[_Name], msgspec.Meta(max_length=MOST_CELLS)]], msgspec.Meta(max_length=MOST_CELLS)
    ] = []


class HeldFunction(msgspec.Struct, frozen=True):
    """A function or class that the code defined. `source` is empty when the kernel could not find it."""

    name: _Name
    kind: _Name = "function"
    source: _Words = ""


class HeldImport(msgspec.Struct, frozen=True):
    """An imported module, or a name imported from `module`."""

    name: _Name
    module: _Name = ""


class HeldFile(msgspec.Struct, frozen=True):
    """A regular file of the workspace. `sha256` is empty when the kernel did not read the file."""

    path: _Words
    size_bytes: _Count
    sha256: _Name = ""


class Inventory(msgspec.Struct, frozen=True):
    """The report of one kernel; it leaves out `omitted` further entries. It comes from a sandbox: do not trust it."""

    variables: Annotated[list[HeldVariable], _Most] = []
    functions: Annotated[list[HeldFunction], _Most] = []
    imports: Annotated[list[HeldImport], _Most] = []
    files: Annotated[list[HeldFile], _Most] = []
    omitted: _Count = 0


_decoder = msgspec.json.Decoder(Inventory)


def to_inventory(content: bytes) -> Inventory:
    """Decodes a `codeact_inventory_reply`. Raises `ValueError` for anything else."""
    if len(content) > MOST_BYTES:
        raise ValueError("the inventory is too large")
    return _decoder.decode(content)

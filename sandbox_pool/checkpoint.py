"""The types of a kernel's checkpoint: its manifest, which the sandbox writes, checked and bounded.

A checkpoint is a manifest and the parts that it names. A part is a piece of a pickle, of an array or of a file, of
`PART_BYTES` at most, and is named by the SHA-256 of its content. Only code inside of a sandbox ever unpickles one. The
manifest is a stranger's text: do not trust its names, types and reasons, and show them as plain text. Its objects refer
to no others in a circle, so the garbage collector need not look at them, of which there may be a hundred thousand.
"""

import re
from typing import Annotated, Literal

import msgspec

__all__ = [
    "Blob",
    "Checkpoint",
    "Group",
    "Manifest",
    "Restored",
    "SavedFile",
    "SavedImport",
    "SavedName",
    "Source",
    "StateLimits",
    "Unit",
    "Unsaved",
    "encode_manifest",
    "to_manifest",
]

VERSION = 1
PART_BYTES = 262_144
MOST_MANIFEST_BYTES = 4_000_000
MOST_PARTS = 100_000

_Name = Annotated[str, msgspec.Meta(max_length=500)]
_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=4_000)]
_Words = Annotated[str, msgspec.Meta(max_length=1_000)]
_Code = Annotated[str, msgspec.Meta(max_length=20_000)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
_Sha256 = Annotated[str, msgspec.Meta(min_length=64, max_length=64)]
_HEX = re.compile(r"[0-9a-f]*")
_Many = msgspec.Meta(max_length=20_000)


class Blob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Bytes that are stored as parts: all but the last have `PART_BYTES`."""

    size_bytes: _Size
    parts: Annotated[tuple[_Sha256, ...], msgspec.Meta(max_length=MOST_PARTS)]


class SavedName(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A variable, function or class, with the name of its type. `size_bytes` estimates its share of its group."""

    name: _Name
    type: _Name
    size_bytes: _Size


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Names that share objects, and are pickled together; `pickle_bytes` is the size of their pickle."""

    names: Annotated[tuple[SavedName, ...], _Many]
    pickle_bytes: _Size


class Unit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Groups that come back together: `stream` holds their pickles, one after the other, and `buffers` their arrays.

    `kind` is `definitions` for functions and classes of the notebook, which come first; `settings` for random states,
    options and patches of modules, which come last; and `values` for all else.
    """

    kind: Literal["definitions", "values", "settings"]
    groups: Annotated[tuple[Group, ...], _Many]
    stream: Blob
    buffers: Annotated[tuple[Blob, ...], _Many] = ()


class Unsaved(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What is not in a checkpoint, or did not come back from one, and why."""

    name: _Path
    type: _Name
    reason: _Words


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The source of a function or class of the notebook, or the statement that makes a value that cannot be saved.

    With `rerun`, it comes back by running that source again.
    """

    name: _Name
    kind: Literal["function", "class", "value"]
    source: _Code
    rerun: bool = False


class SavedImport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A name of a module."""

    name: _Name
    module: _Name


class SavedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A regular file of the workspace. `path` is relative to it."""

    path: _Path
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o7777)]
    modified_ns: Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
    content: Blob


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What a checkpoint holds. `total_bytes` counts the content of all its parts, those that repeat once for each."""

    version: Literal[1]
    python: _Name
    execution_count: Annotated[int, msgspec.Meta(ge=0, le=2**40)]
    units: Annotated[tuple[Unit, ...], _Many] = ()
    unsaved: Annotated[tuple[Unsaved, ...], _Many] = ()
    sources: Annotated[tuple[Source, ...], _Many] = ()
    imports: Annotated[tuple[SavedImport, ...], _Many] = ()
    files: Annotated[tuple[SavedFile, ...], _Many] = ()
    cwd: _Path = "."
    environment: Annotated[dict[_Name, _Code | None], _Many] = {}
    total_bytes: _Size = 0

    def blobs(self) -> "list[Blob]":
        """All blobs, in the order in which a restoration reads them."""
        units = [blob for unit in self.units for blob in (unit.stream, *unit.buffers)]
        return [*(file.content for file in self.files), *units]

    def parts(self) -> set[str]:
        """The SHA-256 of each part."""
        return {part for blob in self.blobs() for part in blob.parts}

    def names(self) -> tuple[SavedName, ...]:
        """All saved names but the settings."""
        return tuple(
            name for unit in self.units if unit.kind != "settings" for group in unit.groups for name in group.names
        )


class Checkpoint(msgspec.Struct, frozen=True):
    """A complete checkpoint. `new_bytes` counts the parts that were stored for it; `seconds` is how long it took."""

    manifest: Manifest
    new_parts: int
    new_bytes: int
    seconds: float


class Restored(msgspec.Struct, frozen=True):
    """What came back. `unsaved` names what did not: it was not in the checkpoint, or it could not be restored.

    `rerun` names the definitions that came back by running their source again.
    """

    names: tuple[str, ...]
    files: tuple[str, ...]
    rerun: tuple[str, ...]
    unsaved: tuple[Unsaved, ...]
    seconds: float


class StateLimits(msgspec.Struct, frozen=True):
    """Limits of one checkpoint.

    Names whose group takes longer than `group_s` seconds or more than `group_bytes` are not saved, nor are those for
    which `total_bytes` are too few, or that are left after `deadline_s`. Files count towards `total_bytes`, too.
    """

    group_bytes: int = 2_000_000_000
    total_bytes: int = 4_000_000_000
    group_s: float = 20.0
    deadline_s: float = 60.0


_decoder = msgspec.json.Decoder(Manifest)


def to_manifest(content: bytes) -> Manifest:
    """Decodes a manifest. Raises `ValueError` if it is none, is too large, or contradicts itself."""
    if len(content) > MOST_MANIFEST_BYTES:
        raise ValueError("the manifest is too large")
    manifest = _decoder.decode(content)
    blobs = manifest.blobs()
    if sum(len(blob.parts) for blob in blobs) > MOST_PARTS:
        raise ValueError("the manifest has too many parts")
    if _HEX.fullmatch("".join(part for blob in blobs for part in blob.parts)) is None:
        raise ValueError("the name of a part is no SHA-256")
    for blob in blobs:
        if len(blob.parts) != -(-blob.size_bytes // PART_BYTES):
            raise ValueError("the number of a blob's parts does not fit its size")
    for unit in manifest.units:
        if sum(group.pickle_bytes for group in unit.groups) != unit.stream.size_bytes:
            raise ValueError("the sizes of the pickles do not fit their stream")
        if unit.buffers and len(unit.groups) != 1:
            raise ValueError("buffers belong to more than one group")
    for file in manifest.files:
        if file.path.startswith("/") or "/../" in f"/{file.path}/" or "\0" in file.path:
            raise ValueError("the path of a file leads out of the workspace")
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """Encodes a manifest as JSON, from which `to_manifest` makes an equal one."""
    return msgspec.json.encode(manifest)

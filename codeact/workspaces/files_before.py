"""The files of a checkpoint that was taken before code which has run meanwhile: those that were there, as they were."""

import msgspec

from sandbox_pool import FileList
from sandbox_pool.checkpoint import Manifest, SavedFile, Unsaved

__all__ = ["files_as_before"]

CHANGED = "code changed it while it was saved"
SAME_S = 0.002
"""Times of files are lists' seconds and manifests' nanoseconds."""


def files_as_before(manifest: Manifest, before: FileList, since: Manifest | None) -> Manifest:
    """Returns the manifest with the files of the listing `before`; `since` is an earlier checkpoint.

    Only memory is copied at once: files are read while the code runs. Files that it has created are left out. One that
    it changed or deleted is that of the earlier checkpoint, if it was the same then, and else named as not saved.
    """
    now = {file.path: file for file in manifest.files}
    earlier = {file.path: file for file in since.files} if since is not None else {}
    files, changed = [], []
    for info in before.files:
        same = [
            file
            for file in (now.get(info.path), earlier.get(info.path))
            if file is not None and _is_same(file, info.size_bytes, info.modified_at)
        ]
        if same:
            files.append(same[0])
        elif info.path in now or info.path in earlier:
            changed.append(Unsaved(info.path, "file", CHANGED))
    listed = {info.path for info in before.files}
    unsaved = [each for each in manifest.unsaved if each.type != "file" or each.name in listed or not before.complete]
    if not before.complete:
        files += [file for file in manifest.files if file.path not in listed]
    return msgspec.structs.replace(manifest, files=tuple(files), unsaved=(*unsaved, *changed))


def _is_same(file: SavedFile, size_bytes: int, modified_at: float) -> bool:
    return file.content.size_bytes == size_bytes and abs(file.modified_ns / 1e9 - modified_at) < SAME_S

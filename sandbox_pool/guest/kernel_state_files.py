"""Lists and restores the files of the workspace for a checkpoint.

`kernel_state_save.py` and `kernel_state_load.py` import it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import os
import stat
import time
from typing import Any

from kernel_state_arrays import NotSaved  # type: ignore[import-not-found]
from kernel_text import encodable  # type: ignore[import-not-found]

__all__ = ["changed_files", "empty_directories", "write_file"]

FILES, DIRECTORIES, DEPTH = 10_000, 1_000, 32
ENTRIES = 100_000
"""How many entries of directories are looked at."""
SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
CACHES = ("__pycache__", ".cache", ".ipython", ".ipynb_checkpoints")


def changed_files(workspace, blob_of_file, ends_at):
    """Returns the entries of the regular files, and of what cannot be saved. `blob_of_file` reads an open file."""
    found: list[Any] = []
    unsaved: list[Any] = []

    def skip(path, kind, reason):
        if len(unsaved) < FILES:
            unsaved.append({"name": encodable(path)[:4_000] or ".", "type": kind, "reason": reason})

    for path, status in _walk(workspace, "", DEPTH, skip, [ENTRIES]):
        if len(found) >= FILES:
            skip(path, "file", f"there are more than {FILES:,} files")
        elif time.monotonic() > ends_at:
            skip(path, "file", "there was no time left")
        else:
            try:
                number = os.open(os.path.join(workspace, path), os.O_RDONLY | SAFE)
                with os.fdopen(number, "rb", buffering=0) as file:
                    content = blob_of_file(file, os.fstat(number).st_size)
                    # Who compares times finds that code has changed the file while it was read.
                    status = os.fstat(number)
            except OSError as error:
                skip(path, "file", f"it cannot be read: {error.strerror or error}")
                continue
            except NotSaved as error:
                skip(path, "file", str(error))
                continue
            mode = stat.S_IMODE(status.st_mode)
            found.append({"path": path, "mode": mode, "modified_ns": status.st_mtime_ns, "content": content})
    return found, unsaved


def _walk(workspace, prefix, depth, skip, left):
    """Yields the path and the status of each regular file. `left` has how many entries may be looked at."""
    try:
        entries = sorted(os.scandir(os.path.join(workspace, prefix)), key=lambda entry: entry.name)
    except OSError as error:
        skip(prefix, "directory", f"it cannot be read: {error.strerror or error}")
        return
    for entry in entries:
        left[0] -= 1
        if left[0] <= 0:
            if left[0] == 0:
                skip(prefix, "directory", f"there are more than {ENTRIES:,} files and directories")
            return
        path = f"{prefix}/{entry.name}" if prefix else entry.name
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        if encodable(path) != path or len(path) > 4_000:
            skip(path, "file", "its name is not UTF-8, or too long")
        elif stat.S_ISDIR(status.st_mode):
            if entry.name in CACHES:
                continue
            if depth:
                yield from _walk(workspace, path, depth - 1, skip, left)
            else:
                skip(path, "directory", f"directories are nested more than {DEPTH} deep")
        elif stat.S_ISREG(status.st_mode):
            yield path, status
        else:
            skip(path, "file", "it is a symbolic link" if stat.S_ISLNK(status.st_mode) else "it is no regular file")


def empty_directories(workspace, skip):
    """Returns the paths of directories of the workspace with nothing in them, from the working directory.

    It looks at ENTRIES entries at most. `skip` lists what it leaves out.
    """
    found: list[Any] = []
    stack = [(workspace, DEPTH)]
    left = ENTRIES
    while stack:
        place, depth = stack.pop()
        entries = []
        with contextlib.suppress(OSError), os.scandir(place) as scan:
            for entry in scan:
                left -= 1
                if left < 0 or len(found) >= DIRECTORIES:
                    skip("empty directories", "directory", "there are too many directories or files")
                    return found
                entries.append(entry)
            if not entries and place != workspace:
                path = os.path.relpath(place)
                if encodable(path) == path:
                    found.append(path)
                else:
                    skip(path, "directory", "its name is not UTF-8")
        if depth:
            inside = [each for each in entries if each.is_dir(follow_symlinks=False) and each.name not in CACHES]
            stack += [(each.path, depth - 1) for each in inside]
    return found


def write_file(workspace, entry, content):
    """Writes a file of a checkpoint. It appears once it is complete. Raises `OSError`."""
    path = os.path.join(workspace, entry["path"])
    parent = os.path.dirname(path)
    os.makedirs(parent, exist_ok=True)
    temporary = os.path.join(parent, f".{os.urandom(8).hex()}.part")
    try:
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, 0o666)
        with os.fdopen(number, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), entry["mode"])
        os.utime(temporary, ns=(entry["modified_ns"], entry["modified_ns"]))
        os.rename(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise

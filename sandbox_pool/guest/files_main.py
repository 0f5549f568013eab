"""Reads, writes, lists or deletes files in a sandbox. The program reads frames from stdin and writes frames to stdout.

    python -I -S files_main.py REQUEST

The server starts one process per request, outside of the kernel, so that neither a busy nor a hostile kernel can
block it. The program needs only the standard library. REQUEST is JSON: `operation`, `root` (the workspace), `user`
(the uid to switch to, or null), `path`, `limit_bytes` or `limit_entries`.
A frame is a letter, the payload's length in four bytes, and the payload:

    R   ready: the size and time of the file to read, as JSON; empty when the program expects a file to write
    D   data: a piece of a file, or one file of a listing as JSON
    Z   the end: after a write the size and time of the file, after a listing whether it is complete, as JSON
    E   failed: the name of an `errno`, or `INODES` if no further file can be created

A path cannot lead out of the workspace: the program opens each part from its parent directory, and refuses symbolic
links. It reads and replaces only regular files, and never waits for another process.
"""

import errno
import json
import os
import signal
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

HEAD = struct.Struct(">cI")
PIECE_BYTES = 65_536
DEPTH = 32
"""The maximum depth of listed directories."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
# Opening must not block: a fifo may have no process at its other end, and the code may hold a lease on a file.
SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def send(kind: bytes, payload: bytes = b"") -> None:
    frame = memoryview(HEAD.pack(kind, len(payload)) + payload)
    while frame:
        frame = frame[os.write(1, frame) :]


def fail(name: str) -> None:
    send(b"E", name.encode())
    # If the program ended with unread input, some engines would not forward its last output.
    while os.read(0, PIECE_BYTES):
        pass


def received() -> Iterator[bytes]:
    """Yields the pieces of the file to write, until its last frame."""
    while True:
        kind, size = HEAD.unpack(_exactly(HEAD.size))
        if kind == b"Z":
            return
        yield _exactly(size)


def _exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def open_parent(root: int, path: str, *, create: bool = False) -> tuple[int, str]:
    """Opens the parent directory of the path. Returns its descriptor and the last part of the path."""
    directory = os.dup(root)
    *parents, name = path.split("/")
    for part in parents:
        if create:
            try:
                os.mkdir(part, dir_fd=directory)
            except FileExistsError:
                pass
        child = os.open(part, DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        os.close(directory)
        directory = child
    return directory, name


def check_regular(status: os.stat_result) -> os.stat_result:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "")
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENXIO, "")
    return status


def described(status: os.stat_result) -> dict[str, Any]:
    return {"size_bytes": status.st_size, "modified_at": status.st_mtime}


def read(root: int, path: str, limit_bytes: int) -> None:
    directory, name = open_parent(root, path)
    file = os.open(name, os.O_RDONLY | SAFE, dir_fd=directory)
    status = check_regular(os.fstat(file))
    if status.st_size > limit_bytes:
        raise OSError(errno.EFBIG, "")
    send(b"R", json.dumps(described(status)).encode())
    left = status.st_size
    while left:
        piece = os.read(file, min(PIECE_BYTES, left))
        if not piece:
            raise OSError(errno.ESTALE, "")
        send(b"D", piece)
        left -= len(piece)
    send(b"Z")


def write(root: int, path: str, limit_bytes: int) -> None:
    """Writes a temporary file and renames it, so that a failure leaves the old file unchanged."""
    directory, name = open_parent(root, path, create=True)
    try:
        check_replaceable(directory, name)
        # Code that lists the directory meanwhile can see from the name that this is an unfinished file.
        temporary = f".{os.urandom(8).hex()}.part"
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, 0o666, dir_fd=directory)
        try:
            send(b"R")
            size = 0
            for piece in received():
                size += len(piece)
                if size > limit_bytes:
                    raise OSError(errno.EFBIG, "")
                while piece:
                    piece = piece[os.write(file, piece) :]
            check_replaceable(directory, name)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(temporary, dir_fd=directory)
            raise
    except OSError as error:
        if error.errno == errno.ENOSPC and os.fstatvfs(directory).f_ffree == 0:
            fail("INODES")
            return
        raise
    send(b"Z", json.dumps(described(os.fstat(file))).encode())


def check_replaceable(directory: int, name: str) -> None:
    try:
        check_regular(os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        pass


def delete(root: int, path: str) -> None:
    directory, name = open_parent(root, path)
    if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        raise IsADirectoryError(errno.EISDIR, "")
    os.unlink(name, dir_fd=directory)
    send(b"Z")


def list_files(root: int, limit_entries: int) -> None:
    entries = walk(root, "", DEPTH)
    complete = True
    for count, entry in enumerate(entries, 1):
        if count > limit_entries or entry is None:
            complete = False
        else:
            path, status = entry
            if stat.S_ISREG(status.st_mode):
                send(b"D", json.dumps({"path": path, **described(status)}).encode())
        if count > limit_entries:
            break
    send(b"Z", json.dumps({"complete": complete}).encode())


def walk(directory: int, prefix: str, depth: int) -> Iterator[tuple[str, os.stat_result] | None]:
    """Yields everything below a directory, and closes the directory's descriptor.

    Yields None for an entry that cannot be listed: its name is not UTF-8, it is unreadable, or it is too deep.
    """
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                path = prefix + entry.name
                try:
                    path.encode()
                    status = entry.stat(follow_symlinks=False)
                    yield path, status
                    if stat.S_ISDIR(status.st_mode):
                        if not depth:
                            raise RecursionError
                        child = os.open(entry.name, DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                        yield from walk(child, f"{path}/", depth - 1)
                except FileNotFoundError:
                    pass
                except (OSError, UnicodeEncodeError, RecursionError):
                    yield None
    finally:
        os.close(directory)


def become(user: int | None) -> None:
    """Switches to the user that the code runs as, so that this program can access no more than the code can."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


OPERATIONS: dict[str, Callable[..., None]] = {"read": read, "write": write, "delete": delete, "list": list_files}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    request = json.loads(sys.argv[1])
    try:
        root = os.open(request.pop("root"), DIRECTORY)
        become(request.pop("user"))
        OPERATIONS[request.pop("operation")](root, **request)
    except OSError as error:
        fail(errno.errorcode.get(error.errno or 0, "EIO"))
    except EOFError:
        pass  # The server has closed the connection.


if __name__ == "__main__":
    main()

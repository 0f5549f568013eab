"""Reads, writes, lists and deletes the files of a sandbox, also while code runs in it.

The work is done by `files_main.py`, which runs in the sandbox as the same user as the code, so the code may forge its
answers. Each answer is therefore checked, bounded, and waited for no longer than `ANSWER_S`: a forged answer harms
only its own sandbox.
"""

import errno
import struct
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import anyio
import msgspec
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from sandbox_pool.backends.base import Backend
from sandbox_pool.errors import FileError, FileLimit, FileNotFound, FileRefused
from sandbox_pool.spec import Limits

__all__ = ["FileInfo", "FileList", "Files", "OpenFile"]

ANSWER_S = 30.0
AT_ONCE = 4
"""How many requests run at once in one sandbox, each as a process. Further requests wait."""
HEAD = struct.Struct(">cI")
PIECE_BYTES = 65_536
PATH_BYTES, PART_BYTES = 4_000, 255
LATEST = 253_402_300_799.0
"""The end of the year 9999, which is the last date that `datetime` can represent."""

REFUSALS = {
    "EISDIR": "it is a directory",
    "ELOOP": "it is a symbolic link",
    "ENOTDIR": "a part of its path is no directory, or a symbolic link",
    "ENXIO": "it is not a regular file",
    "EACCES": "the code has taken away the permission to",
    "EPERM": "the code has taken away the permission to",
    "EAGAIN": "the code holds it under a lease",
    "ENAMETOOLONG": "its path is too long",
    "ESTALE": "the code changed it meanwhile",
}


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file. `path` is relative to the workspace; `modified_at` is in seconds since 1970, up to the year 9999."""

    path: str
    size_bytes: int
    modified_at: float


@dataclass(frozen=True, slots=True)
class FileList:
    """Regular files, sorted by path. `complete` is False if files are missing from the list: those beyond the limit
    `listed_files` (which includes directories), more than 32 directories deep, in an unreadable directory, or with a
    name that is not UTF-8.
    """

    files: tuple[FileInfo, ...]
    complete: bool


class OpenFile(AsyncIterator[bytes]):
    """Iterates over a file's content: yields exactly `info.size_bytes` bytes, in pieces, or raises `FileError`."""

    def __init__(self, info: FileInfo, answers: "_Answers") -> None:
        self.info = info
        self._answers = answers
        self._left = info.size_bytes

    async def __anext__(self) -> bytes:
        kind, piece = await self._answers.next()
        self._left -= len(piece)
        if kind == b"Z" and self._left == 0:
            raise StopAsyncIteration
        if kind != b"D" or not piece or self._left < 0:
            raise self._answers.nonsense()
        return piece


class Files:
    """The files of one sandbox. Calls may run concurrently, also with code. They raise `SandboxError`."""

    def __init__(self, backend: Backend, sandbox_id: str, limits: Limits) -> None:
        self._backend = backend
        self._sandbox_id = sandbox_id
        self._limits = limits
        self._slots = anyio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def read(self, path: str) -> AsyncIterator[OpenFile]:
        async with self._ask("read", path, limit_bytes=self._limit_bytes) as answers:
            info = answers.described(await answers.expect(b"R"))
            if info.size_bytes > self._limit_bytes:
                raise answers.nonsense()
            yield OpenFile(info, answers)

    async def write(self, path: str, content: bytes | AsyncIterable[bytes]) -> FileInfo:
        async with self._ask("write", path, limit_bytes=self._limit_bytes) as answers:
            await answers.expect(b"R")
            described = None
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(answers.send, content, tasks.cancel_scope)
                    described = await answers.expect(b"Z", within_s=None)
                    tasks.cancel_scope.cancel()
            except ExceptionGroup as group:
                raise group.exceptions[0] from None
            if described is None:
                raise answers.silence()
            return answers.described(described)

    async def delete(self, path: str) -> None:
        async with self._ask("delete", path) as answers:
            await answers.expect(b"Z")

    async def list(self) -> FileList:
        files: dict[str, FileInfo] = {}
        async with self._ask("list", None, limit_entries=self._limits.listed_files) as answers:
            while True:
                kind, payload = await answers.next()
                if kind == b"Z":
                    complete = answers.parsed(payload, _Listed).complete
                    return FileList(tuple(file for _, file in sorted(files.items())), complete)
                entry = answers.parsed(payload, _Entry)
                if kind != b"D" or _problem(entry.path) or len(files) >= self._limits.listed_files:
                    raise answers.nonsense()
                files[entry.path] = FileInfo(entry.path, entry.size_bytes, min(max(entry.modified_at, 0.0), LATEST))

    @property
    def _limit_bytes(self) -> int:
        return self._limits.file_mb * 1024 * 1024

    @asynccontextmanager
    async def _ask(self, operation: str, path: str | None, **limits: int) -> "AsyncIterator[_Answers]":
        request: Mapping[str, Any] = {"operation": operation, **limits}
        if path is not None:
            if problem := _problem(path):
                raise FileRefused(f"{_shown(path)} is not the path of a file in the workspace: {problem}.")
            request = {**request, "path": path}
        async with self._slots, self._backend.files(self._sandbox_id, request) as stream:
            yield _Answers(stream, operation, path, self._limits)


_Parsed = TypeVar("_Parsed")


class _Size(msgspec.Struct):
    size_bytes: Annotated[int, msgspec.Meta(ge=0)]
    modified_at: float


class _Entry(_Size):
    path: str


class _Listed(msgspec.Struct):
    complete: bool


class _Answers:
    """The answers of `files_main.py` to one request."""

    def __init__(self, stream: ByteStream, operation: str, path: str | None, limits: Limits) -> None:
        self._stream = stream
        self._buffered = BufferedByteReceiveStream(stream)
        self._attempt = f"{operation} {_shown(path)}" if path is not None else "list the files"
        self._path = path or ""
        self._limits = limits

    async def send(self, content: bytes | AsyncIterable[bytes], answer: anyio.CancelScope) -> None:
        """Sends a file, then sets the deadline of the answer."""
        try:
            async for piece in _pieces(content):
                with anyio.fail_after(ANSWER_S):
                    await self._stream.send(HEAD.pack(b"D", len(piece)) + piece)
            await self._stream.send(HEAD.pack(b"Z", 0))
        except TimeoutError:
            raise self.silence() from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # `files_main.py` stopped reading; its answer says why.
        answer.deadline = anyio.current_time() + ANSWER_S

    async def expect(self, kind: bytes, *, within_s: float | None = ANSWER_S) -> bytes:
        found, payload = await self.next(within_s=within_s)
        if found != kind:
            raise self.nonsense()
        return payload

    async def next(self, *, within_s: float | None = ANSWER_S) -> tuple[bytes, bytes]:
        try:
            with anyio.fail_after(within_s):
                kind, size = HEAD.unpack(await self._buffered.receive_exactly(HEAD.size))
                if size > PIECE_BYTES:
                    raise self.nonsense()
                payload = await self._buffered.receive_exactly(size)
        except TimeoutError:
            raise self.silence() from None
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
            problem = "the sandbox ended the attempt. It may be out of memory (memory_mb) or processes (pids)"
            raise FileError(f"Could not {self._attempt}: {problem}.") from None
        if kind == b"E":
            raise self._failure(payload.decode("ascii", "replace"))
        return kind, payload

    def parsed(self, payload: bytes, kind: "type[_Parsed]") -> "_Parsed":
        try:
            return msgspec.json.decode(payload, type=kind)
        except (msgspec.MsgspecError, UnicodeError):
            raise self.nonsense() from None

    def described(self, payload: bytes) -> FileInfo:
        size = self.parsed(payload, _Size)
        return FileInfo(self._path, size.size_bytes, min(max(size.modified_at, 0.0), LATEST))

    def silence(self) -> FileError:
        return FileError(f"Could not {self._attempt}: the sandbox has not answered for {ANSWER_S:g} s.")

    def nonsense(self) -> FileError:
        return FileError(f"Could not {self._attempt}: the sandbox gave an answer that makes no sense.")

    def _failure(self, name: str) -> FileError:
        limits = self._limits
        attempt = f"Could not {self._attempt}"
        if name == "ENOENT":
            return FileNotFound(f"{attempt}: there is no such file.")
        if name in REFUSALS:
            return FileRefused(f"{attempt}: {REFUSALS[name]}.")
        if name == "EFBIG":
            return FileLimit(f"{attempt}: it is larger than {limits.file_mb} MB (file_mb).", limit="file_mb")
        if name == "INODES":
            full = f"there are {limits.workspace_inodes:,} files and directories already (workspace_inodes)"
            return FileLimit(f"{attempt}: {full}.", limit="workspace_inodes")
        if name in ("ENOSPC", "EDQUOT"):
            full = f"the workspace's {limits.workspace_mb} MB are full (workspace_mb)"
            return FileLimit(f"{attempt}: {full}.", limit="workspace_mb")
        known = name if name in errno.errorcode.values() else "an unknown error"
        return FileError(f"{attempt}: the sandbox's system says {known}.")


def _problem(path: str) -> str:
    """Returns why this path is invalid, or "" if it is valid."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "it is not Unicode"
    parts = encoded.split(b"/")
    if path.startswith("/"):
        return "it must be relative to the workspace"
    if "\0" in path:
        return "it has a zero byte"
    if ".." in path.split("/"):
        return "'..' would lead out of a directory"
    if any(part in (b"", b".") for part in parts):
        return "it has an empty part, or '.'"
    if len(encoded) > PATH_BYTES or any(len(part) > PART_BYTES for part in parts):
        return f"it is longer than {PATH_BYTES} bytes, or a part of it than {PART_BYTES}"
    return ""


def _shown(path: str) -> str:
    return ascii(path) if len(path) <= 100 else f"{path[:100]!a}…"


async def _pieces(content: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        for start in range(0, len(content), PIECE_BYTES):
            yield content[start : start + PIECE_BYTES]
        return
    async for chunk in content:
        async for piece in _pieces(bytes(chunk)):
            yield piece

"""All errors that `sandbox_pool` raises. An exception of sandboxed code is data (`outputs.Error`), never one of these.

SandboxError
├── EngineUnavailable    no engine answers, or it refuses us (permission)
├── ImageUnavailable     the engine answers but the image can be neither built nor pulled
├── SandboxStartFailed   the sandbox was created but its kernel never answered
├── SandboxGone          the sandbox's kernel has died, or the sandbox was closed
├── SandboxBusy          the sandbox already executes other code
├── FileError            a file could not be read, written, listed or deleted; the sandbox itself still works
│   ├── FileNotFound     there is no such file
│   ├── FileRefused      the path is invalid, or it leads to something other than a regular file
│   └── FileLimit        the file, or the space for it, exceeds the limit that `limit` names
├── AtCapacity           no sandbox became free within the deadline, or the queue is full
│   └── QuotaExceeded    the owner already has as many sandboxes as one owner may have
└── PoolClosed           the pool is closing, or was never opened
"""

from typing import ClassVar

__all__ = [
    "AtCapacity",
    "EngineUnavailable",
    "FileError",
    "FileLimit",
    "FileNotFound",
    "FileRefused",
    "ImageUnavailable",
    "PoolClosed",
    "QuotaExceeded",
    "SandboxBusy",
    "SandboxError",
    "SandboxGone",
    "SandboxStartFailed",
]


class SandboxError(Exception):
    """Root of this package's errors. The message names the cause and, where there is one, the remedy."""

    code: ClassVar[str] = "sandbox_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, sandbox_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.sandbox_id = sandbox_id


class EngineUnavailable(SandboxError):
    code = "engine_unavailable"


class ImageUnavailable(SandboxError):
    code = "image_unavailable"


class SandboxStartFailed(SandboxError):
    code = "sandbox_start_failed"
    retryable = True


class SandboxGone(SandboxError):
    code = "sandbox_gone"
    retryable = True


class SandboxBusy(SandboxError):
    code = "sandbox_busy"
    retryable = True


class FileError(SandboxError):
    code = "file_error"


class FileNotFound(FileError):
    code = "file_not_found"


class FileRefused(FileError):
    code = "file_refused"


class FileLimit(FileError):
    code = "file_limit"

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class AtCapacity(SandboxError):
    code = "at_capacity"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QuotaExceeded(AtCapacity):
    code = "sandbox_quota_exceeded"


class PoolClosed(SandboxError):
    code = "pool_closed"

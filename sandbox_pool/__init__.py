"""Runs Python code in isolated sandboxes, keeps a pool of warm sandboxes, and streams the output of running code."""

from sandbox_pool.backends.base import GUEST, Backend, Claim, Death, Isolation, Notice, Started
from sandbox_pool.errors import (
    AtCapacity,
    EngineUnavailable,
    FileError,
    FileLimit,
    FileNotFound,
    FileRefused,
    ImageUnavailable,
    PoolClosed,
    QuotaExceeded,
    SandboxBusy,
    SandboxError,
    SandboxGone,
    SandboxStartFailed,
)
from sandbox_pool.outputs import (
    ClearOutput,
    DisplayData,
    Error,
    ExecuteResult,
    ExecutionResult,
    Output,
    Stream,
    UpdateDisplayData,
    fold,
)
from sandbox_pool.pool.pool import SandboxPool
from sandbox_pool.pool.stats import PoolStats
from sandbox_pool.sandbox.files import FileInfo, FileList, OpenFile
from sandbox_pool.sandbox.sandbox import Execution, Sandbox
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = [
    "GUEST",
    "AtCapacity",
    "Backend",
    "Claim",
    "ClearOutput",
    "Death",
    "DisplayData",
    "EngineUnavailable",
    "Error",
    "ExecuteResult",
    "Execution",
    "ExecutionResult",
    "FileError",
    "FileInfo",
    "FileLimit",
    "FileList",
    "FileNotFound",
    "FileRefused",
    "ImageUnavailable",
    "Isolation",
    "Limits",
    "Notice",
    "OpenFile",
    "Output",
    "PoolClosed",
    "PoolStats",
    "QuotaExceeded",
    "Sandbox",
    "SandboxBusy",
    "SandboxError",
    "SandboxGone",
    "SandboxPool",
    "SandboxSpec",
    "SandboxStartFailed",
    "Started",
    "Stream",
    "UpdateDisplayData",
    "fold",
]

"""Containers and kernels: a spec enters, warm sandboxes that run code and stream its output leave."""

from sandbox_pool.backends import Backend, Death, Isolation, Notice, Started
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
from sandbox_pool.files import FileInfo, FileList, OpenFile
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
from sandbox_pool.pool import SandboxPool
from sandbox_pool.sandbox import Execution, Sandbox
from sandbox_pool.spec import Limits, SandboxSpec
from sandbox_pool.stats import PoolStats

__all__ = [
    "AtCapacity",
    "Backend",
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

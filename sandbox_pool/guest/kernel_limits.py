"""Sets the limits that a kernel can set itself, and tells which limit is behind an error.

Runs inside a sandbox, beside `kernel_main.py`, which imports it.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import ctypes
import errno
import os
import resource
import signal
import sys
import threading

__all__ = ["die_with_parent", "limit_behind", "limit_files"]

DESCRIPTORS = 4096


def limit_behind(error, workspace):
    """The name of the limit on the sandbox that has made the code fail; None where there is none."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        for place, name in (("/dev/shm", "shm_mb"), ("/tmp", "tmp_mb"), (workspace, "workspace_mb")):  # noqa: S108
            with contextlib.suppress(OSError):
                space = os.statvfs(place)
                if space.f_bavail == 0:
                    return name
                if space.f_favail == 0:
                    return "workspace_inodes"
        # What was being written has been deleted since.
        return "workspace_mb"
    if isinstance(error, MemoryError):
        return "memory_mb"
    if isinstance(error, (BlockingIOError, RuntimeError)) and not can_start_thread():
        return "pids"
    return None


def can_start_thread():
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        return False
    return True


def die_with_parent():
    """A local kernel must not outlive a killed server. Only Linux has it; elsewhere it is a no-op."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def limit_files():
    # The place and the size of a core file would be the host's business.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Terminals, watches and open files are counted for the whole host, or for all sandboxes together.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

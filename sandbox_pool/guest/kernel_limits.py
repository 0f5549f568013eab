"""Sets the limits that a kernel can set itself, and finds out which limit caused an error.

`kernel_main.py` imports it inside of a sandbox.
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

__all__ = ["MemoryKills", "die_with_parent", "limit_behind", "limit_files"]

DESCRIPTORS = 4096
MEMORY_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
"""Where Linux counts the processes of this sandbox that it killed for want of memory; control groups v2 and v1."""


def limit_behind(error, workspace):
    """Returns the name of the sandbox's limit that caused this error, or None."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        for place, name in (("/dev/shm", "shm_mb"), ("/tmp", "tmp_mb"), (workspace, "workspace_mb")):  # noqa: S108
            with contextlib.suppress(OSError):
                space = os.statvfs(place)
                if space.f_bavail == 0:
                    return name
                if space.f_favail == 0:
                    return "workspace_inodes"
        # The file system is no longer full: the file has been deleted since.
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


class MemoryKills:
    """Notices that Linux has killed processes of this sandbox for want of memory, where it says so inside of it."""

    def __init__(self):
        self._path = next((path for path in MEMORY_EVENTS if os.access(path, os.R_OK)), None)
        self._count = self._read()

    def new(self):
        """How many since this was asked last."""
        before, self._count = self._count, self._read()
        return self._count - before

    def _read(self):
        if self._path is None:
            return 0
        try:
            with open(self._path) as file:
                return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
        except (OSError, ValueError):
            return 0


def die_with_parent():
    """Makes the system kill this kernel when its server dies. Does nothing on other systems than Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def limit_files():
    # The host's settings would determine the place and the size of core files.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The system's limits on terminals, watches and open files hold for the whole host, or for all sandboxes together.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

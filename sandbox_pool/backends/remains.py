"""The directory of a local sandbox enters, and nothing of that sandbox is left: processes, group, files. Blocks.

cgroup     the control group's directories, as JSON by controller
sockets    a symbolic link to the directory of its sockets
workspace  the working directory of a kernel without namespaces
"""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path

from sandbox_pool.backends.cgroup import Cgroup

__all__ = ["CGROUP", "MARK", "SOCKETS", "WORKSPACE", "erase"]

CGROUP = "cgroup"
SOCKETS = "sockets"
WORKSPACE = "workspace"
MARK = "CODEACT_SANDBOX_ID"
"""An environment variable that children inherit; process ids alone could by now be somebody else's."""


def erase(directory: Path) -> None:
    """Ends every process that can be found and removes what is on disk. Idempotent."""
    try:
        group = json.loads((directory / CGROUP).read_text())
        Cgroup({controller: Path(path) for controller, path in group.items()}).remove()
    except (OSError, ValueError):
        _kill_marked(f"{MARK}={directory.name}".encode())
    with contextlib.suppress(OSError):
        shutil.rmtree((directory / SOCKETS).readlink(), ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


def _kill_marked(mark: bytes) -> None:
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            process = os.pidfd_open(int(entry.parent.name))
            try:
                if mark in entry.read_bytes().split(b"\0"):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            finally:
                os.close(process)

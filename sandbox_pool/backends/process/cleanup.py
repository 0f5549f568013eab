"""Removes everything that a local sandbox left: its processes, its control group and its files. Blocks.

The directory of a sandbox has these entries:
group      the record of its control group, as JSON
sockets    a symbolic link to the directory of its sockets
workspace  the working directory of a kernel without namespaces
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from sandbox_pool.backends.process.resource_group import Group, restore

__all__ = ["GROUP", "MARK", "SOCKETS", "erase", "global_name"]

GROUP = "group"
SOCKETS = "sockets"
MARK = "CODEACT_SANDBOX"
"""An environment variable that child processes inherit. It identifies them; process ids may have been reused."""


def erase(directory: Path) -> None:
    """Kills the sandbox's processes and removes its files. Idempotent.

    Raises `OSError` if a process does not end. The directory then remains, so that the caller can try again.
    """
    group = _recorded_group(directory)
    if group is not None:
        group.remove()
    else:
        _kill_marked(f"{MARK}={global_name(directory)}".encode())
    with contextlib.suppress(OSError):
        shutil.rmtree((directory / SOCKETS).readlink(), ignore_errors=True)
    try:
        shutil.rmtree(directory, ignore_errors=True)
    except RecursionError:  # The code has nested thousands of directories.
        subprocess.run(["rm", "-rf", "--", directory], check=False)  # noqa: S603, S607


def global_name(directory: Path) -> str:
    """Returns a name for the sandbox that is unique among all servers of this machine."""
    return f"{directory.parent.name}-{directory.name}"


def _recorded_group(directory: Path) -> Group | None:
    try:
        return restore(json.loads((directory / GROUP).read_text()))
    except (OSError, ValueError):
        return None


def _kill_marked(mark: bytes) -> None:
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            process = os.pidfd_open(int(entry.parent.name))
            try:
                if mark in entry.read_bytes().split(b"\0"):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            finally:
                os.close(process)

"""Removes everything that a local sandbox left: its processes, its control group and its files. Blocks.

group      what it takes to restore its control group, as JSON
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
"""An environment variable that children inherit; process ids alone could by now be somebody else's."""


def erase(directory: Path) -> None:
    """Ends every process that can be found and removes what is on disk. Idempotent.

    Raises `OSError` where a process does not end, for another try: the directory then stays.
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
    except RecursionError:  # Directories in directories, by the thousand.
        subprocess.run(["rm", "-rf", "--", directory], check=False)  # noqa: S603, S607


def global_name(directory: Path) -> str:
    """What tells this sandbox from those of every server on this machine."""
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

"""Names this server process, and tells from such a name whether the process has died."""

import functools
import os
import secrets
import socket
from pathlib import Path

__all__ = ["has_died", "is_here", "new_name"]


def new_name() -> str:
    """A name that is never given twice: `host/space/pid/start/token`. A reused pid has another start time."""
    return f"{_here()}/{os.getpid()}/{_start_time(os.getpid())}/{secrets.token_hex(4)}"


def is_here(name: str) -> bool:
    """Whether the process with this name runs, or ran, on this host since its last boot, and in this container."""
    return name.startswith(_here() + "/")


def has_died(name: str) -> bool:
    """Whether the process with this name has ended.

    False for processes of other hosts and containers, which we cannot see.
    """
    if not is_here(name):
        return False
    pid, started, *_ = (*name.removeprefix(_here() + "/").split("/"), "", "")
    return pid.isdigit() and started != "" and _start_time(int(pid)) != started


@functools.cache
def _here() -> str:
    """The host since its last boot, and the pid namespace: containers of one host can have equal pids and even equal
    names.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return f"{socket.gethostname()}/-"
    return f"{socket.gethostname()}/{boot}.{space}"


def _start_time(pid: int) -> str:
    """The process's start in clock ticks since boot (proc(5), field 22 of `stat`); empty if it has ended or there is no
    /proc.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]

"""Names this server process, and finds out from such a name whether its process has died."""

import functools
import os
import secrets
import socket
from pathlib import Path

__all__ = ["has_died", "new_name"]


def new_name() -> str:
    """`host/space/pid/start/token`: never the same twice, since a pid that comes back has another start time."""
    return f"{_here()}/{os.getpid()}/{_start_time(os.getpid())}/{secrets.token_hex(4)}"


def has_died(name: str) -> bool:
    """Whether the process of this name has ended. Those of other hosts and containers cannot be seen: False."""
    here, _, rest = name.partition("/")
    space, pid, started, *_ = (*rest.split("/"), "", "", "")
    return f"{here}/{space}" == _here() and pid.isdigit() and started != "" and _start_time(int(pid)) != started


@functools.cache
def _here() -> str:
    """The host as of its last boot, and the pid namespace: containers of one host have equal pids, even equal names."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return f"{socket.gethostname()}/-"
    return f"{socket.gethostname()}/{boot}.{space}"


def _start_time(pid: int) -> str:
    """In clock ticks since boot (proc(5), field 22 of `stat`); empty when it has ended or there is no /proc."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]

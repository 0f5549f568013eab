"""Which server process wrote something: this process's name leaves; a name enters, and whether it still runs leaves."""

import os
import socket
from pathlib import Path

__all__ = ["is_running", "this_process"]


def this_process() -> str:
    """`host/pid/start`: never the same for two processes, since a pid that comes back has another start time."""
    return f"{socket.gethostname()}/{os.getpid()}/{_start_time(os.getpid())}"


def is_running(process: str) -> bool:
    """Whether the process of this name runs on this host. Those of other hosts cannot be seen: False."""
    if process == this_process():
        return True
    host, pid, start = process.rsplit("/", 2)
    return host == socket.gethostname() and start != "" and _start_time(int(pid)) == start


def _start_time(pid: int) -> str:
    """In clock ticks since boot (proc(5), field 22 of `stat`); empty when it has ended or there is no /proc."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]

"""Runs a command, returns its exit status, and ends every process that the command started.

    python3 .ci/guard.py COMMAND...

The guard also adopts and ends processes that leave their session or whose parent ends (PR_SET_CHILD_SUBREAPER in
prctl(2)). It ends the command when it receives SIGTERM, SIGINT or SIGHUP, and when its own parent dies.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
COMMAND_S = 40.0
"""How long the command may take to end after SIGTERM: a Docker engine first stops its containers."""
OTHERS_S = 5.0
"""How long the remaining processes may take after that."""


class Stopped(Exception):
    """The guard has received a signal, which is `args[0]`."""


def descendants() -> list[int]:
    """Returns the ids of all running descendants of this process."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(entry.parent.name))
    found, queue = [], [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def reap() -> dict[int, int]:
    """Reaps ended children. Returns the exit codes by process id."""
    ended = {}
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def tell(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def end(command: int) -> None:
    """Ends the command, and then all other descendants."""
    tell([command] if command in descendants() else [], signal.SIGTERM)
    deadline = time.monotonic() + COMMAND_S
    while command in descendants() and time.monotonic() < deadline:
        reap()
        time.sleep(0.05)
    tell(descendants(), signal.SIGTERM)
    deadline = time.monotonic() + OTHERS_S
    while left := descendants():
        if time.monotonic() > deadline:
            tell(left, signal.SIGKILL)
        reap()
        time.sleep(0.05)
    reap()


def main(arguments: list[str]) -> int:
    parent = os.getppid()
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        signal.signal(number, stop)
    status, command = 1, 0
    try:
        # Set the handlers first: a shell ignores SIGINT in background processes, and children would inherit that.
        command = subprocess.Popen(arguments, start_new_session=True).pid  # noqa: S603
        if os.getppid() != parent:
            raise Stopped(signal.SIGTERM)
        while True:
            pid, ended = os.wait()
            if pid == command:
                code = os.waitstatus_to_exitcode(ended)
                status = code if code >= 0 else 128 - code
                break
    except Stopped as stopped:
        status = 128 + int(stopped.args[0])
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        end(command)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

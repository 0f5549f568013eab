"""A command enters, its exit status leaves; however it ends, nothing that it started stays behind.

    python3 .ci/guard.py COMMAND...

Processes that leave their session or their parent are adopted (PR_SET_CHILD_SUBREAPER in prctl(2)) and ended as well.
SIGTERM, SIGINT and SIGHUP to the guard, and the death of whoever started it, end the command.
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
"""How long the command may take to end by itself once it was told to: a Docker engine stops its containers."""
OTHERS_S = 5.0
"""How long the others may take then."""


class Stopped(Exception):
    """The guard was told to end; `args[0]` is the signal."""


def descendants() -> list[int]:
    """All processes below this one that have not ended."""
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
    """Exit codes of the children that have ended since the last call."""
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
    """Ends the command, then what is left of what it started."""
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
        # Not before the handlers: a shell gives what it starts in the background no SIGINT, and children inherit that.
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

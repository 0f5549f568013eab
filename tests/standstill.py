"""Stops a process as SIGSTOP does, and waits until all of its threads stand still."""

import os
import signal
import time

import psutil

__all__ = ["stand_still"]


def stand_still(pid: int) -> None:
    """Sends SIGSTOP and returns once it has its effect: until then, on a busy machine, the other threads go on.

    Only the thread that takes the signal tells the others to stop, and it may first have to wait for a processor.
    """
    os.kill(pid, signal.SIGSTOP)
    while not _stands_still(pid):
        time.sleep(0.001)  # There is no event for this in another process.


def _stands_still(pid: int) -> bool:
    try:
        threads = [psutil.Process(thread.id) for thread in psutil.Process(pid).threads()]
        return all(thread.status() == psutil.STATUS_STOPPED for thread in threads)
    except psutil.NoSuchProcess:  # A thread ended meanwhile, so not all were stopped.
        return False

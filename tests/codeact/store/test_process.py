"""Names of processes: the living are told from the dead."""

import os
import subprocess
import sys

from codeact.store.process import is_running, this_process

NAME = "from codeact.store.process import this_process; print(this_process(), flush=True); input()"


def test_a_process_runs_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        assert is_running(name)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(name), "ended, though nobody has asked for its exit code"
    assert not is_running(name)


def test_this_process_runs() -> None:
    assert is_running(this_process())


def test_a_pid_that_came_back_is_another_process() -> None:
    host, pid, start = this_process().rsplit("/", 2)
    assert not is_running(f"{host}/{pid}/{int(start) - 1}")
    assert not is_running(f"elsewhere/{pid}/{start}")

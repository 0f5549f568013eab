"""Names of processes, by which live ones are distinguished from dead ones."""

import os
import subprocess
import sys

import pytest

from codeact.store.database.process import has_died, new_name

NAME = "from codeact.store.database.process import new_name; print(new_name(), flush=True); input()"


def test_a_process_runs_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        assert not has_died(name)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_died(name), "ended, though nobody has asked for its exit code"
    assert has_died(name)


def test_this_process_runs_and_every_server_in_it_has_a_name_of_its_own() -> None:
    assert not has_died(new_name())
    assert new_name() != new_name()


def test_a_pid_that_came_back_is_another_process() -> None:
    host, space, pid, start, token = new_name().split("/")
    assert has_died(f"{host}/{space}/{pid}/{int(start) - 1}/{token}")


@pytest.mark.parametrize("place", ["elsewhere/{space}", "{host}/boot.1"])
def test_what_runs_on_other_hosts_and_in_other_containers_cannot_be_seen(place: str) -> None:
    host, space, pid, start, token = new_name().split("/")
    assert not has_died(f"{place.format(host=host, space=space)}/{pid}/{int(start) - 1}/{token}")


@pytest.mark.parametrize("name", ["", "host", "host/1/2", "a/b/c/d/e/f"])
def test_other_names_say_nothing(name: str) -> None:
    assert not has_died(name)

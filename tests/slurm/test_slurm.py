"""A job of a real Slurm: slurmctld, slurmd and munge on this machine run the batch script, and a second job goes on."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
SBIN = f"{os.environ['PATH']}:/usr/sbin"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")

pytestmark = [
    pytest.mark.skipif(
        not all(shutil.which(name, path=SBIN) for name in NEEDED) or os.geteuid() != 0,
        reason="Slurm is needed, and root: apt-get install slurmctld slurmd slurm-client munge",
    ),
]

CONF = """
ClusterName=test
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={slurmd_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.sock
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
NodeName={node} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


def until(condition: Any, within_s: float = 90) -> Any:
    """What the condition gives, as soon as that is true."""
    ends_at = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < ends_at, "it did not happen"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands reach a cluster of this one machine."""
    home, node = tmp_path_factory.mktemp("slurm"), socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (home / name).mkdir()
    ports = {"port": free_port(), "slurmd_port": free_port()}
    conf, key = home / "slurm.conf", home / "munge.key"
    conf.write_text(CONF.format(node=node, home=home, **ports))
    key.write_bytes(os.urandom(64))
    key.chmod(0o400)
    given = {**os.environ, "SLURM_CONF": str(conf), "PATH": SBIN}
    munge = ["munged", "--foreground", "--force", "-S", f"{home}/munge.sock", "--key-file", str(key)]
    munge += [f"--{name}-file={home}/munge.{name}" for name in ("pid", "log", "seed")]
    with ExitStack() as stack:
        for command in (munge, ["slurmctld", "-D", "-f", str(conf)], ["slurmd", "-D", "-f", str(conf)]):
            log = stack.enter_context((home / f"{command[0]}.out").open("wb"))
            running = subprocess.Popen(command, env=given, stdout=log, stderr=log)
            stack.callback(running.wait, 30)
            stack.callback(running.terminate)
            if command is munge:
                until((home / "munge.sock").exists)
        idle = ["sinfo", "--noheader", "--format=%t"]
        until(lambda: subprocess.run(idle, env=given, capture_output=True, text=True).stdout.strip() == "idle")
        yield given


class Job:
    """A job with the batch script; its server keeps its data in `data_dir`."""

    def __init__(self, environment: dict[str, str], directory: Path, data_dir: Path) -> None:
        self._environment = environment
        directory.mkdir()
        given = {
            **environment,
            "CODEACT_SLURM_PYTHON": sys.executable,
            "CODEACT_SLURM_LAUNCH": str(ROOT / "slurm" / "launch.py"),
            "CODEACT_SLURM_SERVER": f"{sys.executable} -m codeact serve",
            "CODEACT_SLURM_LOGIN": "login.example.org",
            "CODEACT_DATA_DIR": str(data_dir),
            "CODEACT_MODEL": "demo",
            "CODEACT_POOL_MIN": "0",
        }
        command = ["sbatch", "--parsable", str(ROOT / "slurm" / "codeact.sbatch")]
        self.id = subprocess.run(
            command, cwd=directory, env=given, check=True, capture_output=True, text=True
        ).stdout.strip()
        self._log = directory / f"codeact-{self.id}.log"
        tunnel = until(lambda: re.search(r"ssh -N -J (\S+) -L 8000:127.0.0.1:(\d+) \S+", self.log))
        assert tunnel[1] == "login.example.org"
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{tunnel[2]}", trust_env=False, timeout=60)
        until(self._is_ready)

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def end(self) -> str:
        """Sends the signal that Slurm sends ahead of the end of the job's time; returns how the job ended."""
        subprocess.run(["scancel", "--batch", "--signal=TERM", self.id], env=self._environment, check=True)
        show = ["scontrol", "show", "job", self.id]
        state = until(
            lambda: re.search(
                r"JobState=(?!RUNNING|COMPLETING)(\w+)",
                subprocess.run(show, env=self._environment, capture_output=True, text=True).stdout,
            )
        )
        return str(state[1])

    def _is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[[str], Job]]:
    """Submits a job of this name; all have the same data. Closes their clients at the end."""
    with ExitStack() as clients:

        def begin(name: str) -> Job:
            job = Job(environment, tmp_path / name, tmp_path / "data")
            clients.callback(job.client.close)
            return job

        yield begin


def test_a_job_drains_ahead_of_its_end_and_the_next_one_goes_on(start: Callable[[str], Job]) -> None:
    first = start("first")
    answer = first.client.post("/v1/responses", json={"input": "Make a mistake, then fix it"}).json()
    assert answer["status"] == "completed"
    conversation = answer["conversation"]["id"]
    with first.client.stream("POST", "/v1/responses", json={"input": "Count to 3, slowly", "stream": True}) as stream:
        lines = stream.iter_lines()
        next(lines)
        assert first.end() == "COMPLETED"
        assert any("response.completed" in line for line in lines), "the answer under way was not let end"
    assert "The job ends" in first.log
    second = start("second")
    again = second.client.post("/v1/responses", json={"input": "Thank you", "conversation": conversation}).json()
    assert again["status"] == "completed"
    assert [notice["code"] for notice in again["codeact:notices"]] in ([], ["kernel_restored"])
    listed = second.client.get(f"/v1/conversations/{conversation}/responses").json()["data"]
    assert [each["response"]["id"] for each in listed] == [answer["id"], again["id"]]
    assert second.end() == "COMPLETED"

"""Jobs of a real Slurm: slurmctld, munge and two slurmd on this machine, which are two nodes, run the batch script.

With `TEST_REAL_MODEL_DIR=DIR`, the folder of `.ci/real-model DIR PORT`, a job starts a real llama.cpp server, too.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.needs import LONG
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
MODEL_DIR = os.environ.get("TEST_REAL_MODEL_DIR", "")
NODE, SECOND = socket.gethostname().partition(".")[0], "localhost"
"""The nodes' names: a job's nodes reach each other by them."""
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
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.sock
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool/%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={first_port} CPUs=2 State=UNKNOWN
NodeName={second} NodeHostname={node} NodeAddr=127.0.0.1 Port={second_port} CPUs=2 State=UNKNOWN
PartitionName=all Nodes={node},{second} Default=YES MaxTime=INFINITE State=UP
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
    home = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool", f"spool/{NODE}", f"spool/{SECOND}"):
        (home / name).mkdir()
    ports = {name: free_port() for name in ("port", "first_port", "second_port")}
    conf, key = home / "slurm.conf", home / "munge.key"
    conf.write_text(CONF.format(node=NODE, second=SECOND, home=home, **ports))
    key.write_bytes(os.urandom(64))
    key.chmod(0o400)
    given = {**os.environ, "SLURM_CONF": str(conf), "PATH": SBIN}
    munge = ["munged", "--foreground", "--force", "-S", f"{home}/munge.sock", "--key-file", str(key)]
    munge += [f"--{name}-file={home}/munge.{name}" for name in ("pid", "log", "seed")]
    with ExitStack() as stack:
        controller = ["slurmctld", "-D", "-f", str(conf)]
        daemons = [["slurmd", "-D", "-f", str(conf), "-N", name] for name in (NODE, SECOND)]
        for command in (munge, controller, *daemons):
            log = stack.enter_context((home / f"{command[0]}.out").open("ab"))
            running = subprocess.Popen(command, env=given, stdout=log, stderr=log)
            stack.callback(running.wait, 30)
            stack.callback(running.terminate)
            if command is munge:
                until((home / "munge.sock").exists)
        idle = ["sinfo", "--noheader", "--format=%D %t"]
        until(lambda: subprocess.run(idle, env=given, capture_output=True, text=True).stdout.strip() == "2 idle")
        yield given


class Job:
    """A job with the batch script; its server keeps its data in `data_dir`.

    `options` are those of `sbatch`, `variables` are added to the job's environment.
    """

    def __init__(
        self,
        environment: dict[str, str],
        directory: Path,
        data_dir: Path,
        *,
        options: Sequence[str] = (),
        **variables: str,
    ) -> None:
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
            **variables,
        }
        command = ["sbatch", "--parsable", *options, str(ROOT / "slurm" / "codeact.sbatch")]
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
        return self.ended()

    def cancel(self) -> None:
        """Ends the job, if a test has failed before it has."""
        if (
            " RUNNING"
            in subprocess.run(
                ["squeue", "--noheader", "--format= %T", "--jobs", self.id],
                env=self._environment,
                capture_output=True,
                text=True,
            ).stdout
        ):
            self.end()

    def ended(self, within_s: float = 90) -> str:
        """Waits until the job has ended; returns how."""
        show = ["scontrol", "show", "job", self.id]
        state = until(
            lambda: re.search(
                r"JobState=(?!RUNNING|COMPLETING)(\w+)",
                subprocess.run(show, env=self._environment, capture_output=True, text=True).stdout,
            ),
            within_s,
        )
        return str(state[1])

    def _is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Submits a job of this name; all have the same data. Closes their clients at the end."""
    with ExitStack() as clients:

        def begin(name: str, **more: Any) -> Job:
            job = Job(environment, tmp_path / name, tmp_path / "data", **more)
            clients.callback(job.cancel)
            clients.callback(job.client.close)
            return job

        yield begin


def test_a_job_drains_ahead_of_its_end_and_the_next_one_goes_on(start: Callable[..., Job]) -> None:
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


def test_the_model_server_of_a_job_with_two_nodes_runs_on_the_second_one(start: Callable[..., Job]) -> None:
    model = {"CODEACT_SLURM_MODEL": f"{sys.executable} {Path(__file__).with_name('model.py')} {{port}}"}
    job = start("two", options=["--nodes=2"], CODEACT_MODEL="openai/node", **model)
    answer = job.client.post("/v1/responses", json={"input": "Where do you run?"}).json()
    runs_on = re.search(r"codeact runs on ([^\s,]+),", job.log)
    assert runs_on is not None
    (other,) = {NODE, SECOND} - {runs_on[1]}
    assert answer["output"][-1]["content"][0]["text"] == f"The model runs on {other}."
    base = re.search(r"The model answers at (\S+)\.", job.log)
    assert base is not None
    assert job.end() == "COMPLETED"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base[1]}/models", trust_env=False)


@pytest.mark.long
@pytest.mark.skipif(not MODEL_DIR, reason="TEST_REAL_MODEL_DIR names no folder of .ci/real-model")
@pytest.mark.parametrize("nodes", [1, 2] if LONG else [1])
def test_a_job_with_a_real_model_ends_ahead_of_its_time_and_the_next_one_goes_on(
    start: Callable[..., Job], nodes: int
) -> None:
    command = f"{ROOT / '.ci' / 'real-model'} {MODEL_DIR} {{port}}"
    more = {"CODEACT_MODEL": "openai/smollm2-135m", "CODEACT_SLURM_MODEL": command, "options": [f"--nodes={nodes}"]}
    short = more | {"options": [*more["options"], "--time=00:03:00"]}  # The signal comes two minutes ahead, or three.
    first = start("first", **(short if LONG else more))
    question = {"input": "Say hello.", "max_output_tokens": 24}
    answer = first.client.post("/v1/responses", json=question).json()
    assert answer["usage"]["output_tokens"] > 0
    assert answer["error"] is None
    assert (first.ended(within_s=300) if LONG else first.end()) == "COMPLETED"
    assert "The job ends" in first.log
    second = start("second", **more)
    conversation = answer["conversation"]["id"]
    again = second.client.post("/v1/responses", json=question | {"conversation": conversation}).json()
    assert again["usage"]["input_tokens"] > answer["usage"]["input_tokens"]
    assert second.end() == "COMPLETED"

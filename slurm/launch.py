"""Starts a model server and codeact inside a Slurm job, says how to reach them, and ends them in good order.

It uses the standard library alone, and reads:

CODEACT_SLURM_MODEL    the command of a model server, with {port} for its port, such as
                       `vllm serve Qwen/Qwen3-8B --port {port}` or `llama-server -m model.gguf --port {port}`
                       (on another node with `--host 0.0.0.0`). Unset: CODEACT_MODEL and CODEACT_MODEL_API_BASE say
                       which model is asked.
CODEACT_SLURM_SERVER   the command of the server; `codeact serve` if it is unset.
CODEACT_SLURM_LOGIN    the host through which you reach the nodes, for the tunnel that is printed.
CODEACT_DATA_DIR       where conversations are kept: the same for the next job, which goes on with them.

With several nodes, the model server runs on the second one, by srun. On SIGTERM, which Slurm sends ahead of the end of
the job's time (`--signal=B:TERM@120`), the server drains, and the model server ends after it.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from types import FrameType

MODEL_STARTS_WITHIN_S = 1_800.0
DRAIN_S = 60
OWN = "CODEACT_SLURM_"
"""How the names of this program's own variables begin."""
STOP_S = 30.0


class Stopped(Exception):
    """Slurm, or the user, wants the job to end."""


def free_port() -> int:
    """A port that is free now, on this node."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def nodes(environment: Mapping[str, str]) -> list[str]:
    """The names of the job's nodes, this one first."""
    listed = environment.get("SLURM_JOB_NODELIST", "")
    if environment.get("SLURM_JOB_NUM_NODES", "1") == "1" or not listed:
        return [socket.gethostname()]
    found = subprocess.run(["scontrol", "show", "hostnames", listed], check=True, capture_output=True, text=True)
    return found.stdout.split()


def start_model(command: str, where: list[str], port: int) -> subprocess.Popen[bytes]:
    """Starts the model server: on this node, or on the second one of several."""
    words = shlex.split(command.replace("{port}", str(port)))
    if len(where) > 1:
        words = ["srun", "--nodes=1", "--ntasks=1", f"--nodelist={where[1]}", "--overlap", *words]
    return subprocess.Popen(words, start_new_session=True)


def wait_for_model(base: str, model: "subprocess.Popen[bytes]") -> None:
    """Returns when the model server answers. Exits if it ends before that, or needs too long."""
    ends_at = time.monotonic() + MODEL_STARTS_WITHIN_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < ends_at:
        if model.poll() is not None:
            sys.exit(f"The model server ended with {model.returncode}; see above. CODEACT_SLURM_MODEL is its command.")
        try:
            with opener.open(f"{base}/models", timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    sys.exit(f"The model server has not answered at {base} within {MODEL_STARTS_WITHIN_S:g} s.")


def server_environment(environment: Mapping[str, str], port: int, base: str | None) -> dict[str, str]:
    """The variables of the server. What is set already stays as it is."""
    home = environment.get("HOME", ".")
    wanted = {
        # Without keys nobody but this node may reach the server; a node has other users even so.
        "CODEACT_HOST": "0.0.0.0" if "CODEACT_API_KEYS" in environment else "127.0.0.1",
        "CODEACT_PORT": str(port),
        "CODEACT_DATA_DIR": os.path.join(home, "codeact"),
        "CODEACT_SANDBOX": "process",
        "CODEACT_DRAIN_S": str(DRAIN_S),
    }
    if base is not None:
        wanted |= {"CODEACT_MODEL_API_BASE": base, "CODEACT_MODEL_API_KEY": "none"}
    # The server refuses variables that it does not know.
    given = {name: value for name, value in environment.items() if not name.startswith(OWN)}
    return {**wanted, **given}


def told(environment: Mapping[str, str], node: str, base: str | None) -> str:
    """What the user reads in the job's log."""
    port, login = environment["CODEACT_PORT"], os.environ.get("CODEACT_SLURM_LOGIN", "LOGIN-HOST")
    loopback = environment["CODEACT_HOST"] == "127.0.0.1"
    tunnel = f"-J {login} -L 8000:127.0.0.1:{port} {node}" if loopback else f"-L 8000:{node}:{port} {login}"
    lines = [
        f"codeact runs on {node}, port {port}; its data is in {environment['CODEACT_DATA_DIR']}.",
        f"From your machine: ssh -N {tunnel}",
        "Then open http://localhost:8000",
    ]
    return "\n".join([*lines, *([f"The model answers at {base}."] if base is not None else [])])


def stop(process: "subprocess.Popen[bytes] | None", within_s: float) -> None:
    """Ends a process by SIGTERM, or by SIGKILL if that takes too long."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    """Runs until the server ends or the job has to. Returns the job's exit code."""

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    model: subprocess.Popen[bytes] | None = None
    server: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = os.environ
    try:
        where, base, command = nodes(os.environ), None, os.environ.get("CODEACT_SLURM_MODEL")
        if command:
            port = free_port()
            base = f"http://{where[1] if len(where) > 1 else '127.0.0.1'}:{port}/v1"
            model = start_model(command, where, port)
            wait_for_model(base, model)
        environment = server_environment(os.environ, free_port(), base)
        words = shlex.split(os.environ.get("CODEACT_SLURM_SERVER", "codeact serve"))
        server = subprocess.Popen(words, env=dict(environment), start_new_session=True)
        print(told(environment, where[0], base), flush=True)
        return server.wait()
    except Stopped:
        print("The job ends: answers under way may still end, the next job goes on with the conversations.", flush=True)
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop(server, float(environment.get("CODEACT_DRAIN_S", DRAIN_S)) + STOP_S)
        stop(model, STOP_S)


if __name__ == "__main__":
    sys.exit(main())

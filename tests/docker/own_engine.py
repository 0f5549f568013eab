"""A Docker engine of a test's own, which it may kill. It needs root and `dockerd`; its containers have no network."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

__all__ = ["OwnEngine", "own_engine"]

START_S = 240.0


class OwnEngine:
    """An engine in the folder `place`, whose path is short, since the engine makes sockets in it."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._log = (place / "log").open("ab")
        self.host = f"unix://{place}/docker.sock"
        # A containerd that the engine starts itself would be killed with it.
        config = place / "containerd.toml"
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        command = ["containerd", "--config", str(config), "--address", f"{place}/containerd.sock"]
        command += ["--root", f"{place}/containerd", "--state", f"{place}/containerd-state"]
        self._containerd = subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True)
        self._process = self._started()

    def _started(self) -> "subprocess.Popen[bytes]":
        # An engine without a bridge removes the bridge of the machine's engine, unless it has a network of its own.
        command = ["unshare", "--net", "dockerd", "--host", self.host, "--containerd", f"{self._place}/containerd.sock"]
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        for option in ("data-root", "exec-root", "pidfile"):
            command += [f"--{option}", str(self._place / option)]
        process = subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True)
        deadline = time.monotonic() + START_S
        while self._ask("version").returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._place / "log").read_text()[-2_000:])
            time.sleep(0.1)
        return process

    def _ask(self, *command: str, **more: object) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(["docker", "--host", self.host, *command], capture_output=True, check=False, **more)  # type: ignore[call-overload,no-any-return]

    def copy_image(self, name: str) -> None:
        """Copies an image of the machine's engine into this one."""
        with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as saving:
            loaded = self._ask("load", stdin=saving.stdout)
        assert loaded.returncode == 0, loaded.stderr

    def kill(self) -> None:
        """Kills the engine, but neither its containers nor what runs these."""
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        (self._place / "pidfile").unlink(missing_ok=True)
        self._process = self._started()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)
        self._containerd.terminate()
        self._containerd.wait(60)
        # What a killed engine has left belongs to nobody; each command line names the folder.
        for left in psutil.process_iter(["cmdline"]):
            if any(str(self._place) in part for part in left.info["cmdline"] or ()):
                left.kill()
        self._log.close()


@contextmanager
def own_engine(image: str) -> Iterator[OwnEngine]:
    """Runs an engine that has this image of the machine's engine."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("an engine of its own needs root and dockerd")
    place = Path(tempfile.mkdtemp(prefix="own-engine-"))
    engine = None
    try:
        engine = OwnEngine(place)
        engine.copy_image(image)
        yield engine
    finally:
        if engine is not None:
            engine.close()
        subprocess.run(["umount", "--recursive", str(place / "data-root")], capture_output=True, check=False)
        shutil.rmtree(place, ignore_errors=True)

"""Runs servers as separate processes, which tests can kill.

They are forked from a process that has imported everything: importing it fifty times would take too long for a test
that starts fifty servers.
"""

import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx
import psutil
from httpx._transports import default

from codeact.server import watchdog
from codeact.server.app import create_app
from codeact.server.serve import Server, uvicorn_config
from codeact.settings import Settings
from sandbox_pool.backends.process.backend import ProcessBackend
from sandbox_pool.pool import warm_pool
from tests import trials
from tests.patience import SETTINGS, be_patient, be_patient_with_servers
from tests.ports import listen
from tests.tls import shared_context
from tests.warm import only_the_minimum

__all__ = ["ServerProcess", "mongod_of", "sandboxes_of", "serving"]

END_S = 75.0
"""How long a server may take to end after SIGTERM; one whose database is gone waits for it first."""

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(
    ["tests.server.processes", "codeact.store.database.connection", "codeact.models.demo.model"]
)


@dataclass(frozen=True, slots=True)
class ServerProcess:
    process: ForkServerProcess
    url: str

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/responses"

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False, timeout=60, **more)

    def until_ready(self) -> None:
        while self.get("/readyz").status_code != 200:
            time.sleep(0.05)  # Another process has no event for this.

    def kill(self) -> None:
        self.process.kill()
        self.process.join(60)

    def rss_mb(self) -> float:
        return float(psutil.Process(self.process.pid).memory_info().rss / 2**20)


@contextmanager
def serving(
    data_dir: Path, *, log: Path | None = None, secret: str | None = None, port: int = 0, **settings: Any
) -> Iterator[ServerProcess]:
    """Runs a server with the demo model and this data directory. It writes to `log`, and gets SIGTERM at the end.

    It takes no checkpoints unless `checkpoint` is true, and keeps no sandboxes warm but `pool_min`.

    With `secret` it is one of several servers that pass requests on to each other.
    """
    values = {"model": "demo", "sandbox": "process", "data_dir": data_dir, "pool_min": 0, "pool_max": 4}
    values |= {"checkpoint": False, **SETTINGS}
    listener = listen(port)
    port = listener.getsockname()[1]
    if secret is not None:
        values |= {"peer_url": f"http://127.0.0.1:{port}", "peer_secret": secret}
    process = _forking.Process(target=_serve, args=(listener, log, values | settings), daemon=True)
    process.start()
    listener.close()
    try:
        yield ServerProcess(process, f"http://127.0.0.1:{port}")
    finally:
        if process.is_alive():
            process.terminate()
            process.join(END_S)
        assert not process.is_alive(), "the server did not stop"


def _serve(listener: socket.socket, log: Path | None, values: dict[str, Any]) -> None:
    if log is not None:  # The forking process may write to the output of another test.
        output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
    warm_pool.target_size = only_the_minimum
    be_patient()
    be_patient_with_servers()
    watchdog.BEAT_S = 1.0
    default.create_ssl_context = shared_context
    if trials.DIRECTORY in os.environ:
        ProcessBackend._try = trials.once_of_each_kind()  # type: ignore[method-assign]
    settings = Settings.load(log_level="error", **values)
    with listener:
        Server(uvicorn_config(create_app(settings), settings)).run(sockets=[listener])


def mongod_of(data_dir: Path) -> psutil.Process:
    """Returns the process of the embedded mongod of this directory."""
    return psutil.Process(int((data_dir / "mongodb" / "data" / "mongod.lock").read_text()))


def sandboxes_of(data_dir: Path) -> list[psutil.Process]:
    """Returns the processes of all sandboxes of this directory: their command lines contain its path."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(f"{data_dir}/run" in part for part in process.info["cmdline"] or ())
    ]

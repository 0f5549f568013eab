"""`codeact dashboard`: runs the Streamlit dashboard until it is stopped."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import anyio
from anyio.abc import Process

from codeact.errors import ConfigurationError
from codeact.settings import Settings
from codeact.store import embedded_mongod

__all__ = ["dashboard"]

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
ROOT = Path(__file__).parents[3]
"""The root directory, if this is a checkout."""


def dashboard(settings: Settings, *, host: str, port: int) -> int:
    """Serves until SIGINT or SIGTERM; returns Streamlit's exit code.

    Raises `ConfigurationError` if Streamlit is not installed.
    """
    command = [_python(), "-m", "streamlit", "run", str(APP), "--server.address", host, "--server.port", str(port)]
    # Without this option Streamlit asks a service on the internet for our address.
    command += ["--browser.serverAddress", "localhost" if host in ("127.0.0.1", "::1") else host]
    # uvicorn must not read whose address it is from a header (`streamlit_app/proxied.py`).
    environment = {**os.environ, "CODEACT_DATA_DIR": str(settings.data_dir), "FORWARDED_ALLOW_IPS": ""}
    return anyio.run(_serve, settings, command, environment)


async def _serve(settings: Settings, command: list[str], environment: dict[str, str]) -> int:
    async with _database(settings):
        # The process gets its own session, so that Ctrl-C reaches only us, and we forward it once.
        process = await anyio.open_process(
            command, env=environment, stdin=None, stdout=None, stderr=None, start_new_session=True
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_forward_signals, process)
            code = await process.wait()
            tasks.cancel_scope.cancel()
    return max(0, code)


async def _forward_signals(process: Process) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            process.terminate()


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[None]:
    """Keeps the embedded database open and stops it cleanly after Streamlit, which itself exits without cleaning up."""
    if settings.mongodb_uri is not None:
        yield
        return
    async with embedded_mongod(settings.data_dir):
        yield


def _python() -> str:
    """Returns the interpreter of the environment with Streamlit: this one, or that of the checkout."""
    if find_spec("streamlit") is not None:
        return sys.executable
    ours = ROOT / ".venv-dashboard" / "bin" / "python"
    if ours.exists():
        return str(ours)
    raise ConfigurationError(
        "Streamlit is not installed. In a checkout, say `make install-dashboard`, elsewhere"
        " `pip install 'codeact[dashboard]'`."
    )

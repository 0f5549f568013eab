"""Runs the application under uvicorn: settings enter; returns when the server has stopped."""

import asyncio
import errno
import ipaddress
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType

import anyio
import uvicorn
from rich.console import Console
from starlette.applications import Starlette

from codeact.errors import ConfigurationError
from codeact.logs import configure
from codeact.settings import Settings
from server.app import create_app
from server.auth import check_exposure
from server.banner import announce
from server.http import BoundedHttpProtocol
from server.state import State

__all__ = ["Server", "serve", "uvicorn_config"]

CLOSE_CONNECTIONS_S = 5


def uvicorn_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    """websockets' implementation without deflate (14 % CPU in bursts, five times the memory), pings on."""
    return uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=2 * settings.max_message_bytes,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        http=BoundedHttpProtocol,
        loop="auto",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=CLOSE_CONNECTIONS_S,
    )


class Server(uvicorn.Server):
    """Ends the runs before it waits for connections, so that every client still reads its last event.

    SIGTERM lets runs under way end by themselves first, for CODEACT_DRAIN_S; another signal, whichever it is,
    stops them at once. SIGINT (Ctrl-C) stops them at once.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._drains = False
        self._hurry: Callable[[], object] = lambda: None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._drains = sig == signal.SIGTERM and not self.should_exit
        if self.should_exit:
            self._hurry()
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        assert isinstance(app, Starlette)
        state: State = app.state.codeact
        with anyio.CancelScope() as draining:
            self._hurry = partial(asyncio.get_running_loop().call_soon_threadsafe, draining.cancel)
            await state.runs.stop(drain_s=state.settings.drain_s if self._drains else 0)
        await state.runs.stop(drain_s=0)
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises `ConfigurationError` for an address that cannot be had, or where a key is needed and none exists.
    """
    started = time.monotonic()
    configure(settings.log_level or ("warning" if sys.stderr.isatty() else "info"))
    check_exposure(settings)
    listener = _bind(settings)
    host, port = listener.getsockname()[:2]
    is_this_machine = host == "127.0.0.1" or ipaddress.ip_address(host).is_unspecified
    address = f"http://{'localhost' if is_this_machine else f'[{host}]' if ':' in host else host}:{port}"
    app = create_app(settings, on_start=partial(announce, console=Console(), address=address, started=started))
    # uvicorn raises the signal that stopped it once more when it has ended; we have ended in good order then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    with listener:
        Server(uvicorn_config(app, settings)).run(sockets=[listener])


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"{where} is in use by another program. Choose another port:"
                f" CODEACT_PORT={settings.port + 1} make serve (or codeact serve --port {settings.port + 1}).",
                param="CODEACT_PORT",
            ) from None
        raise ConfigurationError(f"Cannot listen on {where}: {error.strerror}.", param="CODEACT_HOST") from None
    return listener

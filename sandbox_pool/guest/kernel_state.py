"""Answers the server's requests for a checkpoint of the kernel's state, and for the restoration of one.

`kernel_main.py` imports it inside of a sandbox. Requests come on the control channel, which has a thread of its own. A
checkpoint is taken in a fork of the kernel, whose memory is a copy that the system makes page by page, so that code
which starts meanwhile neither waits nor changes it. What the fork writes into a pipe is passed on as it is.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import asyncio
import contextlib
import ctypes
import fcntl
import gc
import json
import os
import random
import signal
import sys
from functools import partial
from typing import Any

from kernel_state_pages import Pages  # type: ignore[import-not-found]
from kernel_state_process import beside_the_code  # type: ignore[import-not-found]
from kernel_state_settings import Settings  # type: ignore[import-not-found]
from kernel_text import words  # type: ignore[import-not-found]

__all__ = ["States"]

PIECE_BYTES, MOST_PIECES = 1_000_000, 8
PIPE_BYTES = 1_048_576
NO_CLOUDPICKLE = (
    "the sandbox has no cloudpickle, which saves variables: build its image with docker/sandbox.Dockerfile, or"
    " `pip install cloudpickle` into the Python that runs local sandboxes"
)
NICE = 15
PAUSE_S, GRACE_S = 2.0, 0.02
SHARES_PROCESSORS = os.environ.pop("CODEACT_CPU", "") == "shared"
CLOSED = {"status": "failed", "reason": "there is no checkpoint in progress"}


class States:
    """The checkpoints of one kernel. `main_loop` is the event loop of the thread in which the code runs."""

    def __init__(self, kernel, main_loop):
        self._kernel = kernel
        self._main_loop = main_loop
        self._settings = Settings()
        self._pages: Any = None
        self._child: Any = None
        self._pipe: Any = None
        self._control_loop: Any = None
        self._paused = 0
        """How many blocks have begun since the fork was stopped; 0 if it is not."""
        self._waiting: Any = None
        self._restoration: Any = None
        self._problem = None

    def prepare(self):
        """Imports what checkpoints and restorations need. Call it once, when the sandbox is warm but for this."""
        if self._problem is not None:
            return
        self._problem = ""
        self._pages = Pages()
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        try:
            import kernel_state_draws  # type: ignore[import-not-found]
            import kernel_state_imports  # type: ignore[import-not-found]
            import kernel_state_load  # type: ignore[import-not-found]  # noqa: F401
            import kernel_state_save  # type: ignore[import-not-found]  # noqa: F401

            kernel_state_imports.watch(self._kernel.workspace)
            kernel_state_draws.note_start()
        except ImportError as error:
            self._problem = NO_CLOUDPICKLE if error.name == "cloudpickle" else words(error)
        finally:
            del sys.path[0]

    async def request(self, stream, ident, parent):
        """Handles a `codeact_state_request`. The thread of the control channel calls it."""
        loop = self._control_loop = asyncio.get_running_loop()

        def answer(content, *buffers):
            """Sends the reply, from any thread."""
            send = self._kernel.session.send
            loop.call_soon_threadsafe(
                lambda: send(stream, "codeact_state_reply", content, parent, ident=ident, buffers=list(buffers))
            )

        content, buffers = parent["content"], [bytes(buffer) for buffer in parent["buffers"]]
        operation = content.get("op")
        if operation == "next":
            self._pass_on(loop, answer)
        elif operation == "stop":
            self._end(complete=bool(content.get("complete")))
            answer({"status": "ok"})
        elif operation in ("save", "load", "put", "finish"):
            blocks = self._kernel.blocks
            handler = getattr(self, f"_{operation}")
            self._main_loop.call_soon_threadsafe(self._between_blocks, blocks, handler, answer, content, buffers)
        else:
            answer({"status": "failed", "reason": "the kernel does not know this request"})

    def _between_blocks(self, blocks, handler, answer, content, buffers):
        """Calls the handler, in the thread of the code, unless code runs or has run since the request came."""
        if self._kernel.executing or self._kernel.blocks != blocks:
            answer({"status": "busy"})
            return
        self.prepare()
        if self._problem:
            answer({"status": "failed", "reason": self._problem})
            return
        try:
            answer(handler(content, buffers))
        except Exception as error:
            answer({"status": "failed", "reason": words(error)[:1_000]})

    # ---- checkpoints -------------------------------------------------------------------------------------

    def _save(self, content, buffers):
        from kernel_state_save import save

        # What the fork can do as well is not done here: the next block waits for it.
        self._end()
        known = buffers[0] if buffers else b""
        # Python seeds this generator anew in each fork.
        random_state = random.getstate()
        beside = beside_the_code(self._pages.threads, self._pages.processes())
        self._pages.begin_table()
        unchanged = partial(self._pages.unchanged, self._pages.look())
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            child = os.fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            return {"status": "failed", "reason": f"no copy of the kernel's process can be made: {error}"}
        if child == 0:
            try:
                _settle_in(reading)
                holds = save(
                    self._kernel,
                    known,
                    content["limits"],
                    self._settings,
                    random_state,
                    unchanged,
                    writing,
                    self._pages,
                    beside,
                )
                os.close(writing)
                if holds:
                    signal.pause()
            finally:
                os._exit(0)
        os.close(writing)
        self._pages.forked(child)
        self._child, self._pipe = child, reading
        return {"status": "ok"}

    def _pass_on(self, loop, answer):
        """Answers with what the fork writes next, as soon as it has written something and no block begins."""
        if self._pipe is None:
            answer(CLOSED)
            return
        pipe = self._pipe

        def readable():
            loop.remove_reader(pipe)
            if self._paused:
                self._waiting = wait
                return
            pieces, size = [], 0
            os.set_blocking(pipe, False)
            while size < PIECE_BYTES:
                try:
                    piece = os.read(pipe, PIECE_BYTES - size)
                except BlockingIOError:
                    break
                if not piece:
                    break
                pieces.append(piece)
                size += len(piece)
            if pieces:
                answer({"status": "ok"}, *(pieces if len(pieces) <= MOST_PIECES else [b"".join(pieces)]))
            else:
                answer({"status": "failed", "reason": self._end_of_child()})

        def wait():
            if self._pipe == pipe:
                loop.add_reader(pipe, readable)
            else:
                answer(CLOSED)

        wait()

    def _end_of_child(self):
        killed = self._kernel.memory_kills.new()
        if killed:
            return "the copy of the kernel's process was killed: the sandbox's memory (memory_mb) was used up"
        return "the copy of the kernel's process ended before the checkpoint was complete"

    def _end(self, *, complete=False):
        """Ends the checkpoint in progress, if there is one."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            os.close(pipe)
        self._paused = 0
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting()
        child, self._child = self._child, None
        if child is not None:
            self._pages.finished(child, complete=complete)

    def pause(self):
        """Stops the fork, and what passes its bytes on, while a block begins: they would share its processor's time.

        They go on PAUSE_S later at the latest.
        """
        if self._child is not None and self._control_loop is not None:
            self._paused += 1
            self._signal(signal.SIGSTOP)
            self._go_on_later(PAUSE_S, None)

    def resume(self):
        """Lets them go on once the answer to the block is on its way, unless the next block has begun."""
        if self._paused:
            self._go_on_later(GRACE_S, self._paused)

    def _go_on_later(self, seconds, pauses):
        loop = self._control_loop
        loop.call_soon_threadsafe(loop.call_later, seconds, self._go_on, self._child, pauses)

    def _go_on(self, child, pauses):
        """Lets them go on, in the thread of the control channel, unless there have been other `pauses` since."""
        if child != self._child or pauses not in (None, self._paused):
            return
        self._paused = 0
        self._signal(signal.SIGCONT)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting()

    def _signal(self, number):
        child = self._child
        if child is not None:
            with contextlib.suppress(OSError):
                os.kill(child, number)

    # ---- restorations ------------------------------------------------------------------------------------

    def _load(self, content, buffers):
        from kernel_state_load import Restoration

        self._restoration = Restoration(self._kernel, json.loads(buffers[0]), self._settings)
        return self._restoration.begin()

    def _put(self, content, buffers):
        return self._restoration.put(buffers, lost=bool(content.get("lost")))

    def _finish(self, content, buffers):
        restoration, self._restoration = self._restoration, None
        return restoration.finish()


def _settle_in(reading):
    """Makes this fork one that ends with the kernel, yields the processor to it, and is killed first for memory."""
    _yield_to_others()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.close(reading)
    # The collector would write to each object, and so copy the memory of all of them.
    gc.freeze()
    # What methods of pickled objects print is no output of a block.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    sys.stdout = sys.stderr = open(nowhere, "w", errors="replace")  # noqa: SIM115
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _yield_to_others():
    """Makes this process one that runs when no other one of the sandbox wants to.

    Linux lets a thread that wakes wait for the end of another one's time slice, of whatever niceness, but not for that
    of an idle process. Where the sandbox has no share of the processors of its own, that might never run.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
        if not SHARES_PROCESSORS:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

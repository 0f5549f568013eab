"""What a kernel prints: writes of code, threads, forks and subprocesses enter, messages leave live and in order.

Runs inside a sandbox, beside `kernel_main.py`, which imports it.
"""

# It overrides methods that ipykernel leaves untyped:
# mypy: allow-untyped-defs, allow-untyped-calls

import os
import select
import sys
import threading
import time
from codecs import getincrementaldecoder
from typing import Any, ClassVar

from ipykernel.iostream import OutStream

__all__ = ["LiveStream", "encodable", "start_thread"]

FLUSH_INTERVAL_S = 0.001
STREAM_CHUNK_CHARS = 65_536
PARENT = "_codeact_parent"
POOLS = "concurrent.futures.thread"


class LiveStream(OutStream):
    """stdout or stderr: each write leaves within about a millisecond, in order with the other stream.

    What is written to the file descriptor (by subprocesses, by C code) joins the text written from Python
    in the order of the writes as far as it can be known.
    """

    flush_interval = FLUSH_INTERVAL_S
    _fid: int

    order = threading.RLock()
    streams: ClassVar[list[Any]] = []

    def __init__(self, *args, **kwargs):
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._readable = select.poll()
        self._left_at = 0.0
        super().__init__(*args, **kwargs)
        self.streams.append(self)

    def fileno(self):
        return self._original_stdstream_fd

    @property
    def parent_header(self):
        """The execution that what is written now belongs to: in a thread, the one that started the thread."""
        try:
            return self._parent_header.get()
        except LookupError:
            return getattr(threading.current_thread(), PARENT, self._parent_header_global)

    @parent_header.setter
    def parent_header(self, header):
        self._parent_header.set(header)
        self._parent_header_global = header

    def write(self, text):
        with self.order:
            self.pump()
            for other in self.streams:
                if other is not self and other._flush_pending:
                    other._flush()
            length = super().write(text)
        # The end of a line leaves before the code goes on: the thread that sends what is left to it gets no
        # turn while the code is in a C function that keeps the interpreter's lock. So does much text at once, which
        # would pile up without a line's end.
        ended = text.endswith("\n") and time.monotonic() - self._left_at >= FLUSH_INTERVAL_S
        if ended or len(text) >= STREAM_CHUNK_CHARS:
            self.flush()
        return length

    def flush(self):
        """Returns when what was written has been handed to the socket."""
        with self.order:
            self.pump()
            self._flush()
        sender = self.pub_thread.thread
        if sender.is_alive() and sender is not threading.current_thread():
            sent = threading.Event()
            self.pub_thread.schedule(sent.set)
            sent.wait(self.flush_timeout)

    def pump(self):
        """Takes over what waits in the pipe behind the file descriptor; a pipe holds at most 64 KiB."""
        with self.order:
            if self._readable.poll(0) and self._is_master_process():
                super().write(self._decoder.decode(os.read(self._fid, 65_536)))

    def _watch_pipe_fd(self):
        self._readable.register(self._fid, select.POLLIN)
        readable = select.poll()
        readable.register(self._fid, select.POLLIN)
        while self._should_watch:
            readable.poll()
            self.pump()

    def _flush(self):
        with self.order:
            super()._flush()
            self._left_at = time.monotonic()

    def _flush_buffers(self):
        for parent, text in super()._flush_buffers():
            for start in range(0, len(text), STREAM_CHUNK_CHARS):
                yield parent, encodable(text[start : start + STREAM_CHUNK_CHARS])


# A fork while another thread holds the lock would leave it locked in the child for ever.
os.register_at_fork(
    before=LiveStream.order.acquire,
    after_in_parent=LiveStream.order.release,
    after_in_child=LiveStream.order.release,
)


def start_thread(thread, start=threading.Thread.start):
    # The threads of a pool work for whoever has work for them.
    if isinstance(sys.stdout, LiveStream) and getattr(thread._target, "__module__", None) != POOLS:
        setattr(thread, PARENT, sys.stdout.parent_header)
    start(thread)


def encodable(text):
    """Without lone surrogates, over which a message could not be sent at all."""
    return text.encode("utf-8", "replace").decode()

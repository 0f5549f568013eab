"""Sends what code, its threads, its forks and its subprocesses print, live and in order.

`kernel_main.py` imports it inside of a sandbox.
"""

# This module overrides untyped methods of ipykernel:
# mypy: allow-untyped-defs, allow-untyped-calls

import io
import os
import select
import threading
import time
from codecs import getincrementaldecoder
from typing import Any, ClassVar

from ipykernel.iostream import OutStream
from kernel_text import encodable  # type: ignore[import-not-found]

__all__ = ["LiveStream", "start_thread"]

FLUSH_INTERVAL_S = 0.001
LINE_S = 0.05
"""How long `print` may take to write one line in pieces before other output may come in between."""
STREAM_CHUNK_CHARS = 65_536
WHOLE_CHARS = 1_024
"""Linux writes up to 4,096 bytes (PIPE_BUF) to a pipe atomically; a character takes up to 4 bytes."""
HELD_WRITES = 4_096
PARENT = "_codeact_parent"
POOLS = "concurrent.futures.thread"


class LiveStream(OutStream):
    """stdout or stderr. It sends each write within about a millisecond, in order with the other stream.

    Output that subprocesses and C code write to the file descriptor is merged with the text written from Python, in
    the order of the writes as far as that can be determined.
    """

    flush_interval = FLUSH_INTERVAL_S
    _fid: int

    order = threading.RLock()
    streams: ClassVar[list[Any]] = []
    in_child = False
    """Whether this process is a fork of the kernel."""

    def __init__(self, *args, **kwargs):
        self._pending = []
        self._bytes = Bytes(self)
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._readable = select.poll()
        self._left_at = self._open_at = 0.0
        super().__init__(*args, **kwargs)
        self.streams.append(self)

    def fileno(self):
        return self._original_stdstream_fd

    @property
    def parent_header(self):
        """The execution to which current output belongs: in a thread, the execution that started the thread."""
        try:
            return self._parent_header.get()
        except LookupError:
            return getattr(threading.current_thread(), PARENT, self._parent_header_global)

    @parent_header.setter
    def parent_header(self, header):
        self._parent_header.set(header)
        self._parent_header_global = header

    @property
    def buffer(self):
        """The binary stream, for code that writes bytes or wraps them in its own stream."""
        return self._bytes

    def detach(self):
        return self._bytes

    def reconfigure(self, **settings):
        """Does nothing: the stream always writes UTF-8."""

    def close(self):
        """Only flushes, since the kernel still needs the stream after the code has closed it."""
        self.flush()

    def write(self, text):
        if self.in_child:
            return self._write_in_child(text)
        with self.order:
            if not self._is_within_line():
                self.pump()
            for other in self.streams:
                if other is not self and other._flush_pending:
                    other._flush()
            length = super().write(text)
            self._open_at = 0.0 if text.endswith("\n") else self._open_at or time.monotonic()
        # Send a complete line before the code goes on: while the code runs a C function that holds the interpreter's
        # lock, the sending thread cannot run. Send much text at once, too: without line ends it would pile up.
        ended = text.endswith("\n") and time.monotonic() - self._left_at >= FLUSH_INTERVAL_S
        if ended or len(text) >= STREAM_CHUNK_CHARS:
            self.flush()
        return length

    def flush(self):
        """Waits until the written text has been passed to the socket."""
        if self.in_child:
            self._pass_on()
            return
        with self.order:
            self.pump()
            self._flush()
        sender = self.pub_thread.thread
        if sender.is_alive() and sender is not threading.current_thread():
            sent = threading.Event()
            self.pub_thread.schedule(sent.set)
            sent.wait(self.flush_timeout)

    def _is_within_line(self):
        """Whether a `print` may be writing a line in pieces. Other output must then come before or after the line."""
        return self._open_at > 0.0 and time.monotonic() - self._open_at < LINE_S

    def _write_in_child(self, text):
        """Passes whole lines to the kernel, in pieces so small that the writes of other forks cannot split them."""
        self._pending.append(text)
        if "\n" not in text and len(self._pending) < HELD_WRITES:
            return len(text)
        ended, newline, rest = "".join(self._pending).rpartition("\n")
        self._pending = [rest]
        if not newline:
            self._pass_on()
        piece = ""
        for line in (ended + newline).splitlines(keepends=True):
            if piece and len(piece) + len(line) > WHOLE_CHARS:
                self._send(piece)
                piece = ""
            piece += line
        self._send(piece)
        return len(text)

    def _pass_on(self):
        text = "".join(self._pending)
        self._pending = []
        self._send(text)

    def _send(self, text):
        """Writes to the pipe that the kernel reads."""
        data = memoryview(encodable(text).encode())
        while data:
            data = data[os.write(self._original_stdstream_fd, data) :]

    def pump(self):
        """Reads the output that waits in the pipe of the file descriptor, which holds at most 64 KiB."""
        with self.order:
            if self._readable.poll(0) and self._is_master_process():
                super().write(self._decoder.decode(os.read(self._fid, 65_536)))

    def _watch_pipe_fd(self):
        self._readable.register(self._fid, select.POLLIN)
        readable = select.poll()
        readable.register(self._fid, select.POLLIN)
        while self._should_watch:
            readable.poll()
            while self._is_within_line():
                time.sleep(FLUSH_INTERVAL_S)
            self.pump()

    def _flush(self):
        with self.order:
            super()._flush()
            self._left_at = time.monotonic()

    def _flush_buffers(self):
        for parent, text in super()._flush_buffers():
            for start in range(0, len(text), STREAM_CHUNK_CHARS):
                yield parent, encodable(text[start : start + STREAM_CHUNK_CHARS])


class Bytes(io.BufferedIOBase):
    """The binary stream of a `LiveStream`. Closing it only flushes it."""

    def __init__(self, stream):
        self._stream = stream
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def writable(self):
        return True

    def fileno(self):
        return self._stream.fileno()

    def write(self, data):
        view = memoryview(data)
        self._stream.write(self._decoder.decode(view.tobytes()))
        return view.nbytes

    def flush(self):
        self._stream.flush()

    def close(self):
        self.flush()


def _in_child():
    LiveStream.order.release()
    LiveStream.in_child = True
    for stream in LiveStream.streams:
        stream._pending = []


# If a process forked while another thread holds the lock, the lock would stay locked in the child for ever.
os.register_at_fork(before=LiveStream.order.acquire, after_in_parent=LiveStream.order.release, after_in_child=_in_child)


def start_thread(thread, start=threading.Thread.start):
    # The threads of an executor work for any execution, not only for the one that started them.
    if getattr(thread._target, "__module__", None) != POOLS:
        setattr(thread, PARENT, LiveStream.streams[0].parent_header)
    start(thread)

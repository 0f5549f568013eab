"""Repairs the kernel after a block: restores streams, descriptors, alarms and handlers that the block replaced.

`kernel_main.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import faulthandler
import fcntl
import functools
import os
import signal
import sys
from typing import Any

from kernel_streams import LiveStream  # type: ignore[import-not-found]
from kernel_text import words  # type: ignore[import-not-found]

__all__ = ["BlockCleanup", "Steady"]

HIGH = 200
NOTES = 5
RECURSION = 1_000
ALARMS = ("SIGALRM", "SIGVTALRM", "SIGPROF")
"""Without a handler, these signals would end the process."""
NEVER = {"SIGKILL", "SIGSTOP", "SIGINT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"}
SIGNALS = [int(number) for number in signal.Signals if number.name not in NEVER]
ALARM_NUMBERS = {int(getattr(signal, name)) for name in ALARMS}
DEFAULT = int(signal.SIG_DFL)
# The public function converts to enumerations, which would take most of the time after a short block.
handler_of = vars(signal)["_signal"].getsignal


class Steady:
    """Behaves like the module `sys`, but always has the kernel's own streams, even if the code has replaced them."""

    def __init__(self):
        self.stdout, self.stderr = _Own(sys.stdout), _Own(sys.stderr)

    def __getattr__(self, name):
        return getattr(sys, name)


class _Own:
    """Calls the methods of the stream's class, since the code may have replaced methods of the stream object."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return functools.partial(getattr(LiveStream, name), self._stream)


class BlockCleanup:
    """Call `begin` before and `end` after the code of each block. `notes` has messages for the user about the block.

    Create it while the standard streams are the kernel's own.
    """

    def __init__(self):
        self.notes = []
        self._omitted = 0
        self._streams = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._known = {name: set(vars(stream)) for name, stream in self._streams.items()}
        self._stdin: Any = sys.stdin
        self._saved = {number: fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, HIGH) for number in range(3)}
        self._same = {number: _identity(number) for number in range(3)}
        self._handlers = {}
        for name in ALARMS:
            signal.signal(getattr(signal, name), self._rang)

    # ---- streams -----------------------------------------------------------------------------------------

    def restore_streams(self):
        """Restores the kernel's standard streams and their descriptors, and notes which the block had replaced."""
        replaced = []
        for name, stream in self._streams.items():
            if getattr(sys, name, None) is not stream:
                setattr(sys, name, stream)
                replaced.append(f"sys.{name}")
            for attribute in vars(stream).keys() - self._known[name]:
                delattr(stream, attribute)
                if hasattr(stream, attribute):
                    replaced.append(f"sys.{name}.{attribute}")
        if self._stdin.closed:
            self._stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdin = self._stdin
        for name in ("__stdout__", "__stderr__"):
            with contextlib.suppress(BaseException):
                getattr(sys, name).flush()
        for number, same in self._same.items():
            if _identity(number) != same:
                os.dup2(self._saved[number], number)
                if number:
                    replaced.append(f"file descriptor {number}")
        if replaced:
            self.note(f"The block left {' and '.join(replaced)} replaced; what is printed is shown again.")

    # ---- signals and notes -------------------------------------------------------------------------------

    def begin(self):
        """Activates the signal handlers that the code has set."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def end(self):
        """Wraps the code's signal handlers: what they raise between blocks becomes a note, since nothing catches it."""
        for number in SIGNALS:
            handler = handler_of(number)
            if handler == DEFAULT and number in ALARM_NUMBERS:
                signal.signal(number, self._rang)
            elif callable(handler) and handler != self._rang:
                self._handlers[number] = handler
                signal.signal(number, self._between)
        sys.settrace(None)
        sys.setprofile(None)
        faulthandler.cancel_dump_traceback_later()
        if sys.getrecursionlimit() < RECURSION:
            sys.setrecursionlimit(RECURSION)

    def note(self, text):
        if len(self.notes) < NOTES:
            self.notes.append(text)
        else:
            self._omitted += 1

    def tell(self):
        """Writes the notes to stderr, and clears them."""
        if not self.notes:
            return
        notes = [*self.notes, *([f"{self._omitted:,} more of these."] if self._omitted else [])]
        self.notes, self._omitted = [], 0
        LiveStream.write(self._streams["stderr"], "".join(f"[{text}]\n" for text in notes))

    def _between(self, number, frame):
        try:
            self._handlers[number](number, frame)
        except BaseException as error:
            name = signal.Signals(number).name
            self.note(
                f"{name} came after its block had ended; its handler raised {type(error).__name__}: {words(error)}"
            )

    def _rang(self, number, frame):
        name = signal.Signals(number).name
        self.note(f"{name} came, an alarm that the code had set, and it had no handler; it was ignored.")


def _identity(number):
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino

"""Runs shell commands of a block (`!command`), and writes their output live.

The commands write to a terminal, but their input is empty: a command that asks a question reads the end of the file.
`kernel_main.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import codecs
import fcntl
import os
import select
import stat
import struct
import subprocess
import sys
import termios

__all__ = ["run_command"]

PIECE_BYTES = 65_536
LOOK_MS = 50
GRACE_S = 1.0
ROWS, COLUMNS = 24, 80


def run_command(command):
    """Runs a command and returns its exit status, negative for a signal. Does not wait for background processes."""
    __tracebackhide__ = True
    reader, writer = _terminal()
    try:
        process = subprocess.Popen(  # noqa: S603
            [os.environ.get("SHELL") or "/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        _follow(process, reader)
        status = process.wait()
    except BaseException:
        try:
            # The interrupt has reached the command, too: give it time to end.
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    finally:
        os.close(reader)
    return 128 - status if status > 128 else status


def _follow(process, reader):
    __tracebackhide__ = True
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    readable = select.poll()
    readable.register(reader, select.POLLIN)
    while True:
        ended = process.poll() is not None
        if readable.poll(0 if ended else LOOK_MS):
            try:
                piece = os.read(reader, PIECE_BYTES)
            except OSError:
                # This is how a terminal reports that its other end has been closed.
                piece = b""
            if not piece:
                break
            sys.stdout.write(decode(piece))
        elif ended:
            break
    sys.stdout.write(decode(b"", final=True))


def _terminal():
    """Opens a terminal, or a pipe if there is none. Returns the descriptors for reading and for writing."""
    try:
        reader, both = os.openpty()
    except OSError:
        return os.pipe()
    try:
        settings = termios.tcgetattr(both)
        settings[1] &= ~termios.OPOST
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(both, termios.TCSANOW, settings)
        # Pagers open the terminal by its name to read keys. Make it unreadable; for root, send a key that quits.
        os.fchmod(both, stat.S_IWUSR)
        os.write(reader, b"q\x04")
        fcntl.ioctl(both, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        return reader, os.open(os.ttyname(both), os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        os.close(reader)
        return os.pipe()
    finally:
        os.close(both)

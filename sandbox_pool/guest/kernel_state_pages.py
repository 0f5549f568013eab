"""Finds which pages of the kernel's memory have not changed since the last checkpoint, without reading them.

`kernel_state.py` imports it inside of a sandbox. The fork that took the last checkpoint is kept: Linux shares a page
between it and the kernel until one of them writes to it, and says so in /proc/self/pagemap (Linux, "pagemap, from the
userspace perspective", bit 56). A page that is still shared has the content that was saved.

The system's own page of zeros is shared, too, and the code may have got it in place of one that was saved: see
`has_empty_page`. Apart from that, a shared page is unchanged only if no other process may share the kernel's pages. So
nothing counts as unchanged if the code has forked since, or if threads of the code run, which could write between the
look and the fork. And memory can be moved to where other memory was: the place of a part includes what owns its memory.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import _thread
import contextlib
import mmap
import os
import signal
import struct
import sys
import threading

__all__ = ["PART_BYTES", "Pages", "has_empty_page"]

PART_BYTES = 262_144
"""The size of a part; see `sandbox_pool.checkpoint`."""
PAGE = mmap.PAGESIZE
ZEROS = bytes(PAGE)
PRESENT, FILE, EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
WORTH_BYTES = 32_000_000
"""Arrays of fewer bytes together are read faster than they could slow down the next block, if a fork is kept."""
ROW = struct.Struct("=QQQQ32s")
"""A row of the table that a fork returns: the place of a part, and its hash.

A place is the address and size of the part, the id of the object that owns the memory, and the address of the array.
"""
RUN = 1_024
"""How many neighbouring parts are looked at together."""
forks = 0


def _count_fork():
    global forks
    forks += 1


os.register_at_fork(before=_count_fork)


class Pages:
    """What is known of the memory of arrays: the places of their parts, and the hashes of these at the last checkpoint.

    Create it when all threads of the kernel itself have started.
    """

    def __init__(self):
        self.threads = set(threading.enumerate())
        self._table = None
        self._file = None
        self._holder = None
        self._forks = 0
        self._dying = []

    def unchanged(self):
        """Returns the hash of each part that has not changed: a dict of places."""
        if self._table is None or forks != self._forks or self._has_threads():
            return {}
        found: dict[tuple[int, int, int, int], bytes] = {}
        with contextlib.suppress(OSError), open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            for run in _runs(sorted(self._table)):
                found.update((place, self._table[place]) for place in _shared(pagemap.fileno(), run))
        return found

    def _has_threads(self):
        """Whether threads of the code run. ZeroMQ starts one of its own with the first large message."""
        if _thread._count() >= threading.active_count():
            return True  # The code has started one of which `threading` does not know.
        others = set(threading.enumerate()) - self.threads
        return any(type(thread).__module__.partition(".")[0] != "zmq" for thread in others)

    def processes(self):
        """The process ids of all forks that took a checkpoint and may still be there."""
        return {*self._dying, self._holder}

    def forked(self, child):
        """Notes that this fork takes a checkpoint. The one before is no longer needed."""
        self._end(self._holder)
        self._holder, self._table, self._forks = child, None, forks

    def begin_table(self):
        """Creates the file through which the fork returns its table. Call it before the fork."""
        self.close_table()
        self._file = os.memfd_create("state") if hasattr(os, "memfd_create") else None

    def write_table(self, table):
        """Writes the hashes of the parts of arrays, in the fork. Returns whether the fork should be kept."""
        if self._file is None or sum(place[1] for place in table) < WORTH_BYTES:
            return False
        rows = memoryview(b"".join(ROW.pack(*place, digest) for place, digest in table.items()))
        while rows:
            rows = rows[os.write(self._file, rows) :]
        return True

    def finished(self, child, *, complete):
        """Takes over the table of a complete checkpoint. Otherwise, ends its fork."""
        data = b""
        if complete and self._file is not None:
            with contextlib.suppress(OSError):
                os.lseek(self._file, 0, os.SEEK_SET)
                with open(self._file, "rb", closefd=False) as file:
                    data = file.read()
        self.close_table()
        self._table = None
        if data:
            # It happens while code may run, which waits for the interpreter's lock.
            self._table = {tuple(place): digest for *place, digest in ROW.iter_unpack(data)}
        else:
            self._end(child)
            self._holder = None

    def _end(self, child):
        """Kills a fork, and collects those that have ended since they were killed."""
        if child is not None:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
            self._dying.append(child)
        self._dying = [each for each in self._dying if not _has_ended(each)]

    def close_table(self):
        if self._file is not None:
            os.close(self._file)
            self._file = None


def has_empty_page(address, data):
    """Whether these bytes, which begin at this address, include a page, or their piece of one, with nothing but zeros.

    Such a page may be the system's page of zeros, of which memory consists that was not written to yet.
    """
    start, end = 0, PAGE - address % PAGE
    while start < len(data):
        end = min(end, len(data))
        if data[start] == 0 and data[end - 1] == 0 and bytes(data[start:end]) == ZEROS[: end - start]:
            return True
        start, end = end, end + PAGE
    return False


def _runs(places):
    """Splits sorted places into lists of neighbours."""
    run: list[tuple[int, int, int, int]] = []
    for place in places:
        if run and (run[-1][0] + run[-1][1] != place[0] or len(run) >= RUN):
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _shared(pagemap, run):
    """Returns the places of these neighbours whose pages are all shared with the fork."""
    first = run[0][0] // PAGE
    last = (run[-1][0] + run[-1][1] - 1) // PAGE
    bits = os.pread(pagemap, (last - first + 1) * 8, first * 8)
    found = []
    for place in run:
        address, size = place[:2]
        start, end = address // PAGE - first, (address + size - 1) // PAGE - first + 1
        part = bits[start * 8 : end * 8]
        # Where the code may not know where its pages are in memory, as a rule, all these entries are equal.
        entries = {part[:8]} if part == part[:8] * (end - start) else set(memoryview(part).cast("Q"))
        values = [int.from_bytes(each, sys.byteorder) if isinstance(each, bytes) else each for each in entries]
        if len(part) == (end - start) * 8 and all(each & PRESENT and not each & (FILE | EXCLUSIVE) for each in values):
            found.append(place)
    return found


def _has_ended(child):
    try:
        return os.waitpid(child, os.WNOHANG) != (0, 0)
    except OSError:
        return True  # The code has collected it.

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
import itertools
import mmap
import os
import signal
import struct
import sys
import threading
from typing import Any

__all__ = ["PART_BYTES", "Pages", "has_empty_page"]

PART_BYTES = 262_144
"""The size of a part; see `sandbox_pool.checkpoint`."""
PAGE = mmap.PAGESIZE
ZEROS = bytes(PAGE)
PRESENT, FILE, EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
WORTH_BYTES = 32_000_000
"""Arrays of fewer bytes together are read faster than they could slow down the next block, if a fork is kept."""
HEAD = struct.Struct("=QQQ")
"""Neighbouring parts: the address of the first, their bytes, and how many they are. The first row counts these rows."""
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
        self._rows: Any = None
        self._runs: list[Any] = []
        self._file = None
        self._holder = None
        self._forks = 0
        self._dying = []

    def look(self):
        """Returns what the system says of the pages of all parts that were saved last, for `unchanged`.

        Call it right before the fork. What takes time is left to the fork.
        """
        if self._rows is None or forks != self._forks or self._has_threads():
            return []
        with contextlib.suppress(OSError), open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            return [_bits(pagemap.fileno(), address, size) for address, size, _ in self._runs]
        return []

    def unchanged(self, looks):
        """Returns the hash of each part that has not changed, by its place. `looks` is what `look` has returned."""
        found: dict[tuple[int, int, int, int], bytes] = {}
        rows = ROW.iter_unpack(self._rows or b"")
        for (_, _, number), bits in zip(self._runs, looks, strict=False):
            run = [(tuple(place), digest) for *place, digest in itertools.islice(rows, number)]
            found.update(_shared(run, bits, 0, len(run)))
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
        self._holder, self._rows, self._runs, self._forks = child, None, [], forks

    def begin_table(self):
        """Creates the file through which the fork returns its table. Call it before the fork."""
        self.close_table()
        self._file = os.memfd_create("state") if hasattr(os, "memfd_create") else None

    def write_table(self, table):
        """Writes the hashes of the parts of arrays, in the fork. Returns whether the fork should be kept."""
        if self._file is None or sum(place[1] for place in table) < WORTH_BYTES:
            return False
        places = sorted(table)
        runs = [(run[0][0], sum(place[1] for place in run), len(run)) for run in _runs(places)]
        head = b"".join(HEAD.pack(*run) for run in [(len(runs), 0, 0), *runs])
        rows = memoryview(head + b"".join(ROW.pack(*place, table[place]) for place in places))
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
        self._rows, self._runs = None, []
        if data:
            # Code may run meanwhile, which waits for the interpreter's lock: the next fork reads the rows.
            end = (HEAD.unpack_from(data)[0] + 1) * HEAD.size
            self._runs, self._rows = list(HEAD.iter_unpack(data[HEAD.size : end])), memoryview(data)[end:]
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
    first = -address % PAGE
    starts = bytes(data[first::PAGE])
    if first and not any(data[:first]):
        return True
    at = starts.find(0)
    while at >= 0:
        start = first + at * PAGE
        piece = bytes(data[start : start + PAGE])
        if piece == ZEROS[: len(piece)]:
            return True
        at = starts.find(0, at + 1)
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


def _bits(pagemap, address, size):
    """Returns what the system says of the pages of this memory: 8 bytes for each."""
    first, last = address // PAGE, (address + size - 1) // PAGE
    return os.pread(pagemap, (last - first + 1) * 8, first * 8)


def _shared(run, bits, first, end):
    """Yields the parts number `first` to `end` of these neighbours whose pages are all shared with the fork."""
    last, size = run[end - 1][0][:2]
    start, stop = run[first][0][0] // PAGE, (last + size - 1) // PAGE + 1
    base = run[0][0][0] // PAGE
    pages = bits[(start - base) * 8 : (stop - base) * 8]
    if len(pages) != (stop - start) * 8:
        return
    # Where the code may not know where its pages are in memory, as a rule, all entries of neighbours are equal.
    if end - first == 1 or pages == pages[:8] * (stop - start):
        if all(map(_is_shared, set(memoryview(pages).cast("Q")) if end - first == 1 else [_entry(pages)])):
            yield from run[first:end]
        return
    middle = (first + end) // 2
    yield from _shared(run, bits, first, middle)
    yield from _shared(run, bits, middle, end)


def _entry(pages):
    return int.from_bytes(pages[:8], sys.byteorder)


def _is_shared(entry):
    return entry & PRESENT and not entry & (FILE | EXCLUSIVE)


def _has_ended(child):
    try:
        return os.waitpid(child, os.WNOHANG) != (0, 0)
    except OSError:
        return True  # The code has collected it.

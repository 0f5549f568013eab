"""Splits what a checkpoint holds into parts, and writes them into the pipe of the fork that takes it.

`kernel_state_save.py` imports it inside of a sandbox. A frame is a letter, the payload's length in four bytes, and the
payload.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ctypes
import hashlib
import os
import sys

from kernel_state_arrays import NotSaved  # type: ignore[import-not-found]
from kernel_state_pages import PART_BYTES, has_empty_page  # type: ignore[import-not-found]

__all__ = ["PART_BYTES", "Writer"]


class Writer:
    """Splits what it is given into parts, and writes those that the server does not have."""

    def __init__(self, pipe, known, unchanged, most_bytes):
        """`known` are the hashes, of 32 bytes each, of the parts that the server has."""
        self.table = {}
        self.total = 0
        self._left = self._most = most_bytes
        self._pipe = pipe
        self._known = {known[start : start + 32] for start in range(0, len(known), 32)}
        self._unchanged = unchanged

    def unit(self, kind, groups, described):
        stream = b"".join(group.stream for group in groups)
        found = {
            "kind": kind,
            "groups": [{"names": described(group), "pickle_bytes": len(group.stream)} for group in groups],
            "stream": self.blob(memoryview(stream)),
        }
        buffers = [buffer for group in groups for buffer in group.buffers]
        if buffers:
            found["buffers"] = [self.blob(buffer, is_array=True) for buffer in buffers]
        return found

    def blob(self, data, *, is_array=False):
        parts = []
        address = _address(data) if is_array and len(data) >= PART_BYTES else None
        owner = id(_owner(data)) if address is not None else None
        for start in range(0, len(data), PART_BYTES):
            part = data[start : start + PART_BYTES]
            place = (address + start, len(part), owner, address) if address is not None else None
            digest = self._unchanged.get(place)
            if place is None or digest is None or has_empty_page(place[0], part):
                digest = hashlib.sha256(part).digest()
            if place is not None:
                self.table[place] = digest
            parts.append(self.part(digest, part))
        self.total += len(data)
        self._left -= len(data)
        return {"size_bytes": len(data), "parts": parts}

    def blob_of_file(self, file, size):
        if size > self._left:
            raise NotSaved(f"the checkpoint would have more than {self._most:,} bytes")
        self._left -= size
        parts = []
        left = size
        while left > 0:
            piece = file.read(min(PART_BYTES, left))
            if not piece:
                raise OSError("it was changed while it was read")
            parts.append(self.part(hashlib.sha256(piece).digest(), piece))
            left -= len(piece)
        self.total += size
        return {"size_bytes": size, "parts": parts}

    def part(self, digest, content):
        if digest not in self._known:
            self._known.add(digest)
            self.frame(b"P", content)
        return digest.hex()

    def frame(self, kind, payload):
        for piece in (kind + len(payload).to_bytes(4, "big"), payload):
            view = memoryview(piece)
            try:
                while view:
                    view = view[os.write(self._pipe, view) :]
            except OSError:
                os._exit(0)  # The kernel has closed the pipe: the server has given the checkpoint up.


def _owner(data):
    """The object whose memory this is."""
    owner, numpy = data.obj, sys.modules.get("numpy")
    while numpy is not None and isinstance(owner, numpy.ndarray):
        below = numpy.ndarray.base.__get__(owner)
        if below is None:
            break
        owner = below
    return owner


def _address(data):
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(data))
    except TypeError:
        return None  # Its memory is read-only.

"""Pickles views of bytes and bytearrays so that they still show the same memory when they come back.

`kernel_state_objects.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ctypes

__all__ = ["is_plain_view", "reduce_memory"]


def make_piece(owner, start, size, readonly):
    """Creates a view of a part of the owner's memory. Pickles name this function."""
    view = memoryview(owner)[start : start + size]
    return view.toreadonly() if readonly else view


def is_plain_view(view):
    """Whether a memoryview shows bytes, one after the other, of a `bytes` or `bytearray`."""
    return view.contiguous and view.ndim == 1 and view.format == "B" and isinstance(view.obj, (bytes, bytearray))


def reduce_memory(view):
    """Returns how to create this view, for which `is_plain_view` holds, from what has its memory."""
    start = _address(view) - _address(view.obj) if len(view) else 0
    return make_piece, (view.obj, start, len(view), view.readonly)


class _Buffer(ctypes.Structure):
    """The C structure Py_buffer."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def _address(owner):
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(owner), ctypes.byref(buffer), 0)
    try:
        return buffer.buf
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))

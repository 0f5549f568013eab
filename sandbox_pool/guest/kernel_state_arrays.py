"""Pickles arrays so that those which share memory still do when they come back.

`kernel_state_objects.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-subclassing-any

import array as arrays
import ctypes
import pickle
import sys
from typing import Any

__all__ = ["MAPS", "NotSaved", "arrays_inside", "reduce_view"]

Unpicklable: Any = pickle.PicklingError
MAPS = ("memmap", "mmap")
LENDERS: Any = (arrays.array, ctypes.c_int.__mro__[-2])
"""What has memory that arrays may show: these would come back with a copy of it."""
INSIDE = ("_ndarray", "_data", "_mask", "_codes", "_sparse_values")


class NotSaved(Unpicklable):
    """An object cannot be saved. The message is a reason for the user, which begins with what it is."""


def make_view(kind, base, dtype, shape, strides, offset, writeable, attributes):
    """Creates an array on the memory of another array, or of a bytearray. Pickles name this function."""
    import numpy as np

    view: Any = np.ndarray(shape, dtype, buffer=base, offset=offset, strides=strides)
    return _finished(view, kind, writeable, attributes)


def make_strided(kind, base, start, shape, strides, writeable, attributes):
    """Creates an array on the memory of an array of objects. Pickles name this function."""
    import numpy as np

    flat = (base if base.flags.c_contiguous else base.T).reshape(-1)
    return _finished(np.lib.stride_tricks.as_strided(flat[start:], shape, strides), kind, writeable, attributes)


def _finished(view, kind, writeable, attributes):
    if type(view) is not kind:
        view = view.view(kind)
    if attributes:
        vars(view).update(attributes)
    if not writeable:
        view.flags.writeable = False
    return view


def reduce_view(array, numpy):
    """Returns how to create this array from the one whose memory it uses, or None if the memory is its own.

    Raises `NotSaved` if neither would be true to it.
    """
    base, owner = _root(array, numpy)
    if type(owner).__name__ in MAPS:
        raise NotSaved("an array on a memory map of a file")
    if isinstance(owner, LENDERS):
        raise NotSaved(f"an array on the memory of an object of {type(owner).__name__}")
    on_bytes = isinstance(owner, bytearray)
    if (base is array and not on_bytes) or not array.size or isinstance(array, numpy.ma.MaskedArray):
        return None
    if not (base.flags.c_contiguous or base.flags.f_contiguous):
        raise NotSaved("a view of an array whose memory is not contiguous")
    buffer: Any = numpy.frombuffer(owner, numpy.uint8) if on_bytes else base
    offset = _address(array) - _address(buffer)
    kind, attributes = type(array), dict(getattr(array, "__dict__", None) or {})
    rest = (array.flags.writeable, attributes)
    if not array.dtype.hasobject:
        arguments = (kind, owner if on_bytes else base, array.dtype, array.shape, array.strides, offset, *rest)
        return make_view, arguments
    if array.dtype != base.dtype or offset % array.itemsize:
        raise NotSaved("a view of an array of objects, with another type")
    return make_strided, (kind, base, offset // array.itemsize, array.shape, array.strides, *rest)


def arrays_inside(obj):
    """Returns the arrays inside of an object of pandas. It copies data before it writes, so they are not shared."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return []
    if isinstance(obj, (pandas.DataFrame, pandas.Series)):
        values = [block.values for block in obj._mgr.blocks]
    elif isinstance(obj, pandas.Index):
        values = [getattr(obj, "_data", None)]
    elif isinstance(obj, pandas.api.extensions.ExtensionArray):
        values = [obj]
    else:
        return []
    return [*values, *(getattr(each, name, None) for each in values for name in INSIDE)]


def _root(array, numpy):
    """Returns the array whose memory this one uses, and what that array has its memory from, if it is not its own."""
    base = array
    while True:
        below = base.base
        if type(below).__name__ == "DummyArray":
            below = below.base
        if isinstance(below, memoryview):
            below = below.obj
        if not isinstance(below, numpy.ndarray):
            return base, below
        base = below


def _address(array):
    return array.__array_interface__["data"][0]

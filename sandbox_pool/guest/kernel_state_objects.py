"""Pickles the code's objects so that they come back as they were, or raises an error that says why they cannot.

`kernel_state_save.py` imports it inside of a sandbox. cloudpickle does most of it. What is different here: functions
come back with the notebook's own variables as their globals, closures share their cells, arrays that share memory still
do, and definitions of the notebook are pickled once and then referred to by name.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-subclassing-any

import collections
import dis
import enum
import functools
import gc
import io
import logging
import struct
import sys
import types
import typing
import weakref
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
from cloudpickle import cloudpickle as internals
from kernel_state_arrays import MAPS, NotSaved, arrays_inside, reduce_view  # type: ignore[import-not-found]
from kernel_state_instances import (  # type: ignore[import-not-found]
    acts_when_made,
    is_borrowed,
    lost_fields,
    make_class,
    reduce_exception,
    reduce_single,
    set_class,
)
from kernel_state_memory import is_plain_view, reduce_memory  # type: ignore[import-not-found]

__all__ = ["NotSaved", "StatePickler", "is_importable", "is_shareable"]

FUNCTION_STATE = (
    "__name__",
    "__defaults__",
    "__kwdefaults__",
    "__doc__",
    "__module__",
    "__qualname__",
    "__annotations__",
)
LARGE_BYTES = 8_192
BUFFERS = 10_000
"""The server takes no more for one group; the memory of further arrays is copied into the pickle."""


# ---- called by the pickles, when they are loaded -----------------------------------------------------------


def main_space():
    return vars(sys.modules["__main__"])


def definition(name, *attributes):
    """Returns a definition of the notebook, or what an attribute of it holds."""
    try:
        value = main_space()[name]
    except KeyError:
        raise NotSaved(f"it needs {name}, which did not come back") from None
    for attribute in attributes:
        value = attribute_of(value, attribute)
    return value


def attribute_of(kind, name):
    value = vars(kind)[name]
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


def make_function(code, module, cells):
    """Creates a function of the notebook, or of a module, whose cells are empty yet."""
    space = main_space() if module == "__main__" else vars(__import__(module, fromlist=["x"]))
    return types.FunctionType(code, space, code.co_name, None, cells)


def make_cell():
    return types.CellType()


def set_function(function, state):
    attributes, contents = state
    for name, value in attributes["special"].items():
        setattr(function, name, value)
    vars(function).update(attributes["own"])
    for cell, content in zip(function.__closure__ or (), contents, strict=True):
        if content:
            cell.cell_contents = content[0]


# ---- pickling ----------------------------------------------------------------------------------------------


class StatePickler(cloudpickle.Pickler):
    """Pickles one group of names. `definitions` maps the id of each function and class of the notebook to its name.

    `defines` is whether the group is that of the definitions: only then are they pickled with what they consist of.
    `buffers` receives the memory of large arrays, which is not copied into the pickle; None if all of it should be.
    """

    def __init__(self, file, space, definitions, buffers, *, defines=False):
        super().__init__(file, protocol=5, buffer_callback=None if buffers is None else self._buffer)
        self.referred = set()
        """The ids of objects that are referred to by name."""
        self.left_out: dict[str, str] = {}
        """What does not come back of objects that do, with the reason."""
        self._buffers = buffers
        self._space = space
        self._definitions = {} if defines else definitions
        self._cells = set()
        self._whole = set()

    def reducer_override(self, obj):
        kind = type(obj)
        if (name := self._definitions.get(id(obj))) is not None:
            self.referred.add(id(obj))
            return definition, (name,)
        if kind is types.FunctionType:
            return self._function(obj)
        if kind is types.CellType:
            if id(obj) not in self._cells:
                raise NotSaved("a cell of a closure")
            return make_cell, ()
        if kind is types.MethodType:
            return self._method(obj)
        if isinstance(obj, type):
            if obj.__module__ == "__main__":
                if (path := self._path(obj)) is not None:
                    return path
                _name_class(obj)
            made = super().reducer_override(obj)
            if isinstance(made, tuple) and made[0] is internals._make_skeleton_class:
                return (make_class if acts_when_made(obj) else made[0], *made[1:5], set_class)
            return made
        if (reason := _reason(obj)) is not None:
            raise NotSaved(reason)
        if (reduce := REDUCERS.get(kind)) is not None:
            return reduce(obj)
        if (single := reduce_single(obj)) is not None:
            return single
        if isinstance(obj, BaseException):
            return self._exception(obj)
        for field in lost_fields(obj):
            self.left_out[f"{kind.__name__}.{field}"] = "its class leaves it out when it is pickled"
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(obj, numpy.ndarray) and id(obj) not in self._whole:
            return reduce_view(obj, numpy) or super().reducer_override(obj)
        self._whole.update(map(id, arrays_inside(obj)))
        return super().reducer_override(obj)

    def _buffer(self, buffer):
        """Takes a buffer, or returns True to have it in the pickle."""
        raw = buffer.raw()
        if len(raw) < LARGE_BYTES or len(self._buffers) >= BUFFERS:
            return True
        self._buffers.append(raw)
        return False

    def _function(self, function):
        space = function.__globals__
        module = space.get("__name__") if space is not self._space else "__main__"
        if space is not self._space:
            if internals._should_pickle_by_reference(function):
                return NotImplemented
            owner = sys.modules.get(module) if isinstance(module, str) else None
            if owner is None or vars(owner) is not space:
                if function.__closure__ or _sets_globals(function.__code__):
                    raise NotSaved("a function of a namespace of its own, made by exec()")
                return super().reducer_override(function)
        elif (path := self._path(function)) is not None:
            return path
        cells = function.__closure__ or ()
        self._cells.update(map(id, cells))
        special = {name: getattr(function, name) for name in FUNCTION_STATE}
        if sys.version_info >= (3, 12):
            special["__type_params__"] = function.__type_params__
        state = ({"special": special, "own": dict(vars(function))}, [_content(cell) for cell in cells])
        arguments = (function.__code__, module, tuple(cells) if cells else None)
        return make_function, arguments, state, None, None, set_function

    def _exception(self, error):
        if error.__traceback__ is not None:
            self.left_out["__traceback__"] = "it refers to frames of this process"
        made = reduce_exception(error)
        return super().reducer_override(error) if made is None else made

    def _path(self, obj):
        """Returns a reference to a method or an inner class of a definition, or None."""
        first, *rest = obj.__qualname__.split(".")
        found = self._space.get(first)
        if not rest or self._definitions.get(id(found)) != first or "<locals>" in rest:
            return None
        try:
            for name in rest:
                found = attribute_of(found, name)
        except (KeyError, TypeError):
            return None
        if found is not obj:
            return None
        self.referred.add(id(obj))
        return definition, (first, *rest)

    def _method(self, method):
        owner, name = method.__self__, method.__func__.__name__
        for kind in (owner if isinstance(owner, type) else type(owner)).__mro__:
            if name in vars(kind):
                if getattr(vars(kind)[name], "__func__", vars(kind)[name]) is method.__func__:
                    return getattr, (owner, name)
                break
        return types.MethodType, (method.__func__, owner)


def is_importable(module):
    """Whether importing a module by its name returns this one."""
    name = module.__name__
    return sys.modules.get(name) is module and (getattr(module, "__spec__", None) is not None or name == "__main__")


def is_shareable(obj):
    """Whether two names that both hold this object must come back with one object."""
    kind = type(obj)
    if kind in ATOMS or isinstance(obj, (enum.Enum, types.ModuleType, types.BuiltinFunctionType)):
        return False
    if kind.__name__.lower().endswith("dtype") and kind.__module__.partition(".")[0] in ("numpy", "pandas"):
        return False
    if isinstance(obj, (type, types.FunctionType)):
        return not internals._should_pickle_by_reference(obj)
    return True


ATOMS = (str, bytes, int, float, complex, bool, type(None), type(...), type(NotImplemented), types.CodeType)


def _reason(obj):
    """Returns why this object must not be pickled although it could be, or None."""
    kind = type(obj)
    if isinstance(obj, io.IOBase) and not isinstance(obj, (io.BytesIO, io.StringIO)):
        return "an open file"
    if kind is types.ModuleType and not is_importable(obj):
        return "a module that the code made"
    if kind.__name__ in MAPS and kind.__module__ in ("numpy", "mmap"):
        return "a memory map of a file"
    if is_borrowed(obj):
        return "a finalizer" if isinstance(obj, weakref.finalize) else "a view of the memory of another object"
    if kind is memoryview and not is_plain_view(obj):
        return "a view of memory"
    if isinstance(obj, logging.Logger) and (obj.handlers or obj.level):
        return "a logger with handlers or a level of its own"
    return None


def make_dict_view(mapping, name):
    return getattr(mapping, name)()


def make_cached(function, parameters):
    return functools.lru_cache(**parameters)(function)


def make_new_type(name, supertype, module):
    made: Any = new_type(name, supertype)
    made.__module__ = module
    return made


new_type: Any = typing.NewType
EMPTY: Any = ({}, collections.OrderedDict())
NAMES_OF_VIEWS = {
    kind: name for mapping in EMPTY for name in ("keys", "values", "items") for kind in [type(getattr(mapping, name)())]
}
REDUCERS: Any = {
    **{
        kind: lambda view, name=name: (make_dict_view, (gc.get_referents(view)[0], name))
        for kind, name in NAMES_OF_VIEWS.items()
    },
    types.MappingProxyType: lambda proxy: (types.MappingProxyType, (gc.get_referents(proxy)[0],)),
    memoryview: reduce_memory,
    type(functools.lru_cache(int)): lambda cached: (make_cached, (cached.__wrapped__, cached.cache_parameters())),
    struct.Struct: lambda packed: (struct.Struct, (packed.format,)),
    typing.NewType: lambda kind: (make_new_type, (kind.__name__, kind.__supertype__, kind.__module__)),
}


def _sets_globals(code):
    return any(each.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") for each in dis.get_instructions(code))


def _content(cell):
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _name_class(kind):
    """Gives a class an id that does not change between checkpoints; cloudpickle would draw a new one in each fork."""
    with internals._DYNAMIC_CLASS_TRACKER_LOCK:
        if kind in internals._DYNAMIC_CLASS_TRACKER_BY_CLASS:
            return
        number = 0
        while (name := f"{kind.__qualname__}#{number}") in internals._DYNAMIC_CLASS_TRACKER_BY_ID:
            number += 1
        internals._DYNAMIC_CLASS_TRACKER_BY_CLASS[kind] = name
        internals._DYNAMIC_CLASS_TRACKER_BY_ID[name] = kind

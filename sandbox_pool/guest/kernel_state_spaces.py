"""Reads the namespaces of modules, classes and objects without running a method of them, and compares them by identity.

`kernel_state_imports.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import operator
import os
import types
from typing import Any

__all__ = ["HEAP_TYPE", "Look", "fields_of", "is_a", "is_of_workspace", "members", "set_workspace", "space_of_module"]

HEAP_TYPE = 1 << 9
"""The flag of classes that Python code has made, whose attributes can be set."""
place_of_workspace = ""


class Look:
    """What a namespace holds. The values are kept, so that no other object gets the id of one of them."""

    __slots__ = ("names", "values")

    def __init__(self, space):
        self.names, self.values = tuple(space), tuple(space.values())

    def is_same(self, space):
        return len(space) == len(self.names) and all(map(operator.is_, space.values(), self.values))

    def differences(self, space):
        """Yields the names whose values are others, or gone."""
        if self.is_same(space):
            return
        before = dict(zip(self.names, self.values, strict=True))
        for name, value in list(space.items()):
            if name not in before or before[name] is not value:
                yield name
        yield from (name for name in before if name not in space)

    def is_passing(self, name):
        """Whether a function was there under a name that is not its own, such as one that a library compiles."""
        value = dict(zip(self.names, self.values, strict=True)).get(name)
        return type(value) is types.FunctionType and value.__qualname__ != name

    def is_lazy(self, name):
        """Whether a descriptor was there that puts a value in its own place."""
        value = dict(zip(self.names, self.values, strict=True)).get(name)
        return hasattr(type(value), "__get__") and type(value).__module__ not in ("builtins", "functools")


space_of_class = type.__dict__["__dict__"].__get__
space_of_module: Any = vars(types.ModuleType)["__dict__"].__get__


def is_a(value, kind):
    """As `isinstance`, which asks the value for its class: that runs code of proxies and of lazy modules."""
    return issubclass(type(value), kind)


def members(owner):
    """The namespace of a module or class, without running a method of it."""
    return space_of_module(owner) if is_a(owner, types.ModuleType) else space_of_class(owner)


def fields_of(value):
    """The dictionary with the attributes of an object, without running a method of it; None if it has none."""
    try:
        fields = object.__getattribute__(value, "__dict__")
    except Exception:
        return None
    return fields if type(fields) is dict else None


def set_workspace(directory):
    """Sets the directory whose modules the code may have written itself."""
    global place_of_workspace
    place_of_workspace = directory


def is_of_workspace(module):
    """Whether this is a module that lies in the workspace, but for installed packages."""
    file = members(module).get("__file__")
    return (
        bool(place_of_workspace)
        and is_a(file, str)
        and os.path.abspath(file).startswith(f"{place_of_workspace}{os.sep}")
        and "site-packages" not in file
    )

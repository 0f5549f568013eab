"""How single objects are pickled: those that a library has once, exceptions, and objects with pickling of their own.

`kernel_state_objects.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import copyreg
import ctypes
import enum
import os
import sys
import types
import weakref
from typing import Any

from cloudpickle import cloudpickle as internals  # type: ignore[import-untyped]
from kernel_state_imports import containers_of_workspace  # type: ignore[import-not-found]
from kernel_state_spaces import is_a, is_of_workspace  # type: ignore[import-not-found]
from kernel_values import module_of, name_of  # type: ignore[import-not-found]

__all__ = [
    "Reference",
    "acts_when_made",
    "attribute_of_module",
    "home_of",
    "is_borrowed",
    "lost_fields",
    "make_class",
    "not_set",
    "reduce_exception",
    "reduce_single",
    "set_class",
]

PLAIN = (str, bytes, int, float, complex, bool, type(None))
HOOKS = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")
CHAIN = ("__cause__", "__context__", "__suppress_context__")
NEVER = (type, types.FunctionType, types.ModuleType, types.BuiltinFunctionType, enum.Enum)
names_in: dict[str, dict[int, str]] = {}


def attribute_of_module(module, name):
    """Returns what a module of a library holds. Pickles name this function."""
    __import__(module)
    return getattr(sys.modules[module], name)


class Reference:
    """Stands in a pickle for what a module holds."""

    def __init__(self, module, name):
        self._place = module, name

    def __reduce__(self):
        return attribute_of_module, self._place


def reduce_single(obj):
    """Returns a reference to an object that the module of its class has as a variable; None if there is none.

    Such an object stands for itself: the generator behind `random.random`, `dataclasses.MISSING`, `os.environ`. One of
    a module of the workspace must have the content that it had when that was imported: the import makes it again so.
    """
    home = home_of(obj)
    return None if home is None else (attribute_of_module, home)


def home_of(obj):
    """Returns module and name of an object that the module of its class has as a variable; None if there is none."""
    module = module_of(type(obj))
    if type(module) is not str or module in ("builtins", "__main__") or is_a(obj, NEVER):
        return None
    if (names := names_in.get(module)) is None:
        names = names_in[module] = _names_in(sys.modules.get(module))
    name = names.get(id(obj))
    return None if name is None else (module, name)


def _names_in(module):
    if not is_a(module, types.ModuleType):
        return {}
    if is_of_workspace(module):
        held = containers_of_workspace().items()
        return {number: name for number, (place, name) in held if sys.modules.get(place) is module}
    return {id(value): name for name, value in vars(module).items() if type(name) is str}


# ---- exceptions --------------------------------------------------------------------------------------------


def set_exception(error, state):
    chain, state = state
    if isinstance(state, dict) and hasattr(type(error), "__setstate__"):
        error.__setstate__(state)
    for name, value in zip(CHAIN, chain, strict=True):
        setattr(error, name, value)


def reduce_exception(error):
    """Returns how to create this exception with its causes, or None if it has none."""
    chain = tuple(getattr(error, name) for name in CHAIN)
    if not any(chain):
        return None
    made = error.__reduce_ex__(5)
    if not isinstance(made, tuple) or len(made) > 3:
        return None
    state = made[2] if len(made) > 2 else None
    return (*made[:2], (chain, state), None, None, set_exception)


# ---- objects that say themselves how they are pickled --------------------------------------------------------


ACTS = frozenset(
    """
    os.remove os.rename os.rmdir os.mkdir os.truncate os.link os.symlink os.chmod os.chown os.utime os.system os.exec
    os.posix_spawn os.fork os.forkpty os.kill os.killpg
    """.split()  # noqa: SIM905
)
"""Python's audit events of what reaches outside of the process, besides those of whole modules."""
MODULES_THAT_ACT = ("shutil.", "subprocess.", "socket.", "sqlite3.", "tempfile.")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
copies: list[Any] = []
"""Copies with a `__del__`, which may not run: it would end what belongs to the object itself."""
is_copying: bool | None = None
"""None until the audit hook is there."""


class _Acts(Exception):
    """Making a copy would change a file, or reach outside of the process in another way."""


def _refuse_acts(event, arguments):
    if not is_copying:
        return
    if event in ACTS or event.startswith(MODULES_THAT_ACT) or (event == "open" and arguments[2] & WRITES):
        raise _Acts


def lost_fields(obj):
    """Returns the fields that the object's own methods for pickling would lose or change, as far as that shows.

    They make a copy, which only the fork has. Nothing is known of a copy that would change files, for example.
    """
    global is_copying
    kind = type(obj)
    if module_of(kind) != "__main__" or not (_has_hooks(kind) or kind in copyreg.dispatch_table):
        return []
    if is_copying is None:
        sys.addaudithook(_refuse_acts)
    is_copying = True
    try:
        return _lost_by_copy(obj, kind)
    except _Acts:
        return []
    finally:
        is_copying = False


def _lost_by_copy(obj, kind):
    reduce: Any = copyreg.dispatch_table.get(kind)
    made = reduce(obj) if reduce is not None else obj.__reduce_ex__(5)
    if not isinstance(made, tuple) or len(made) < 2 or (len(made) > 5 and made[5] is not None):
        return []
    copy = made[0](*made[1])
    if hasattr(kind, "__del__"):
        copies.append(copy)
    if type(copy) is not kind:
        return []
    if len(made) > 2 and made[2] is not None:
        _set_state(copy, made[2])
    before, after = _fields(obj), _fields(copy)
    return [name for name, value in before.items() if name not in after or _differs(value, after[name])]


def _has_hooks(kind):
    return any(
        name in each.__dict__ for each in kind.__mro__ if module_of(each) == "__main__" for name in HOOKS
    ) and not isinstance(kind, enum.EnumMeta)


def _set_state(copy, state):
    # The object's own dictionary may be the state, and its method may change that.
    state = tuple(map(_shallow, state)) if type(state) is tuple else _shallow(state)
    if hasattr(copy, "__setstate__"):
        copy.__setstate__(state)
        return
    fields, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if fields:
        vars(copy).update(fields)
    for name, value in (slots or {}).items():
        setattr(copy, name, value)


def _shallow(value):
    return value.copy() if type(value) in (dict, list, set) else value


def _fields(obj):
    fields = dict(getattr(obj, "__dict__", None) or {})
    for kind in type(obj).__mro__:
        for name, member in vars(kind).items():
            if type(member) is types.MemberDescriptorType and module_of(kind) == "__main__" and hasattr(obj, name):
                fields[name] = getattr(obj, name)
    return fields


def _differs(value, other):
    if value is other:
        return False
    if type(value) is not type(other):
        return True
    return type(value) in PLAIN and value != other and value == value


# ---- what has the memory of another object ---------------------------------------------------------------------


def is_borrowed(obj):
    """Whether this object of `ctypes` shows memory of another object, or is a finalizer."""
    return isinstance(obj, weakref.finalize) or (isinstance(obj, CDATA) and not obj._b_needsfree_)


CDATA: Any = ctypes.c_int.__mro__[-2]


# ---- classes that act when they are made -----------------------------------------------------------------------


def make_class(constructor, name, bases, namespace, tracker, extra):
    """Creates the skeleton of a class of the notebook without running its metaclass or `__init_subclass__`."""
    meta = max((constructor, *map(type, bases)), key=lambda kind: len(kind.__mro__))
    make: Any = next(kind for kind in meta.__mro__ if module_of(kind) != "__main__").__new__
    quieted = [kind for kind in _all_bases(bases) if "__init_subclass__" in vars(kind)]
    hooks = [vars(kind)["__init_subclass__"] for kind in quieted]
    try:
        for kind in quieted:
            type.__delattr__(kind, "__init_subclass__")
        made = make(meta, name, bases, dict(namespace))
    finally:
        for kind, hook in zip(quieted, hooks, strict=True):
            type.__setattr__(kind, "__init_subclass__", hook)
    return internals._lookup_class_or_track(tracker, made)


not_set: list[tuple[str, str, str]] = []
"""Name, type and reason of attributes of classes that could not be restored."""


def set_class(kind, state):
    """Gives a class of the notebook its attributes, without running its metaclass. Pickles name this function.

    One that cannot be set is listed in `not_set`, since all other definitions are in the same pickle.
    """
    attributes, _ = state
    for name, value in attributes.items():
        if name != "_abc_impl":
            try:
                type.__setattr__(kind, name, value)
            except Exception as error:
                not_set.append((f"{name_of(kind)}.{name}", "attribute of a class", f"{type(error).__name__}: {error}"))
    # Setting any attribute has removed this one.
    if "__firstlineno__" in attributes:
        type.__setattr__(kind, "__firstlineno__", attributes["__firstlineno__"])
    for subclass in attributes.get("_abc_impl") or ():
        kind.register(subclass)


def acts_when_made(kind):
    """Whether creating this class runs code of the notebook."""
    return any(module_of(each) == "__main__" for each in type(kind).__mro__) or any(
        "__init_subclass__" in vars(each) for each in _all_bases(kind.__bases__)
    )


def _all_bases(bases):
    return {each: None for base in bases for each in base.__mro__ if module_of(each) == "__main__"}

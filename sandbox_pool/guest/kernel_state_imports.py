"""Remembers what modules and their classes hold once they are imported, and finds what has changed since.

`kernel_state.py` and `kernel_state_modules.py` import it inside of a sandbox. Python's own import function is wrapped,
so that a module is looked at when the outermost import that has loaded it ends, and when it is executed again by
`importlib.reload`. Comparing is by identity: it costs a few milliseconds for a thousand modules. What a module's own
functions assign, such as a cache, is no change of the code's. Of modules in the workspace, which the code may have
written itself, the content of containers counts, too.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import enum
import gc
import os
import sys
import threading
import types
from typing import Any

from kernel_state_contents import contents_of  # type: ignore[import-not-found]
from kernel_state_own import OwnNames  # type: ignore[import-not-found]
from kernel_state_spaces import (  # type: ignore[import-not-found]
    HEAP_TYPE,
    Look,
    fields_of,
    is_a,
    is_of_workspace,
    members,
    set_workspace,
    space_of_class,
    space_of_module,
)
from kernel_values import module_of  # type: ignore[import-not-found]

__all__ = ["UNKNOWN", "added_modules", "after_import", "changed_places", "containers_of_workspace", "watch"]

OURS = os.path.dirname(os.path.abspath(__file__))
KERNEL = frozenset(
    """
    IPython ipykernel traitlets tornado zmq jupyter_client jupyter_core comm prompt_toolkit pygments parso jedi
    executing stack_data pure_eval asttokens decorator matplotlib_inline cloudpickle psutil debugpy importlib
    _frozen_importlib _frozen_importlib_external threading _threading_local linecache __main__ __mp_main__
    codeact_functions
    """.split()  # noqa: SIM905
)
"""Packages and modules that change while the kernel works."""
OWN_STATE = {
    "sys": {"stdin", "stdout", "stderr", "path", "last_type", "last_value", "last_traceback", "last_exc", "ps3"},
    "warnings": {"filters"},
    "builtins": {"_"},
    "matplotlib.pyplot": {"draw_if_interactive"},
    "time": {"tzname", "timezone", "altzone", "daylight"},
}
"""What the kernel, or Python itself, sets, and what the settings have already."""
without_attributes: dict[int, Any] = {}
"""By their ids, types of variables to which the code cannot give attributes, or that are looked at otherwise."""
CHANGES = 500
NONE: dict[str, Any] = {}
UNKNOWN = ("…",)
"""Stands in a place for attributes that could not be compared."""
HOOKS = frozenset(("__getattr__", "__getattribute__", "__setattr__"))
COMPUTING = HOOKS | {"__dict__", "setattr", "vars"}
readable: dict[int, tuple[Any, bool]] = {}
"""By the id of a class: the class, and whether its code shows the names of all attributes that it sets."""
find_and_load: Any = sys.modules["_frozen_importlib"]._find_and_load
execute: Any = sys.modules["_frozen_importlib"]._exec
seen: dict[str, Any] = {}
strangers: set[str] = set()
loading = threading.local()
after_import: dict[str, Any] = {}
"""Functions that are called once the module of this name is imported."""


def watch(directory=""):
    """Remembers all modules, and from now on those that are imported. `directory` is the workspace."""
    set_workspace(directory)
    if seen:
        return
    # Python's collector would run many times, and find nothing.
    collects = gc.isenabled()
    gc.disable()
    for name in list(sys.modules):
        _remember(name)
    if collects:
        gc.enable()
    # Tracebacks of failed imports leave out the frames of the import system, which Python knows by this name.
    for name, function in (("_find_and_load", _import), ("_exec", _exec)):
        function.__code__ = function.__code__.replace(co_filename="<frozen importlib._bootstrap>")
        setattr(sys.modules["_frozen_importlib"], name, function)


def _import(name, import_):
    names = getattr(loading, "names", None)
    if names is not None:
        names.append(name)
        return find_and_load(name, import_)
    if len(sys.modules) != len(seen):
        strangers.update(sys.modules.keys() - seen.keys())
    loading.names = names = [name]
    try:
        return find_and_load(name, import_)
    finally:
        loading.names = None
        for each in names:
            _remember(each)
        for each in sys.modules.keys() - seen.keys() - strangers:
            _remember(each)  # A module that puts others there while it is loaded.


def _exec(spec, module):
    """Executes a module again, for `importlib.reload`. What it sets is no change of the code's."""
    space = dict(members(module)) if is_a(module, types.ModuleType) else {}
    try:
        return execute(spec, module)
    finally:
        before = seen.get(spec.name)
        if before is not None and before.module is module:
            with contextlib.suppress(Exception):
                before.executed(space)


class _Seen:
    """A module, its namespace, those of its classes and objects, and the content of its containers.

    `objects` are variables with an object of one of the library's classes. Contents are those of modules of the
    workspace alone.
    """

    __slots__ = ("classes", "contents", "look", "module", "objects")

    def __init__(self, module):
        self.module = module
        self.look = Look(members(module))
        name = members(module)["__name__"]
        self.classes = [
            (kind, Look(members(kind)))
            for kind in self.look.values
            if is_a(kind, type) and kind.__flags__ & HEAP_TYPE and module_of(kind) == name
        ]
        self.contents = contents_of(module) if is_of_workspace(module) else None
        self.objects = list(_objects(self.look, name)) if self.contents is None else []

    def is_unchanged(self):
        """Whether the module and its classes hold what they did. Quick, since nearly all of a thousand modules do."""
        return (
            self.contents is None
            and self.look.is_same(space_of_module(self.module))
            and all(look.is_same(space_of_class(kind)) for kind, look in self.classes)
            and all(look.is_same(fields_of(value) or NONE) for _, value, look in self.objects)
        )

    def executed(self, space):
        """Remembers what the module has set since it held `space`, and of all else what was known before."""
        new = _Seen(self.module)
        held = dict(zip(new.look.names, new.look.values, strict=True))
        known = dict(zip(self.look.names, self.look.values, strict=True))
        same = {name for name, value in held.items() if name in space and space[name] is value}
        looks = {id(kind): look for kind, look in self.classes}
        self.classes = [(kind, looks.get(id(kind), look)) for kind, look in new.classes]
        fields = {id(value): look for _, value, look in self.objects}
        self.objects = [(name, value, fields.get(id(value), look)) for name, value, look in new.objects]
        set_again = {name: value for name, value in held.items() if name not in same}
        self.look = Look({name: known[name] for name in same & known.keys()} | set_again)
        if self.contents is not None and new.contents is not None:
            kept = {name: content for name, content in self.contents.items() if name in same}
            self.contents = kept | {name: content for name, content in new.contents.items() if name not in same}


def _objects(look, module_name):
    """Yields name, object and a look at the attributes, of variables with an object of one of the library's classes.

    An enumeration has too many of them, and nobody sets attributes there.
    """
    package = module_name.partition(".")[0]
    for name, value in [
        each for each in zip(look.names, look.values, strict=True) if id(type(each[1])) not in without_attributes
    ]:
        kind = type(value)
        if not kind.__flags__ & HEAP_TYPE or issubclass(kind, (type, types.ModuleType, enum.Enum)):
            without_attributes[id(kind)] = kind  # Its hash may be code of the library.
            continue
        home = module_of(kind)
        if type(home) is not str or home.partition(".")[0] != package or (fields := fields_of(value)) is None:
            continue
        if id(kind) not in readable:
            readable[id(kind)] = kind, all(map(_is_readable, kind.__mro__[:-1]))
        if readable[id(kind)][1]:
            yield name, value, Look(fields)


def _is_readable(kind):
    """Whether the code of this class is Python, and sets no attributes whose names it makes."""
    name, space = module_of(kind), space_of_class(kind)
    module = sys.modules.get(name) if type(name) is str else None
    file = members(module).get("__file__") if is_a(module, types.ModuleType) else None
    if name == "builtins":
        return True
    if type(file) is not str or not file.endswith(".py") or not HOOKS.isdisjoint(space):
        return False
    codes = (value.__code__ for value in space.values() if type(value) is types.FunctionType)
    return all(COMPUTING.isdisjoint(code.co_names) for code in codes)


def _remember(name):
    module = sys.modules.get(name)
    if name in seen or module is None:
        return
    is_lazy = type(module).__name__ == "_LazyModule"  # It has no content before its first use.
    if is_lazy or not is_a(module, types.ModuleType) or not _is_watched(name, module):
        seen[name] = None
        return
    try:
        seen[name] = _Seen(module)
    except Exception:
        seen[name] = None
    if (call := after_import.pop(name, None)) is not None:
        with contextlib.suppress(Exception):
            call()


def _is_watched(name, module):
    if name.partition(".")[0] in KERNEL or type(members(module).get("__name__")) is not str:
        return False
    file = members(module).get("__file__")
    return not (isinstance(file, str) and os.path.dirname(file) == OURS)


def added_modules():
    """Returns the names in `sys.modules` that no import has put there."""
    if not seen:
        return []  # Nobody watches.
    return sorted(
        name
        for name in (strangers | (sys.modules.keys() - seen.keys()))
        if type(name) is str and name.partition(".")[0] not in KERNEL and name in sys.modules
    )


def changed_places():
    """Returns what has changed in modules and their classes, as (module, path)."""
    found: list[Any] = []
    for name, before in list(seen.items()):
        if before is None or sys.modules.get(name) is not before.module:
            continue
        if len(found) > CHANGES:
            return [*found[:CHANGES], (name, UNKNOWN)]
        try:
            if not before.is_unchanged():
                found += _changes_in(name, before)
        except Exception:
            found.append((name, UNKNOWN))
    return found


def _changes_in(name, before):
    """Returns what has changed in one module and its classes."""
    space = members(before.module)
    own = OwnNames(before)
    found: list[Any] = [
        (name, (each,))
        for each in before.look.differences(space)
        if not _is_internal(name, each, space.get(each), before.module)
        and not own.assigns(each, "GLOBAL")
        and not (each not in space and before.look.is_passing(each))
    ]
    for kind, look in before.classes:
        methods = {each: value for each, value in members(kind).items() if is_a(value, types.FunctionType)}
        found += [
            (name, (*kind.__qualname__.split("."), each))
            for each in look.differences(members(kind))
            if not _is_internal(name, each, methods.get(each), None)
            and not own.assigns(each, "ATTR")
            and not look.is_lazy(each)
        ]
    for each, value, look in before.objects:
        if space.get(each) is value and not look.is_same(fields := fields_of(value) or NONE):
            own_names = OwnNames(before, *_modules_of(value))
            found += [
                (name, (each, field))
                for field in look.differences(fields)
                if type(field) is str and not own_names.sets(field)
            ]
    if before.contents is not None:
        now = contents_of(before.module)
        found += [(name, (each,)) for each, content in before.contents.items() if now.get(each, content) != content]
    return list(dict.fromkeys(found))


def _modules_of(value):
    """What the modules held at their import that have the classes of this object."""
    names = dict.fromkeys(module_of(kind) for kind in type(value).__mro__)
    return [seen[each] for each in names if type(each) is str and seen.get(each) is not None]


def _is_internal(module_name: str, name: str, value: Any, module: Any) -> bool:
    if type(name) is not str or name[:5] == "_abc_":
        return True
    if name[:2] == "__" and name[-2:] == "__" and not is_a(value, types.FunctionType):
        return True  # Python sets those that are no methods.
    if name in OWN_STATE.get(module_name, ()):
        return True
    if module is not None and is_a(value, types.FunctionType):
        home = sys.modules.get(str(value.__module__))
        own_name = str(getattr(value, "__qualname__", ""))
        is_known = home is not None and vars(home).get(own_name) is value and own_name != name
        if str(value.__module__).partition(".")[0] == module_name.partition(".")[0] and not is_known:
            return True  # The library has made it while it worked.
    of_code = module is None or module_name == "builtins" or is_of_workspace(module)
    if not of_code and str(module_of(type(value))).partition(".")[0] == module_name.partition(".")[0]:
        return True  # An object of the library itself.
    if is_a(value, types.ModuleType):
        return str(value.__name__).startswith(f"{module.__name__}.")
    if module is not None and "__getattr__" in vars(module):
        # A package that loads its own parts when they are first asked for.
        return str(getattr(value, "__module__", "")).partition(".")[0] == module_name.partition(".")[0]
    return False


def containers_of_workspace():
    """Returns module and name of containers and objects that modules of the workspace hold, by their ids.

    Each of them has the content that it had when its module was imported.
    """
    found = {}
    for name, before in list(seen.items()):
        if before is None or before.contents is None or sys.modules.get(name) is not before.module:
            continue
        now = contents_of(before.module)
        for each, value in list(members(before.module).items()):
            content = now.get(each, (None, False))
            if content[1] and content == before.contents.get(each) and not is_a(value, UNCHANGING):
                found[id(value)] = (name, each)
    return found


UNCHANGING = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, tuple, frozenset)

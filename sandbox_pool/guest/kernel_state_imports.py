"""Remembers what modules and their classes hold once they are imported, and finds what has changed since.

`kernel_state.py` and `kernel_state_modules.py` import it inside of a sandbox. Python's own import function is wrapped,
so that a module is looked at when the outermost import that has loaded it ends. Comparing is by identity: it costs a
few milliseconds for a thousand modules. What a module's own functions assign, such as a cache, is no change of the
code's. Of modules in the workspace, which the code may have written itself, the content of containers counts, too.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import dis
import gc
import operator
import os
import sys
import threading
import types
from typing import Any

__all__ = ["added_modules", "changed_places", "containers_of_workspace", "members", "watch"]

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
WRAPPERS: dict[type, str] = {property: "fget", staticmethod: "__func__", classmethod: "__func__"}
HEAP_TYPE = 1 << 9
NODES = 5_000
"""How many objects of the containers of one module of the workspace are looked at."""
CHANGES = 500
find_and_load: Any = sys.modules["_frozen_importlib"]._find_and_load
seen: dict[str, Any] = {}
strangers: set[str] = set()
loading = threading.local()
workspace = ""


def watch(directory=""):
    """Remembers all modules, and from now on those that are imported. `directory` is the workspace."""
    global workspace
    workspace = directory
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
    _import.__code__ = _import.__code__.replace(co_filename="<frozen importlib._bootstrap>")
    setattr(sys.modules["_frozen_importlib"], "_find_and_load", _import)  # noqa: B010


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


class _Look:
    """What a namespace holds. The values are kept, so that no other object gets the id of one of them."""

    __slots__ = ("names", "values")

    def __init__(self, space):
        self.names, self.values = tuple(space), tuple(space.values())

    def differences(self, space):
        """Yields the names whose values are others, or gone."""
        if len(space) == len(self.names) and all(map(operator.is_, space.values(), self.values)):
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


class _Seen:
    """A module, its namespace, those of its classes, and the content of its containers if it is of the workspace."""

    __slots__ = ("classes", "contents", "look", "module")

    def __init__(self, module):
        self.module = module
        self.look = _Look(vars(module))
        self.classes = [
            (kind, _Look(members(kind)))
            for kind in self.look.values
            if isinstance(kind, type) and kind.__flags__ & HEAP_TYPE and _module_of(kind) == module.__name__
        ]
        self.contents = contents_of(module) if is_of_workspace(module) else None


_module_of = type.__dict__["__module__"].__get__


def members(owner):
    """The namespace of a module or class, without running a method of it."""
    return vars(owner) if isinstance(owner, types.ModuleType) else type.__dict__["__dict__"].__get__(owner)


def _remember(name):
    module = sys.modules.get(name)
    if name in seen or module is None:
        return
    if not isinstance(module, types.ModuleType) or not _is_watched(name, module):
        seen[name] = None
        return
    try:
        seen[name] = _Seen(module)
    except Exception:
        seen[name] = None


def _is_watched(name, module):
    if name.partition(".")[0] in KERNEL or type(getattr(module, "__name__", None)) is not str:
        return False
    file = vars(module).get("__file__")
    return not (isinstance(file, str) and os.path.dirname(file) == OURS)


def is_of_workspace(module):
    """Whether this is a module that lies in the workspace, but for installed packages."""
    file = vars(module).get("__file__")
    return (
        bool(workspace)
        and isinstance(file, str)
        and os.path.abspath(file).startswith(f"{workspace}{os.sep}")
        and "site-packages" not in file
    )


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
        if before is None or sys.modules.get(name) is not before.module or len(found) > CHANGES:
            continue
        try:
            found += _changes_in(name, before)
        except Exception:
            found.append((name, ("…",)))
    return found[:CHANGES]


def _changes_in(name, before):
    """Returns what has changed in one module and its classes."""
    space = vars(before.module)
    own = _OwnNames(before)
    found = [
        (name, (each,))
        for each in before.look.differences(space)
        if not _is_internal(name, each, space.get(each), before.module)
        and not own.assigns(each, "GLOBAL")
        and not (each not in space and before.look.is_passing(each))
    ]
    for kind, look in before.classes:
        found += [
            (name, (*kind.__qualname__.split("."), each))
            for each in look.differences(members(kind))
            if not _is_internal(name, each, None, None) and not own.assigns(each, "ATTR") and not look.is_lazy(each)
        ]
    if before.contents is not None:
        now = contents_of(before.module)
        found += [(name, (each,)) for each, content in before.contents.items() if now.get(each) != content]
    return found


def _is_internal(module_name: str, name: str, value: Any, module: Any) -> bool:
    if type(name) is not str or (name[:2] == "__" and name[-2:] == "__") or name[:5] == "_abc_":
        return True
    if name in OWN_STATE.get(module_name, ()):
        return True
    if module is not None and isinstance(value, types.FunctionType):
        home = sys.modules.get(str(value.__module__))
        own_name = str(getattr(value, "__qualname__", ""))
        is_known = home is not None and vars(home).get(own_name) is value and own_name != name
        if str(value.__module__).partition(".")[0] == module_name.partition(".")[0] and not is_known:
            return True  # The library has made it while it worked.
    of_code = module is None or module_name == "builtins" or is_of_workspace(module)
    if not of_code and str(_module_of(type(value))).partition(".")[0] == module_name.partition(".")[0]:
        return True  # An object of the library itself.
    if isinstance(value, types.ModuleType):
        return str(value.__name__).startswith(f"{module.__name__}.")
    if module is not None and "__getattr__" in vars(module):
        # A package that loads its own parts when they are first asked for.
        return str(getattr(value, "__module__", "")).partition(".")[0] == module_name.partition(".")[0]
    return False


class _OwnNames:
    """Tells which names functions of a module assign. Those of a module of the workspace do not count."""

    def __init__(self, before):
        self._before = before
        self._found: Any = None

    def assigns(self, name, kind):
        """Whether one of them assigns to this global variable ("GLOBAL"), or to an attribute of this name ("ATTR")."""
        if self._before.contents is not None:
            return False
        if self._found is None:
            self._found = list(self._codes())
        wanted = (f"STORE_{kind}", f"DELETE_{kind}")
        return any(
            each.opname in wanted and each.argval == name
            for code in self._found
            if name in code.co_names
            for each in dis.get_instructions(code)
        )

    def _codes(self):
        spaces = [self._before.look.values, *(look.values for _, look in self._before.classes)]
        stack: list[Any] = []
        for value in (value for values in spaces for value in values):
            value = getattr(value, WRAPPERS[type(value)]) if type(value) in WRAPPERS else value
            while type(value) is types.FunctionType:
                stack.append(value.__code__)
                value = vars(value).get("__wrapped__")
        while stack:
            code = stack.pop()
            yield code
            stack += [each for each in code.co_consts if type(each) is types.CodeType]


PLAIN = (str, bytes, int, float, complex, bool, type(None))


def contents_of(module):
    """Returns the content of each container and object among a module's variables, as something to compare."""
    left = NODES

    def content(value, depth):
        nonlocal left
        left -= 1
        kind = type(value)
        if kind in PLAIN:
            return value if value == value else "nan"
        if left <= 0 or depth <= 0:
            return None
        if kind in (list, tuple):
            return (kind, *(content(each, depth - 1) for each in list(value)[: max(0, left)]))
        if kind in (set, frozenset):
            return kind, len(value), frozenset(each for each in value if type(each) in PLAIN)
        if isinstance(value, dict):
            items = list(dict.items(value))[: max(0, left)]
            return (kind, *((content(key, 1), content(each, depth - 1)) for key, each in items))
        fields = getattr(value, "__dict__", None)
        if type(fields) is dict and _module_of(kind) in seen_of_workspace():
            return kind, content(fields, depth - 1)
        return None

    found = {}
    for name, value in list(vars(module).items()):
        if name[:2] != "__" and not isinstance(value, (type, types.ModuleType, types.FunctionType)):
            kind = type(value)
            if kind not in PLAIN:
                found[name] = content(value, 6)
        elif isinstance(value, type) and _module_of(value) == module.__name__:
            found[name] = content({key: each for key, each in members(value).items() if key[:2] != "__"}, 6)
    return found


def containers_of_workspace():
    """Returns module and name of each container and object that a module of the workspace holds, by its id."""
    found = {}
    for name in seen_of_workspace():
        for each, value in list(vars(sys.modules[name]).items()):
            if not isinstance(value, (*PLAIN, *UNCHANGING)) and each[:2] != "__":
                found[id(value)] = (name, each)
    return found


UNCHANGING = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, tuple, frozenset)


def seen_of_workspace():
    """The names of the modules of the workspace."""
    return {name for name, each in list(seen.items()) if each is not None and is_of_workspace(each.module)}

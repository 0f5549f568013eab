"""Remembers what modules and their classes hold once they are imported, and finds what has changed since.

`kernel_state.py` and `kernel_state_modules.py` import it inside of a sandbox. Python's own import function is wrapped,
so that a module is looked at when the outermost import that has loaded it ends, and when it is executed again by
`importlib.reload`. Comparing is by identity: it costs a few milliseconds for a thousand modules. What a module's own
functions assign, such as a cache, is no change of the code's. Of modules in the workspace, which the code may have
written itself, the content of containers counts, too.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import dis
import gc
import operator
import os
import sys
import threading
import types
from typing import Any

__all__ = ["added_modules", "changed_places", "containers_of_workspace", "is_of_workspace", "members", "watch"]

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
NODES, ALL_NODES = 5_000, 50_000
"""How many objects of one variable, and of all variables, of a module of the workspace are looked at."""
CHANGES = 500
find_and_load: Any = sys.modules["_frozen_importlib"]._find_and_load
execute: Any = sys.modules["_frozen_importlib"]._exec
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
    space = dict(members(module)) if _is_a(module, types.ModuleType) else {}
    try:
        return execute(spec, module)
    finally:
        before = seen.get(spec.name)
        if before is not None and before.module is module:
            with contextlib.suppress(Exception):
                before.executed(space)


class _Look:
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


class _Seen:
    """A module, its namespace, those of its classes, and the content of its containers if it is of the workspace."""

    __slots__ = ("classes", "contents", "look", "module")

    def __init__(self, module):
        self.module = module
        self.look = _Look(members(module))
        name = members(module)["__name__"]
        self.classes = [
            (kind, _Look(members(kind)))
            for kind in self.look.values
            if _is_a(kind, type) and kind.__flags__ & HEAP_TYPE and _module_of(kind) == name
        ]
        self.contents = contents_of(module) if is_of_workspace(module) else None

    def is_unchanged(self):
        """Whether the module and its classes hold what they did. Quick, since nearly all of a thousand modules do."""
        return (
            self.contents is None
            and self.look.is_same(_module_members(self.module))
            and all(look.is_same(_class_members(kind)) for kind, look in self.classes)
        )

    def executed(self, space):
        """Remembers what the module has set since it held `space`, and of all else what was known before."""
        new = _Seen(self.module)
        held = dict(zip(new.look.names, new.look.values, strict=True))
        known = dict(zip(self.look.names, self.look.values, strict=True))
        same = {name for name, value in held.items() if name in space and space[name] is value}
        looks = {id(kind): look for kind, look in self.classes}
        self.classes = [(kind, looks.get(id(kind), look)) for kind, look in new.classes]
        set_again = {name: value for name, value in held.items() if name not in same}
        self.look = _Look({name: known[name] for name in same & known.keys()} | set_again)
        if self.contents is not None and new.contents is not None:
            kept = {name: content for name, content in self.contents.items() if name in same}
            self.contents = kept | {name: content for name, content in new.contents.items() if name not in same}


_module_of = type.__dict__["__module__"].__get__
_class_members = type.__dict__["__dict__"].__get__
_module_members = vars(types.ModuleType)["__dict__"].__get__


def _is_a(value, kind):
    """As `isinstance`, which asks the value for its class: that would load a module which loads at its first use."""
    return issubclass(type(value), kind)


def members(owner):
    """The namespace of a module or class, without running a method of it."""
    return _module_members(owner) if _is_a(owner, types.ModuleType) else _class_members(owner)


def _remember(name):
    module = sys.modules.get(name)
    if name in seen or module is None:
        return
    is_lazy = type(module).__name__ == "_LazyModule"  # It has no content before its first use.
    if is_lazy or not _is_a(module, types.ModuleType) or not _is_watched(name, module):
        seen[name] = None
        return
    try:
        seen[name] = _Seen(module)
    except Exception:
        seen[name] = None


def _is_watched(name, module):
    if name.partition(".")[0] in KERNEL or type(members(module).get("__name__")) is not str:
        return False
    file = members(module).get("__file__")
    return not (isinstance(file, str) and os.path.dirname(file) == OURS)


def is_of_workspace(module):
    """Whether this is a module that lies in the workspace, but for installed packages."""
    file = members(module).get("__file__")
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
            if not before.is_unchanged():
                found += _changes_in(name, before)
        except Exception:
            found.append((name, ("…",)))
    return found[:CHANGES]


def _changes_in(name, before):
    """Returns what has changed in one module and its classes."""
    space = members(before.module)
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
        found += [(name, (each,)) for each, content in before.contents.items() if now.get(each, content) != content]
    return list(dict.fromkeys(found))


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
    """Returns the content of each container and object among a module's variables, as something to compare.

    Each has a second value: whether that is all of its content. Of a container with too much in it, it is the size.
    """
    left, is_whole, room = NODES, True, ALL_NODES
    known: dict[int, bool] = {}
    main = sys.modules.get("__main__")

    def content(value, depth):
        nonlocal left, is_whole
        left -= 1
        kind = type(value)
        if kind in PLAIN:
            return value if value == value else "nan"
        if left > 0 and depth > 0:
            is_dict = _is_a(value, dict)
            size = dict.__len__(value) if is_dict else len(value) if kind in (list, tuple, set, frozenset) else 0
            if size > left:
                is_whole = False
                return kind, size
            if kind in (list, tuple):
                return (kind, *(content(each, depth - 1) for each in list(value)))
            if kind in (set, frozenset):
                plain = frozenset(each for each in value if type(each) in PLAIN)
                left -= len(plain)
                is_whole = is_whole and len(plain) == len(value)
                return kind, len(value), plain
            if is_dict:
                is_whole = is_whole and kind is dict
                return (kind, *((content(key, 1), content(each, depth - 1)) for key, each in list(dict.items(value))))
            fields = getattr(value, "__dict__", None) if is_own(kind) else None
            if type(fields) is dict:
                is_whole = is_whole and all(each is object or is_plain(each) for each in kind.__mro__)
                return kind, content(fields, depth - 1)
        is_whole = False
        return None

    def is_own(kind):
        """Whether this is a class of a module of the workspace."""
        if id(kind) not in known:
            home = sys.modules.get(str(_module_of(kind)))
            known[id(kind)] = _is_a(home, types.ModuleType) and home is not main and is_of_workspace(home)
        return known[id(kind)]

    def is_plain(kind):
        return is_own(kind) and "__slots__" not in members(kind)

    found = {}
    for name, value in list(members(module).items()):
        if room <= 0:
            break
        left, is_whole = NODES, True
        if name[:2] != "__" and not _is_a(value, (type, types.ModuleType, types.FunctionType)):
            if type(value) not in PLAIN:
                found[name] = content(value, 6), is_whole
        elif _is_a(value, type) and _module_of(value) == members(module)["__name__"]:
            found[name] = content({key: each for key, each in members(value).items() if key[:2] != "__"}, 6), False
        room -= NODES - left
    return found


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
            if content[1] and content == before.contents.get(each) and not isinstance(value, UNCHANGING):
                found[id(value)] = (name, each)
    return found


UNCHANGING = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, tuple, frozenset)

"""Finds what the code has changed in imported modules and in the classes of libraries, such as `math.pi = 3`.

`kernel_state_save.py` imports it inside of a sandbox. `kernel_state_imports.py` knows what modules held when they were
imported. What that does not count, such as a change in a container or of a variable that the library assigns itself, is
found in the text of the blocks that ran: assignments to an attribute of a module, of a class or of an object that a
library has once, or to an item of it, `setattr` with a name, and methods that change a container. Functions and classes
of the notebook are found by looking into the modules, too.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import sys
import types
from typing import Any

from kernel_state_imports import UNKNOWN, changed_places  # type: ignore[import-not-found]
from kernel_state_instances import home_of  # type: ignore[import-not-found]
from kernel_state_objects import is_importable  # type: ignore[import-not-found]
from kernel_state_spaces import fields_of, is_a, members  # type: ignore[import-not-found]
from kernel_values import module_of  # type: ignore[import-not-found]

__all__ = [
    "apply_attribute",
    "changed_attributes",
    "is_of_library",
    "is_plain",
    "own_attributes",
    "resolved_in_library",
    "value_of",
]

ATTRIBUTES = 500
PLAIN = (str, bytes, int, float, complex, bool, type(None))
SETTINGS = {
    *(("sys", "path"), ("warnings", "filters"), ("os", "environ"), ("os", "environb")),
    *(("matplotlib", "rcParams"), ("matplotlib.pyplot", "rcParams"), ("linecache", "cache"), ("sys", "modules")),
}
"""What the settings have already."""
KEPT: dict[Any, Any] = {
    ("logging", "root"): {"level", "propagate", "disabled", "handlers", "filters"},
    ("decimal", "DefaultContext"): {"prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps", "flags"},
    ("pandas._config.config", "options"): None,
}
"""Objects of libraries, and their attributes that the settings have, or name, already; None: all."""
CONTAINERS = (list, dict, set, bytearray)
CHANGING = frozenset(
    """
    append extend insert remove pop clear sort reverse update setdefault popitem add discard intersection_update
    difference_update symmetric_difference_update appendleft extendleft popleft rotate move_to_end
    """.split()  # noqa: SIM905
)
"""Methods that change a container."""
restored: list[Any] = []
"""The changes that came back from a checkpoint: the blocks that made them ran in another kernel."""


def changed_attributes(space, statements):
    """Returns the attributes that the code has set, deleted or changed, as (module, path).

    The second result are those of them of which it has changed the content.
    """
    aliases, places = _aliases(statements)
    found: dict[Any, None] = dict.fromkeys([*restored, *changed_places()])
    contents: set[Any] = set()
    for node, _ in statements:
        for each in ast.walk(node):
            for owner, name, is_content in _targets(each):
                if owner is None:
                    place = places.get(name)
                    if place is None or not any(value is space.get(name) for value in value_of(place)):
                        continue
                else:
                    place = _place(owner, space, aliases)
                    place = place and (place[0], (*place[1], name))
                if place is None:
                    continue
                if len(found) >= ATTRIBUTES:
                    place, is_content = (place[0], UNKNOWN), False
                elif is_content and not any(_is_changeable(value) for value in value_of(place)):
                    continue
                found[place] = None
                if is_content:
                    contents.add(place)
    return [place for place in found if not _is_kept(place)], contents


def _is_kept(place):
    """Whether the settings have this attribute already."""
    module, path = place
    if len(path) == 1 and (module, path[0]) in SETTINGS:
        return True
    kept = KEPT.get((module, path[0]), ())
    return len(path) > 1 and (kept is None or path[1] in kept)


def _is_changeable(value):
    """Whether this is a container, or an object that a library has once, which may be one."""
    return is_a(value, CONTAINERS) or home_of(value) is not None


def own_attributes(space, is_own):
    """Yields, as (module, path), attributes of imported modules and their classes that hold definitions of the code."""
    modules = {id(value): value for value in space.values() if type(value) is types.ModuleType}
    modules.pop(id(sys.modules["__main__"]), None)
    for module in modules.values():
        for name, value in list(members(module).items()):
            if is_own(value):
                yield module.__name__, (name,)
            elif is_a(value, type) and module_of(value) != "__main__":
                for attribute, member in list(members(value).items()):
                    if is_own(member):
                        yield module.__name__, (name, attribute)


def value_of(place):
    """Returns the value at a place, in a list; an empty one if there is none."""
    module, path = place
    owner: Any = sys.modules.get(module)
    for name in path:
        if is_a(owner, (types.ModuleType, type)):
            if name not in members(owner):
                return []
            owner = members(owner)[name]
        elif home_of(owner) is not None or fields_of(owner) is not None:
            if not hasattr(owner, name):
                return []
            owner = getattr(owner, name)
        else:
            return []
    return [owner]


def is_plain(value):
    """Whether a copy is as good as this value itself."""
    return type(value) in PLAIN


def is_of_library(value):
    """Whether this is a function or class of a library that its own name still finds."""
    if type(value) not in (types.FunctionType, types.BuiltinFunctionType) and not is_a(value, type):
        return False
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if type(module) is not str or type(name) is not str or module == "__main__":
        return False
    found: Any = sys.modules.get(module)
    for each in name.split("."):
        if not is_a(found, (types.ModuleType, type)) or each not in members(found):
            return False
        found = members(found)[each]
    return found is value


def apply_attribute(change):
    """Restores a change. `change` is a module, a path and the value."""
    module, path, value = change
    __import__(module)
    owner: Any = sys.modules[module]
    for name in path[:-1]:
        owner = members(owner)[name] if is_a(owner, (types.ModuleType, type)) else getattr(owner, name)
    setattr(owner, path[-1], value)
    restored.append((module, tuple(path)))


def resolved_in_library(node, space):
    """Returns what a name, or a dotted name, stands for, following modules and classes of libraries; else None."""
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in space:
        return None
    value = space[node.id]
    for name in reversed(path):
        if not is_a(value, (types.ModuleType, type)) or name not in members(value):
            return None
        value = members(value)[name]
    return value


def _aliases(statements):
    """What the code imports, by the name that it gives it; and of what it imports from modules, the place."""
    modules, places = {}, {}
    for node, _ in statements:
        for each in ast.walk(node):
            if isinstance(each, ast.Import):
                for alias in each.names:
                    first = alias.name if alias.asname else alias.name.partition(".")[0]
                    modules[alias.asname or first] = sys.modules.get(first)
            elif isinstance(each, ast.ImportFrom) and each.module and not each.level:
                for alias in each.names:
                    name = alias.asname or alias.name
                    places[name] = each.module, (alias.name,)
                    for value in value_of(places[name]):
                        modules[name] = value
    return modules, places


def _targets(node):
    """Yields the owners, as expressions, and the names of the attributes that a statement or call sets or deletes.

    The owner is None for a name of the notebook. The third is whether the attribute, or what has the name, stays, and
    its content is changed.
    """
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        yield node.value, node.attr, False
    elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        yield from _with_content(node.value)
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        yield None, node.target.id, True
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
        yield from _with_content(node.func.value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
        name = node.args[1] if len(node.args) > 1 else None
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield node.args[0], name.value, False


def _with_content(node):
    if isinstance(node, ast.Attribute):
        yield node.value, node.attr, True
    elif isinstance(node, ast.Name):
        yield None, node.id, True


def _place(node, space, aliases):
    """Returns the module and the path in it of an expression that names a module, or a class or object of a library."""
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    owner = space[node.id] if node.id in space else aliases.get(node.id)
    while path and is_a(owner, (types.ModuleType, type)):
        owner = members(owner).get(path.pop())
    if not is_a(owner, (types.ModuleType, type)):
        home = home_of(owner)
        return None if home is None else (home[0], (home[1], *reversed(path)))
    if type(owner) is types.ModuleType and is_importable(owner) and owner.__name__ != "__main__":
        return owner.__name__, ()
    if is_a(owner, type) and module_of(owner) not in ("__main__", None):
        module, names = module_of(owner), tuple(owner.__qualname__.split("."))
        return (module, names) if value_of((module, names)) == [owner] else None
    return None

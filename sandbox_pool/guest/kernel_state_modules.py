"""Finds what the code has changed in imported modules and in the classes of libraries, such as `math.pi = 3`.

`kernel_state_save.py` imports it inside of a sandbox. Python keeps no list of that, so it reads the blocks that ran:
assignments to an attribute of a module or class, and `setattr` with a name. Functions and classes of the notebook are
found by looking into the modules, too.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import sys
import types
from typing import Any

from kernel_state_objects import is_importable  # type: ignore[import-not-found]
from kernel_values import module_of  # type: ignore[import-not-found]

__all__ = ["apply_attribute", "changed_attributes", "own_attributes"]

ATTRIBUTES = 500
PLAIN = (str, bytes, int, float, complex, bool, type(None))
SETTINGS = {("sys", "path"), ("warnings", "filters")}
"""What the settings have already."""
restored: list[Any] = []
"""The changes that came back from a checkpoint: the blocks that made them ran in another kernel."""


def changed_attributes(space, statements):
    """Returns, as (module, path), the attributes that the code has set or deleted, as far as its text shows."""
    aliases = _aliases(statements)
    found: dict[Any, None] = dict.fromkeys(restored)
    for node, _ in statements:
        for each in ast.walk(node):
            for owner, name in _targets(each):
                if (place := _place(owner, space, aliases)) is not None and len(found) < ATTRIBUTES:
                    found[place[0], (*place[1], name)] = None
    return [place for place in found if (place[0], place[1][0]) not in SETTINGS and not place[1][-1].startswith("__")]


def own_attributes(space, is_own):
    """Yields, as (module, path), attributes of imported modules and their classes that hold definitions of the code."""
    modules = {id(value): value for value in space.values() if type(value) is types.ModuleType}
    modules.pop(id(sys.modules["__main__"]), None)
    for module in modules.values():
        for name, value in list(vars(module).items()):
            if is_own(value):
                yield module.__name__, (name,)
            elif isinstance(value, type) and module_of(value) != "__main__":
                for attribute, member in list(members(value).items()):
                    if is_own(member):
                        yield module.__name__, (name, attribute)


def value_of(place):
    """Returns the value at a place, in a list; an empty one if there is none."""
    module, path = place
    owner: Any = sys.modules.get(module)
    for number, name in enumerate(path):
        if not isinstance(owner, (types.ModuleType, type)) or name not in members(owner):
            return []
        found = members(owner)[name]
        owner = found if number < len(path) - 1 else [found]
    return owner


def is_plain(value):
    """Whether a copy is as good as this value itself."""
    return type(value) in PLAIN


def apply_attribute(change):
    """Restores a change. `change` is a module, a path and the value."""
    module, path, value = change
    __import__(module)
    owner: Any = sys.modules[module]
    for name in path[:-1]:
        owner = members(owner)[name]
    setattr(owner, path[-1], value)
    restored.append((module, tuple(path)))


def members(owner):
    return vars(owner) if isinstance(owner, types.ModuleType) else type.__dict__["__dict__"].__get__(owner)


def _aliases(statements):
    """The modules that functions import for themselves, by the name that they give them."""
    found = {}
    for node, _ in statements:
        for each in ast.walk(node):
            if isinstance(each, ast.Import):
                for alias in each.names:
                    first = alias.name if alias.asname else alias.name.partition(".")[0]
                    found[alias.asname or first] = sys.modules.get(first)
    return found


def _targets(node):
    """Yields the owners, as expressions, and the names of the attributes that a statement or call sets or deletes."""
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        yield node.value, node.attr
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
        name = node.args[1] if len(node.args) > 1 else None
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield node.args[0], name.value


def _place(node, space, aliases):
    """Returns the module and the path in it of an expression that names a module, or a class of a library."""
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    owner = space.get(node.id, aliases.get(node.id))
    for name in reversed(path):
        if not isinstance(owner, (types.ModuleType, type)):
            return None
        owner = members(owner).get(name)
    if type(owner) is types.ModuleType and is_importable(owner) and owner.__name__ != "__main__":
        return owner.__name__, ()
    if isinstance(owner, type) and module_of(owner) not in ("__main__", None):
        module, names = module_of(owner), tuple(owner.__qualname__.split("."))
        return (module, names) if value_of((module, names)) == [owner] else None
    return None

"""Finds what the code has changed in imported modules and in the classes of libraries, such as `math.pi = 3`.

`kernel_state_save.py` imports it inside of a sandbox. `kernel_state_imports.py` knows what modules held when they were
imported. What that does not count, such as a change in a container or of a variable that the library assigns itself, is
found in the text of the blocks that ran: assignments to an attribute of a module or class or to an item of it,
`setattr` with a name, and methods that change a container. Functions and classes of the notebook are found by looking
into the modules, too.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import sys
import types
from typing import Any

from kernel_state_imports import changed_places, members  # type: ignore[import-not-found]
from kernel_state_objects import is_importable  # type: ignore[import-not-found]
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
    aliases = _aliases(statements)
    found: dict[Any, None] = dict.fromkeys([*restored, *changed_places()])
    contents: set[Any] = set()
    for node, _ in statements:
        for each in ast.walk(node):
            for owner, name, is_content in _targets(each):
                if (place := _place(owner, space, aliases)) is None or len(found) >= ATTRIBUTES:
                    continue
                place = place[0], (*place[1], name)
                if is_content and not any(isinstance(value, CONTAINERS) for value in value_of(place)):
                    continue
                found[place] = None
                if is_content:
                    contents.add(place)
    kept = [place for place in found if (place[0], place[1][0]) not in SETTINGS and not place[1][-1].startswith("__")]
    return kept, contents


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


def is_of_library(value):
    """Whether this is a function or class of a library that its own name still finds."""
    if type(value) not in (types.FunctionType, types.BuiltinFunctionType) and not isinstance(value, type):
        return False
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if type(module) is not str or type(name) is not str or module == "__main__":
        return False
    found: Any = sys.modules.get(module)
    for each in name.split("."):
        if not isinstance(found, (types.ModuleType, type)) or each not in members(found):
            return False
        found = members(found)[each]
    return found is value


def apply_attribute(change):
    """Restores a change. `change` is a module, a path and the value."""
    module, path, value = change
    __import__(module)
    owner: Any = sys.modules[module]
    for name in path[:-1]:
        owner = members(owner)[name]
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
        if not isinstance(value, (types.ModuleType, type)) or name not in members(value):
            return None
        value = members(value)[name]
    return value


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
    """Yields the owners, as expressions, and the names of the attributes that a statement or call sets or deletes.

    The third is whether the attribute stays, and its content is changed.
    """
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        yield node.value, node.attr, False
    elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        if isinstance(node.value, ast.Attribute):
            yield node.value.value, node.value.attr, True
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
        if isinstance(node.func.value, ast.Attribute):
            yield node.func.value.value, node.func.value.attr, True
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
        name = node.args[1] if len(node.args) > 1 else None
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield node.args[0], name.value, False


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

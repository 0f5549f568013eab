"""Describes the content of the containers and objects of modules of the workspace, so that changes show.

`kernel_state_imports.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import sys
import types

from kernel_state_spaces import is_a, is_of_workspace, members  # type: ignore[import-not-found]
from kernel_values import module_of  # type: ignore[import-not-found]

__all__ = ["contents_of"]

PLAIN = (str, bytes, int, float, complex, bool, type(None))
NODES, ALL_NODES = 5_000, 50_000
"""How many objects of one variable, and of all variables, of a module of the workspace are looked at."""


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
            is_dict = is_a(value, dict)
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
            home = sys.modules.get(str(module_of(kind)))
            known[id(kind)] = is_a(home, types.ModuleType) and home is not main and is_of_workspace(home)
        return known[id(kind)]

    def is_plain(kind):
        return is_own(kind) and "__slots__" not in members(kind)

    found = {}
    for name, value in list(members(module).items()):
        if room <= 0:
            break
        left, is_whole = NODES, True
        if name[:2] != "__" and not is_a(value, (type, types.ModuleType, types.FunctionType)):
            if type(value) not in PLAIN:
                found[name] = content(value, 6), is_whole
        elif is_a(value, type) and module_of(value) == members(module)["__name__"]:
            found[name] = content({key: each for key, each in members(value).items() if key[:2] != "__"}, 6), False
        room -= NODES - left
    return found

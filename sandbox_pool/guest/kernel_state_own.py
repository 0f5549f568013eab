"""Tells what a library's own functions assign, so that this is not taken for a change that the code has made.

`kernel_state_imports.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import dis
import types
from typing import Any

__all__ = ["OwnNames"]

WRAPPERS: dict[type, str] = {property: "fget", staticmethod: "__func__", classmethod: "__func__"}


class OwnNames:
    """The names that the functions of some modules assign and mention. `before` is what the modules held at import.

    Functions of modules of the workspace do not count.
    """

    def __init__(self, *before):
        self._before = [each for each in before if each.contents is None]
        self._codes: Any = None
        self._words: Any = None

    def assigns(self, name, kind):
        """Whether one of them assigns to this global variable ("GLOBAL"), or to a class's attribute ("ATTR").

        A method that assigns to an attribute of `self` changes an object, and not its class.
        """
        wanted = (f"STORE_{kind}", f"DELETE_{kind}")
        return any(_assigns(code, name, wanted) for code in self._all_codes() if name in code.co_names)

    def sets(self, name):
        """Whether one of them may set this attribute of an object: it assigns to it, or has its name as a text."""
        if self._words is None:
            self._words = {each for code in self._all_codes() for each in code.co_consts if type(each) is str}
            self._words.update(each for before in self._before for _, look in before.classes for each in look.names)
        return name in self._words or any(
            each.opname in ("STORE_ATTR", "DELETE_ATTR") and each.argval == name
            for code in self._all_codes()
            if name in code.co_names
            for each in dis.get_instructions(code)
        )

    def _all_codes(self):
        if self._codes is None:
            self._codes = [code for before in self._before for code in _codes_of(before)]
        return self._codes


def _codes_of(before):
    spaces = [before.look.values, *(look.values for _, look in before.classes)]
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


def _assigns(code, name, wanted):
    before = None
    for each in dis.get_instructions(code):
        if each.opname in wanted and each.argval == name and not (before is not None and _loads_self(code, before)):
            return True
        before = each
    return False


def _loads_self(code, instruction):
    """Whether this instruction leaves the first argument of a method, `self`, for the next one."""
    if not code.co_argcount or code.co_varnames[0] != "self" or "LOAD_FAST" not in instruction.opname:
        return False
    # Some versions of Python load two variables by one instruction.
    loaded = instruction.argval
    return (loaded[-1] if type(loaded) is tuple else loaded) == "self"

"""Tells whether running the source of a function or class again makes it as it is now.

`kernel_state_save.py` imports it inside of a sandbox. The rule is strict: nobody has changed the definition since, and
its source calls nothing that reaches out, draws random numbers or reads a clock.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import textwrap
import types
from typing import Any

from kernel_state_replay import (  # type: ignore[import-not-found]
    is_certain,
    is_fixed,
    is_untouched_lock,
    resolved,
)

__all__ = ["is_remade"]

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LIBRARIES = ("abc", "dataclasses", "functools", "typing")
"""Their decorators only change the class that they get."""


def is_remade(source, value, space):
    """Whether the source makes this function or class as it is. Both are of the notebook."""
    try:
        [node] = ast.parse(textwrap.dedent(source)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if isinstance(node, FUNCTIONS):
        return type(value) is types.FunctionType and not node.decorator_list and _is_same_function(node, value, space)
    return isinstance(node, ast.ClassDef) and isinstance(value, type) and _is_same_class(node, value, space)


def _is_same_function(node, function, space):
    given = (*node.args.defaults, *(each for each in node.args.kw_defaults if each is not None))
    now = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    return (
        not vars(function)
        and len(given) == len(now)
        and all(_is_same(each, value, space) for each, value in zip(given, now, strict=True))
    )


def _is_same_class(node, kind, space):
    for each in (*node.bases, *(keyword.value for keyword in node.keywords)):
        if not isinstance(each, (ast.Name, ast.Attribute)):
            return False
    for each in node.decorator_list:
        callee: Any = resolved(each.func if isinstance(each, ast.Call) else each, space)
        if str(getattr(callee, "__module__", "")).partition(".")[0] not in LIBRARIES:
            return False
    members = dict(type.__dict__["__dict__"].__get__(kind))
    for each in node.body:
        if not _is_same_member(each, kind, members, space):
            return False
    return all(_is_made_by_python(kind, name, value) for name, value in members.items())


def _is_made_by_python(kind, name, value):
    """Whether Python, or a decorator of `LIBRARIES`, makes this member, which is not in the body of the class."""
    if type(value) is types.FunctionType and value.__qualname__ != f"{kind.__qualname__}.{name}":
        return False
    is_slot = type(value) is types.MemberDescriptorType
    return is_slot or name.startswith("_abc_") or (name.startswith("__") and name.endswith("__"))


def _is_same_member(node, kind, members, space):
    """Whether this statement makes a member of the class as it is; takes it out of `members`."""
    if isinstance(node, FUNCTIONS):
        member = members.pop(node.name, None)
        if node.decorator_list:
            return member is not None and all(
                isinstance(each, (ast.Name, ast.Attribute)) for each in node.decorator_list
            )
        is_own = type(member) is types.FunctionType and member.__qualname__ == f"{kind.__qualname__}.{node.name}"
        return is_own and _is_same_function(node, member, space)
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return True
    if isinstance(node, ast.AnnAssign) or (isinstance(node, ast.Assign) and len(node.targets) == 1):
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if not isinstance(target, ast.Name) or target.id not in members:
            return False
        return _is_same(node.value, members.pop(target.id), space)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _is_same(node, value, space):
    """Whether evaluating the expression makes what `value` is now."""
    if isinstance(node, ast.Call):
        return is_certain(node, value, space, "") and is_untouched_lock(value)
    if isinstance(node, (ast.Name, ast.Attribute)):
        return resolved(node, space) is value
    if not is_fixed(node, space):
        return False
    try:
        made = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return type(made) is type(value) and repr(made) == repr(value)

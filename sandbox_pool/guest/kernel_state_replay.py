"""Finds names that cannot be saved and that running one statement again makes exactly as they are.

`kernel_state_save.py` imports it inside of a sandbox. The rule is strict. The name was bound last by
`name = expression` at the top level of a block, and nothing has used it since. The expression calls nothing but what
`MAKERS` lists, a generator function of the notebook, or `open` for a file of the workspace, with constants: nothing
that reaches out, draws random numbers, reads a clock or changes anything. Locks and events may have been used, as long
as nobody holds them now.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import _thread
import ast
import builtins
import inspect
import os
import sys
import types
from typing import Any

__all__ = ["History", "is_certain", "is_fixed", "is_untouched_lock", "resolved"]

CHARS = 2_000
REFLECTION = frozenset(
    """
    globals locals vars exec eval compile getattr dir gc inspect importlib ctypes __import__ __builtins__ __dict__
    get_ipython _getframe modules
    """.split()  # noqa: SIM905
)
"""What reaches objects without their names. A statement with one of these may have used anything."""
MAKERS = {
    "threading": "Lock RLock Event Condition Semaphore BoundedSemaphore Barrier local",
    "queue": "Queue LifoQueue PriorityQueue SimpleQueue",
    "weakref": "WeakSet WeakValueDictionary WeakKeyDictionary",
    "itertools": "count cycle repeat chain islice product permutations combinations accumulate",
    "contextvars": "ContextVar",
    "concurrent.futures": "ThreadPoolExecutor",
    "asyncio": "Lock Event Condition Semaphore Queue",
    "builtins": "range iter enumerate reversed zip list tuple dict set frozenset object",
}
FIXED = (ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.UnaryOp, ast.unaryop, ast.Load, ast.Starred)
BINDING = (
    *(ast.Global, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.alias),
    *(ast.MatchAs, ast.MatchStar, ast.MatchMapping, ast.ExceptHandler),
)
LATER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.GeneratorExp)
"""What is in these may run after later statements."""
ANY_NAME = "__import__"
"""Stands for all the names that `import *` may bind."""
LAZY = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class History:
    """The statements that ran, oldest first, and which names each of them mentions. `complete`: these are all."""

    def __init__(self, statements, *, complete):
        self._statements = statements
        self._complete = complete
        self._uses = [_Uses(node) for node, _ in statements]

    def statement_for(self, name, value, space, workspace):
        """Returns the text of the statement that makes this name's value again; "" if none does for certain."""
        number = self._last_binding(name)
        if number is None:
            return ""
        node, text = self._statements[number]
        source = ast.get_source_segment(text, node) or ""
        if not 0 < len(source) <= CHARS or not is_certain(node.value, value, space, workspace):
            return ""
        if is_untouched_lock(value):
            # Whatever made it: the statement makes one of the same type, and it has no other state.
            made_type = type(resolved(node.value.func, space)())
            return source if not (node.value.args or node.value.keywords) and made_type is type(value) else ""
        return source if self._complete and self._is_unused(name, number) else ""

    def _last_binding(self, name):
        for number in range(len(self._statements) - 1, -1, -1):
            node, _ = self._statements[number]
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
                if isinstance(target, ast.Name) and target.id == name:
                    return number
            if not self._uses[number].bound.isdisjoint((name, ANY_NAME)):
                return None  # Another kind of statement, or a function, may have bound it.
        return None

    def _is_unused(self, name, number):
        """Whether no statement but that of this number can have used the name's value."""
        for other, uses in enumerate(self._uses):
            later = other > number
            if later and (name in uses.mentioned or uses.reflects):
                return False
            # A function that was defined before may have been called since.
            if other != number and (name in uses.inner or uses.inner_reflects):
                return False
        return True


class _Uses:
    """What one statement mentions; `inner` is what functions and classes in it mention, which may run later."""

    def __init__(self, node):
        self.mentioned: set[str] = set()
        self.bound: set[str] = set()
        self.inner: set[str] = set()
        stack = [(node, False)]
        while stack:
            each, inside = stack.pop()
            names = _names_of(each)
            self.mentioned.update(names)
            if inside:
                self.inner.update(names)
            if isinstance(each, BINDING) or (isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load)):
                self.bound.update(names)
            inside = inside or isinstance(each, LATER)
            stack += [(child, inside) for child in ast.iter_child_nodes(each)]
        self.reflects = not REFLECTION.isdisjoint(self.mentioned)
        self.inner_reflects = not REFLECTION.isdisjoint(self.inner)


def _names_of(node):
    """The names that a node itself mentions, also as text: `globals()["name"]`, `setattr(here, "name", 1)`."""
    match node:
        case (
            ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name)
        ):
            return (name,)
        case ast.ClassDef(name=name) | ast.Constant(value=str() as name):
            return (name,)
        case ast.alias(name="*"):
            return (ANY_NAME,)
        case ast.alias(name=name, asname=other):
            return (name.partition(".")[0], *((other,) if other else ()))
        case ast.MatchAs(name=str() as name) | ast.MatchStar(name=str() as name) | ast.MatchMapping(rest=str() as name):
            return (name,)
        case ast.ExceptHandler(name=str() as name):
            return (name,)
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            return tuple(names)
    return ()


def is_certain(node, value, space, workspace):
    """Whether evaluating the expression makes an object like `value`, whatever happened in between."""
    if isinstance(node, ast.GeneratorExp):
        # Only the first iterable is evaluated at once; the rest when somebody asks for the next item, as before.
        return isinstance(value, types.GeneratorType) and is_fixed(node.generators[0].iter, space) and _is_new(value)
    if not isinstance(node, ast.Call) or not _arguments_fixed(node, space):
        return False
    callee = resolved(node.func, space)
    if getattr(callee, "__name__", "") in ("open", "_modified_open") and _is_of(callee, ("io", "_io", "IPython")):
        return _is_open_file(node, value, workspace)
    if any(callee is each for each in _makers()):
        is_other = isinstance(callee, type) and type(value) is not callee
        return not is_other and not _is_of(callee, ("__main__",))  # The code may have replaced `threading.Lock`.
    if type(callee) is types.FunctionType:
        lazy = callee.__code__.co_flags & LAZY and callee.__globals__ is space and not callee.__closure__
        return bool(lazy) and not callee.__defaults__ and not callee.__kwdefaults__ and _is_new(value, callee)
    return False


def _is_of(value, modules):
    return str(getattr(value, "__module__", "")).partition(".")[0] in modules


def _makers():
    for module, names in MAKERS.items():
        for name in names.split():
            if module in sys.modules and hasattr(sys.modules[module], name):
                yield getattr(sys.modules[module], name)


def resolved(node, space):
    """What a name, or a dotted name that begins with a module, stands for; None if that is not certain."""
    if isinstance(node, ast.Name):
        return space.get(node.id, vars(builtins).get(node.id))
    if isinstance(node, ast.Attribute):
        owner = resolved(node.value, space)
        return vars(owner).get(node.attr) if isinstance(owner, types.ModuleType) else None
    return None


def is_fixed(node, space):
    """Whether the expression consists of constants, and of calls that make ranges and the like of them."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            if not any(resolved(each.func, space) is kind for kind in (range, list, tuple, dict, set, frozenset)):
                return False
        elif isinstance(each, ast.Name):
            if each.id in space or each.id not in ("range", "list", "tuple", "dict", "set", "frozenset"):
                return False
        elif not isinstance(each, FIXED):
            return False
    return True


def _arguments_fixed(node, space):
    return all(is_fixed(each, space) for each in (*node.args, *(keyword.value for keyword in node.keywords)))


def _is_new(value, function=None):
    """Whether a generator or coroutine, of this function if one is given, has not begun."""
    for prefix, kind in (("gi", types.GeneratorType), ("cr", types.CoroutineType), ("ag", types.AsyncGeneratorType)):
        if isinstance(value, kind):
            frame, running, code = (getattr(value, f"{prefix}_{part}") for part in ("frame", "running", "code"))
            # Python 3.11 does not say of asynchronous generators whether they have begun.
            begun = running or getattr(value, f"{prefix}_suspended", True)
            return frame is not None and not begun and (function is None or code is function.__code__)
    return False


def _is_open_file(node, value, workspace):
    """Whether the expression opens a file of the workspace, by an absolute or unchanged path, for reading alone."""
    if len(node.args) not in (1, 2) or not all(isinstance(each, ast.Constant) for each in node.args) or node.keywords:
        return False
    path, mode = (*(each.value for each in node.args), "r")[:2]
    if not isinstance(path, str) or mode not in ("r", "rt", "rb") or getattr(value, "closed", True):
        return False
    place = os.path.realpath(path)
    try:
        same = os.path.samestat(os.fstat(value.fileno()), os.stat(place))
        return same and place.startswith(f"{workspace}{os.sep}") and value.tell() == 0
    except (OSError, ValueError):
        return False


def is_untouched_lock(value: Any) -> bool:
    """Whether this is a lock that nobody holds, or an event that is not set and for which nobody waits."""
    if isinstance(value, _thread.LockType):
        return not value.locked()
    if isinstance(value, _thread.RLock):
        return " count=0 " in repr(value)
    threading = sys.modules.get("threading")
    if threading is not None and type(value) is threading.Event:
        parts = vars(value)
        condition = parts.get("_cond")
        waiters = getattr(condition, "_waiters", [None])
        return parts.keys() == {"_cond", "_flag"} and not parts["_flag"] and not waiters
    return False

"""Frees the memory that IPython would use for results and errors of earlier blocks, except for the last result.

`kernel_main.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import builtins
import contextlib
import gc
import itertools
import sys
from typing import Any

from ipykernel.displayhook import ZMQShellDisplayHook

__all__ = ["DisplayHook", "forget_failure", "forget_result"]

KEPT_BYTES = 10_000_000
"""A larger value is not stored as `_`: code that shows a new version of it in each block would need it twice."""
COUNTED_ITEMS = (0, 4, 20, 100)
LAST = ("_", "__", "___")


class DisplayHook(ZMQShellDisplayHook):
    shell: Any

    def update_user_ns(self, result):
        names, hidden = self.shell.user_ns, self.shell.user_ns_hidden
        history = names.get("_oh", {})
        if result is history:
            return
        own = [name for name in LAST if name in names and names[name] is not getattr(self, name)]
        for number in list(history):
            hidden.pop(f"_{number}", None)
            names.pop(f"_{number}", None)
        history.clear()
        self._ = self.__ = self.___ = ""
        small = size_of(result) <= KEPT_BYTES
        if small:
            history[self.prompt_count] = self._ = result
            self.shell.push({f"_{self.prompt_count}": result}, interactive=False)
        if not own and "_" not in vars(builtins):
            self.shell.push({name: getattr(self, name) for name in LAST}, interactive=False)
        elif own:
            for name in LAST:
                hidden.pop(name, None)

    def log_output(self, format_dict):
        """Does nothing: there is no history of outputs."""


def forget_result(shell):
    """Drops the reference to the last execution's result, which IPython keeps in addition to the code's variables."""
    if shell.last_execution_result is not None:
        shell.last_execution_result.result = None


def forget_failure(shell):
    """Drops the references to the last error's frames and their variables. It may take tens of milliseconds."""
    result = shell.last_execution_result
    if result is not None:
        result.error_in_exec = result.error_before_exec = None
    shell.code_error = None
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        vars(sys).pop(name, None)
    shell.InteractiveTB.tb = shell.InteractiveTB.pdb = None
    with contextlib.suppress(AttributeError):
        shell.history_manager.exceptions.clear()
    gc.collect()


def size_of(value, depth=3):
    """Estimates the size of a value in bytes, with its contents. Of many items, it measures a few."""
    try:
        size = getattr(value, "nbytes", None)
        if isinstance(size, int):
            return size
        if callable(getattr(type(value), "memory_usage", None)):
            usage = value.memory_usage()
            return int(usage.sum() if hasattr(usage, "sum") else usage)
        if callable(getattr(type(value), "estimated_size", None)):
            return int(value.estimated_size())
        size = sys.getsizeof(value, 0)
        attributes = getattr(value, "__dict__", None)
        for items in (value, attributes):
            if depth and isinstance(items, (list, tuple, set, frozenset, dict)) and len(items):
                some = list(
                    itertools.islice(items.values() if isinstance(items, dict) else items, COUNTED_ITEMS[depth])
                )
                size += sum(size_of(item, depth - 1) for item in some) * len(items) // len(some)
    except Exception:
        # The value's class is the code's own, and may raise anything.
        return 0
    return size

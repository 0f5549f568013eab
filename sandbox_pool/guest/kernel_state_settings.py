"""Collects and restores what belongs to the kernel's process: environment, working directory, random states, options.

`kernel_state.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import decimal
import linecache
import os
import sys
import warnings
from functools import partial
from typing import Any

from kernel_state_classes import restore_order  # type: ignore[import-not-found]
from kernel_state_draws import NOW, START, apply_draws  # type: ignore[import-not-found]
from kernel_state_modules import apply_attribute  # type: ignore[import-not-found]
from kernel_state_process import Process, apply  # type: ignore[import-not-found]
from kernel_text import encodable  # type: ignore[import-not-found]

__all__ = ["Settings"]

VALUE_CHARS = 20_000
VARIABLES = 500
CELLS_CHARS = 2_000_000
LEFT_OUT = ("backend", "interactive", "figure.", "webagg", "toolbar")


class Settings:
    """Create it before the code runs: what has not changed since then is not saved."""

    def __init__(self):
        self._environment = dict(os.environ)
        self._path = list(sys.path)
        self._filters = list(warnings.filters)
        self._recursion = sys.getrecursionlimit()
        self.process = Process()

    def plain(self, workspace):
        """Returns the manifest's entries for the working directory and the environment, and the variables left out."""
        changed = {name: value for name, value in os.environ.items() if self._environment.get(name) != value}
        gone = dict.fromkeys(self._environment.keys() - os.environ.keys())
        environment = {
            name: value
            for name, value in list({**changed, **gone}.items())[:VARIABLES]
            if encodable(name) == name
            and (value is None or encodable(value) == value)
            and len(value or "") < VALUE_CHARS
        }
        try:
            cwd = os.path.relpath(os.getcwd(), workspace)
        except OSError:
            cwd = "."  # The code has deleted it.
        left_out = sorted((changed.keys() | gone.keys()) - environment.keys())
        return {"cwd": cwd if encodable(cwd) == cwd else ".", "environment": environment}, left_out

    def looks(self, filters, recursion):
        """Yields functions that return what is pickled, by name; each with what it looks at.

        `filters` of warnings and the limit of `recursion` are those before the fork has changed them.
        """
        yield "sys.path", lambda: {"sys.path": _changes_of_path(self._path)} if sys.path != self._path else {}
        yield "filters of warnings", lambda: {"warnings": filters} if filters != self._filters else {}
        yield "recursion limit", lambda: {"recursion": recursion} if recursion != self._recursion else {}
        yield "context of decimal", _decimal
        yield from self.process.looks()
        yield "text of blocks", lambda: {"cells": cells} if (cells := _cells()) else {}
        for module, collect in (("numpy", _numpy), ("pandas", _pandas), ("matplotlib", _matplotlib)):
            if module in sys.modules:
                yield f"options of {module}", partial(collect, sys.modules[module])

    @staticmethod
    def apply(name, value):
        """Restores one of `objects`."""
        if name in NOW or name.endswith(START):
            apply_draws(name, value)
        elif name == "sys.path":
            before, after, gone = value
            kept = [each for each in sys.path if each not in (*before, *after, *gone)]
            sys.path[:] = [*before, *kept, *after]
        elif name == "warnings":
            warnings.filters[:] = value  # type: ignore[index]
            getattr(warnings, "_filters_mutated", lambda: None)()
        elif name == "recursion":
            sys.setrecursionlimit(value)
        elif name == "decimal":
            decimal.setcontext(value)
        elif name == "cells":
            for file, entry in value.items():
                linecache.cache.setdefault(file, entry)
        elif name == "numpy options":
            import numpy as np

            np.set_printoptions(**value[0])
            np.seterr(**value[1])
            if len(value) > 2:
                np.setbufsize(value[2])
        elif name == "numpy errcall":
            import numpy as np

            np.seterrcall(value)
        elif name.startswith("pandas option "):
            import pandas as pd

            pd.set_option(name.removeprefix("pandas option "), value)
        elif name == "matplotlib options":
            import matplotlib as mpl

            mpl.rcParams.update(value)
        elif name == "matplotlib figures":
            _renumber(value)
        elif name == "matplotlib backend":
            import matplotlib as mpl

            mpl.use(value, force=False)
        elif name == "empty directories":
            for path in value:
                os.makedirs(path, exist_ok=True)
        elif name == "annotations":
            vars(sys.modules["__main__"]).setdefault("__annotations__", {}).update(value)
        elif name == "order of subclasses":
            restore_order(value)
        elif name.startswith("process "):
            apply(name, value)
        elif name.startswith("attribute "):
            apply_attribute(value)

    @staticmethod
    def restore_environment(environment):
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _decimal():
    context = decimal.getcontext()
    return {"decimal": context.copy()} if repr(context) != repr(decimal.DefaultContext) else {}


def _changes_of_path(original):
    """Returns what the code has put before and after the original entries, and which of these it has removed."""
    now = [each for each in sys.path if isinstance(each, str)]
    kept = [number for number, each in enumerate(now) if each in original]
    first = kept[0] if kept else len(now)
    own = [(number, each) for number, each in enumerate(now) if each not in original]
    return (
        [each for number, each in own if number < first],
        [each for number, each in own if number > first],
        [each for each in original if each not in now],
    )


def _cells():
    """The sources of the cells, so that tracebacks and `inspect.getsource` still show those of definitions."""
    found, chars = {}, 0
    for file, entry in reversed(list(linecache.cache.items())):
        if "ipykernel_" in file and len(entry) == 4 and entry[1] is None:
            chars += entry[0]
            if chars > CELLS_CHARS:
                break
            found[file] = entry
    return found


def _numpy(np):
    found = {}
    found["numpy options"] = (np.get_printoptions(), np.geterr(), np.getbufsize())
    if np.geterrcall() is not None:
        found["numpy errcall"] = np.geterrcall()
    return found


def _pandas(pd):
    config = sys.modules["pandas._config.config"]
    found = {}
    for name, option in vars(config)["_registered_options"].items():
        with contextlib.suppress(Exception):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = pd.get_option(name)
            if value is not option.defval and value != option.defval:
                found[f"pandas option {name}"] = value
    return found


def _matplotlib(mpl):
    default = mpl.rcParamsDefault
    changed = {
        name: mpl.rcParams[name]
        for name in mpl.rcParams
        if not name.startswith(LEFT_OUT[0]) and name in default and mpl.rcParams[name] != default[name]
    }
    found: dict[str, Any] = {"matplotlib options": changed} if changed else {}
    backend = dict.__getitem__(mpl.rcParams, "backend")
    if isinstance(backend, str) and backend != _backend_at_start(mpl):
        found["matplotlib backend"] = backend
    if mark_figures():
        found["matplotlib figures"] = True
    return found


def _backend_at_start(mpl):
    """The backend that a fresh kernel has once matplotlib is imported."""
    backend = os.environ.get("MPLBACKEND")
    return backend or dict.__getitem__(mpl.rcParamsOrig, "backend")


def mark_figures():
    """Notes in each figure that pyplot manages its number and its place. Returns whether there is any."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    if "matplotlib.pyplot" not in sys.modules or helpers is None:
        return False
    figures = vars(helpers)["Gcf"].figs
    for place, (number, manager) in enumerate(list(figures.items())):
        manager.canvas.figure.codeact_number = number, place
    return bool(figures)


def _renumber(_):
    """Gives the figures that came back the numbers and the order that they had."""
    from matplotlib._pylab_helpers import Gcf

    found = []
    for manager in list(Gcf.figs.values()):
        number, place = vars(manager.canvas.figure).pop("codeact_number", (manager.num, len(Gcf.figs)))
        found.append((place, number, manager))
    Gcf.figs.clear()
    for _place, number, manager in sorted(found, key=lambda each: each[:2]):
        manager.num = number
        Gcf.figs[number] = manager

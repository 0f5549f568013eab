"""Collects and restores what belongs to the kernel's process: environment, working directory, random states, options.

`kernel_state.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import decimal
import linecache
import os
import random
import sys
import warnings

from kernel_state_modules import apply_attribute  # type: ignore[import-not-found]
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

    def objects(self, random_state):
        """Returns what is pickled, by name. `random_state` is that of `random` before the fork."""
        found = {"random": random_state}
        if sys.path != self._path:
            found["sys.path"] = [each for each in sys.path if isinstance(each, str) and each not in self._path]
        if warnings.filters != self._filters:
            found["warnings"] = list(warnings.filters)
        if sys.getrecursionlimit() != self._recursion:
            found["recursion"] = sys.getrecursionlimit()
        context = decimal.getcontext()
        if repr(context) != repr(decimal.DefaultContext):
            found["decimal"] = context.copy()
        cells = _cells()
        if cells:
            found["cells"] = cells
        for module, collect in (("numpy", _numpy), ("pandas", _pandas), ("matplotlib", _matplotlib)):
            if module in sys.modules:
                with contextlib.suppress(Exception):
                    found |= collect(sys.modules[module])
        return found

    @staticmethod
    def apply(name, value):
        """Restores one of `objects`."""
        if name == "random":
            random.setstate(value)
        elif name == "sys.path":
            sys.path.extend(each for each in value if each not in sys.path)
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
        elif name == "numpy.random":
            import numpy as np

            np.random.set_state(value)
        elif name == "numpy options":
            import numpy as np

            np.set_printoptions(**value[0])
            np.seterr(**value[1])
        elif name.startswith("pandas option "):
            import pandas as pd

            pd.set_option(name.removeprefix("pandas option "), value)
        elif name == "matplotlib options":
            import matplotlib as mpl

            mpl.rcParams.update(value)
        elif name.startswith("attribute "):
            apply_attribute(value)

    @staticmethod
    def restore_environment(environment):
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
    if "numpy.random" in sys.modules:
        found["numpy.random"] = np.random.get_state()
    found["numpy options"] = (np.get_printoptions(), np.geterr())
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
    return {"matplotlib options": changed} if changed else {}

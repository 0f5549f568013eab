"""Keeps the states of the generators of random numbers: those at the kernel's start, and those of now.

`kernel_state.py`, `kernel_state_save.py` and `kernel_state_settings.py` import it inside of a sandbox. With the states
at the start, a block that draws numbers without a seed draws the same ones when it runs again.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import random
import sys
from typing import Any

from kernel_state_imports import after_import  # type: ignore[import-not-found]

__all__ = ["NOW", "START", "apply_draws", "draws_at_start", "draws_now", "note_start"]

START, NOW = " at start", ("random", "numpy.random")
at_start: dict[str, Any] = {}


def note_start():
    """Remembers the states before any code runs, and that of numpy's generator once it is imported."""
    at_start["random"] = random.getstate()
    if "numpy.random" in sys.modules:
        _note_numpy()
    else:
        after_import["numpy.random"] = _note_numpy


def _note_numpy():
    at_start["numpy.random"] = sys.modules["numpy.random"].get_state()


def draws_at_start():
    """Returns the states at the start, by the names under which they are saved."""
    return {f"{name}{START}": state for name, state in at_start.items()}


def draws_now(random_state):
    """Returns the states of now, by name. `random_state` is that before the fork, which Python seeds anew."""
    found = {"random": random_state}
    if "numpy.random" in sys.modules:
        found["numpy.random"] = sys.modules["numpy.random"].get_state()
    return found


def apply_draws(name, state):
    """Restores one of them. The generator has a state at the start until the state of then comes back."""
    if name.endswith(START):
        name = name.removesuffix(START)
        at_start[name] = state
        after_import.pop(name, None)
    if name == "random":
        random.setstate(state)
    else:
        import numpy as np

        np.random.set_state(state)

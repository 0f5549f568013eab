"""Keeps the order of the subclasses of a class, in which `__subclasses__()` and many registries of plug-ins list them.

`kernel_state_save.py` and `kernel_state_settings.py` import it inside of a sandbox. Python lists subclasses in the
order in which they were made; a checkpoint makes classes in another order.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import graphlib
import itertools
from typing import Any

__all__ = ["order_of_subclasses", "restore_order"]

bases_of: Any = type.__dict__["__bases__"].__get__


def order_of_subclasses(classes):
    """Returns, for each base of at least two of these classes, the base and these of its subclasses, in their order."""
    known = {id(kind) for kind in classes}
    bases = {id(base): base for kind in classes for base in bases_of(kind) if base is not object}
    found = ((base, _subclasses(base, known)) for base in bases.values())
    return [(base, subclasses) for base, subclasses in found if len(subclasses) > 1]


def restore_order(order):
    """Gives the classes the order of `order_of_subclasses`. Raises `RuntimeError` if that cannot be done."""
    if _is_so(order):
        return
    kinds: dict[int, Any] = {}
    sorter: Any = graphlib.TopologicalSorter()
    for _, subclasses in order:
        kinds.update((id(kind), kind) for kind in subclasses)
        for one, other in itertools.pairwise(subclasses):
            sorter.add(id(other), id(one))
    for number in sorter.static_order():
        # Python takes the class off the lists of its bases, and puts it at their end.
        type.__setattr__(kinds[number], "__bases__", bases_of(kinds[number]))
    if not _is_so(order):
        raise RuntimeError("the subclasses of a class are in another order")


def _is_so(order):
    return all(_subclasses(base, set(map(id, subclasses))) == subclasses for base, subclasses in order)


def _subclasses(base, known):
    return [kind for kind in type.__subclasses__(base) if id(kind) in known]

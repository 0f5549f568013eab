"""Knows the models whose chat template drops the opening `<think>` (DeepSeek R1, QwQ).

Known by name, until a reply tells better; what was learnt of a model lasts as long as the model.
"""

import re
from weakref import WeakKeyDictionary, WeakSet

from codeact.model import Model

__all__ = ["is_learnt", "learn", "learn_reasons", "reasons", "swallows_think"]

_NAMES = re.compile(
    r"(?:^|[^a-z])(?:r1|qwq|think|thinking|thinker|reasoner|reasoning|marco-o1|openthinker\w*|sky-t1|z1)(?![a-z])",
    re.IGNORECASE,
)
_LEARNT: WeakKeyDictionary[Model, bool] = WeakKeyDictionary()
_REASONERS: WeakSet[Model] = WeakSet()


def swallows_think(model: Model) -> bool:
    """Whether a reply of this model probably begins inside of a thought."""
    learnt = _LEARNT.get(model)
    return bool(_NAMES.search(model.name[:500])) if learnt is None else learnt


def is_learnt(model: Model) -> bool:
    return model in _LEARNT


def learn(model: Model, swallows: bool) -> None:
    _LEARNT[model] = swallows


def reasons(model: Model) -> bool:
    """Whether this model probably thinks before it answers. Its thoughts may hold any text, that of a `stop` too."""
    return model in _REASONERS or swallows_think(model)


def learn_reasons(model: Model, *, unless: bool = False) -> None:
    """A reply of the model held thoughts, or nothing but them."""
    if not unless:
        _REASONERS.add(model)

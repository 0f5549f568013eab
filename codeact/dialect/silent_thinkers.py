"""Remembers which models have a chat template that drops the opening `<think>` (DeepSeek R1, QwQ).

The first guess is by the model's name; replies correct it. What was learnt lasts as long as the model object.
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
    """Whether a reply of this model probably begins inside a thought."""
    learnt = _LEARNT.get(model)
    return bool(_NAMES.search(model.name[:500])) if learnt is None else learnt


def is_learnt(model: Model) -> bool:
    return model in _LEARNT


def learn(model: Model, swallows: bool) -> None:
    _LEARNT[model] = swallows


def reasons(model: Model) -> bool:
    """Whether this model probably thinks before it answers. Its thoughts may contain the text of a `stop` sequence."""
    return model in _REASONERS or swallows_think(model)


def learn_reasons(model: Model) -> None:
    """Remembers that the model thinks, after a reply with thoughts, or with nothing but them."""
    _REASONERS.add(model)

"""Reasoning that a client holds encrypted (`reasoning.encrypted_content`): what its model wants back, and nobody reads.

An item that comes back stands before the message of the assistant that it led to, and is kept on that. Which model may
read it is decided where prompts are built (`codeact.dialect.history`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from codeact.events import InputMessage, KeptReasoning, Reasoning
from codeact.runs.input_items import SealedReasoning
from codeact.sealing import Sealer, Unsealable
from codeact.store.run_store import RunStore

__all__ = ["opened", "seal_of", "sealing"]

KIND = "reasoning"
ELSEWHERE = "another server"
"""Stands for the model whose reasoning was not encrypted here; it is no name that a model can have."""
T = TypeVar("T")


def seal_of(item: Reasoning, sealer: Sealer, *, owner: str) -> str | None:
    """The item's `encrypted_content`; None where its model wants nothing back."""
    if item.kept is None or not (fields := item.kept.back(item)):
        return None
    return sealer.seal(KIND, msgspec.json.encode(fields), owner=owner, model=item.kept.model)


async def sealing(store: RunStore, *, owner: str) -> Callable[[Reasoning], str | None]:
    """Gives each item its `encrypted_content`."""
    return partial(seal_of, sealer=await store.sealing.sealer(), owner=owner)


async def opened(messages: Sequence[T], store: RunStore, *, owner: str) -> list[T]:
    """The messages with the sealed items kept on what they led to.

    One that was not sealed here for this owner is left out. The next message is marked, so that the answer says so.
    """
    if not any(isinstance(message, SealedReasoning) for message in messages):
        return list(messages)
    sealer = await store.sealing.sealer()
    found: list[T] = []
    kept: KeptReasoning | None = None
    for message in messages:
        if isinstance(message, SealedReasoning):
            kept = _joined(kept, _open(message, sealer, owner))
            continue
        if kept is not None and isinstance(message, InputMessage) and _takes(message, kept):
            message.kept = kept
        kept = None
        found.append(message)
    return found


def _takes(message: InputMessage, kept: KeptReasoning) -> bool:
    return message.role == "assistant" or kept.model == ELSEWHERE


def _open(message: SealedReasoning, sealer: Sealer, owner: str) -> KeptReasoning:
    try:
        sealed = sealer.open(KIND, message.sealed, owner=owner)
    except Unsealable:
        return KeptReasoning(model=ELSEWHERE)
    return KeptReasoning(model=sealed.model, data=msgspec.json.decode(sealed.content, type=dict[str, Any]))


def _joined(before: KeptReasoning | None, kept: KeptReasoning) -> KeptReasoning:
    """Two items in a row are one, where they are of the same model; else the later one counts."""
    if before is None or before.model != kept.model:
        return kept
    data = dict(before.data)
    for name, value in kept.data.items():
        same = name in data and type(data[name]) is type(value) and isinstance(value, str | list)
        data[name] = data[name] + value if same else value
    return KeptReasoning(model=kept.model, data=data)

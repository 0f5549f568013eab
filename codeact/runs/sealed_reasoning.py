"""Encrypted reasoning (`reasoning.encrypted_content`) that clients store: only this server can pass it to its model.

A client sends the item back before the assistant's message to which it led, and `opened` attaches it to that message.
`codeact.dialect.history` decides which model reads it.
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
"""In place of a model's name: reasoning that this server did not encrypt. No model can have this name."""
T = TypeVar("T")


def seal_of(item: Reasoning, sealer: Sealer, *, owner: str) -> str | None:
    """Returns the item's `encrypted_content`, or None if its model needs nothing back."""
    if item.kept is None or not (fields := item.kept.back(item)):
        return None
    return sealer.seal(KIND, msgspec.json.encode(fields), owner=owner, model=item.kept.model)


async def sealing(store: RunStore, *, owner: str) -> Callable[[Reasoning], str | None]:
    """Returns a function that encrypts an item's reasoning; see `seal_of`."""
    return partial(seal_of, sealer=await store.sealing.sealer(), owner=owner)


async def opened(messages: Sequence[T], store: RunStore, *, owner: str) -> list[T]:
    """Decrypts sealed items and attaches their reasoning to the messages after them.

    Reasoning that was not sealed on this server for this owner is dropped. Then the next message is marked with the
    model `ELSEWHERE`, so that the answer gets a notice about that.
    """
    if not any(isinstance(message, SealedReasoning) for message in messages):
        return list(messages)
    sealer = await store.sealing.sealer()
    opened_messages: list[T] = []
    kept: KeptReasoning | None = None
    for message in messages:
        if isinstance(message, SealedReasoning):
            kept = _joined(kept, _open(message, sealer, owner))
            continue
        if kept is not None and isinstance(message, InputMessage) and _takes(message, kept):
            message.kept = kept
        kept = None
        opened_messages.append(message)
    return opened_messages


def _takes(message: InputMessage, kept: KeptReasoning) -> bool:
    return message.role == "assistant" or kept.model == ELSEWHERE


def _open(message: SealedReasoning, sealer: Sealer, owner: str) -> KeptReasoning:
    try:
        sealed = sealer.open(KIND, message.sealed, owner=owner)
    except Unsealable:
        return KeptReasoning(model=ELSEWHERE)
    return KeptReasoning(model=sealed.model, data=msgspec.json.decode(sealed.content, type=dict[str, Any]))


def _joined(before: KeptReasoning | None, kept: KeptReasoning) -> KeptReasoning:
    """Joins two consecutive items of the same model; of different models the later one counts."""
    if before is None or before.model != kept.model:
        return kept
    data = dict(before.data)
    for name, value in kept.data.items():
        same = name in data and type(data[name]) is type(value) and isinstance(value, str | list)
        data[name] = data[name] + value if same else value
    return KeptReasoning(model=kept.model, data=data)

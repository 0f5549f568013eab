"""Encrypted compactions (`encrypted_content`) that clients store: the text for the model, readable for one owner only.

The encrypted content includes the conversation's id, so that a client that sends it back keeps that sandbox.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from codeact.errors import InvalidRequest
from codeact.events import Compaction
from codeact.ids import new_id
from codeact.runs.sent_compactions import SealedCompaction
from codeact.sealing import Sealer, Unsealable
from codeact.store.run_store import RunStore

__all__ = ["compaction_seal", "conversation_of", "opened_compactions"]

KIND = "compaction"
MOST_CHARS = 400_000
"""Limit for the encrypted content: several times the size of our compactions."""
T = TypeVar("T")


class _Content(msgspec.Struct):
    text: str
    conversation_id: str | None = None


_decoder = msgspec.json.Decoder(_Content)


async def compaction_seal(store: RunStore, *, owner: str, conversation_id: str | None) -> Callable[[str], str] | None:
    """Returns a function that encrypts a text. `conversation_id` is None if the conversation is not stored.

    Returns None for an agent without the packages of a server, which has no clients that could send a text back.
    """
    try:
        sealer = await store.sealing.sealer()
    except ModuleNotFoundError:
        if not store.in_memory:
            raise
        return None

    def seal(text: str) -> str:
        return sealer.seal(KIND, msgspec.json.encode(_Content(text, conversation_id)), owner=owner)

    return seal


async def opened_compactions(messages: Sequence[T], store: RunStore, *, owner: str) -> list[T | Compaction]:
    """Returns the messages with each encrypted compaction replaced by its decrypted item.

    Raises `InvalidRequest` for one that this server did not encrypt for this owner, or that was changed.
    """
    if not any(isinstance(message, SealedCompaction) for message in messages):
        return list(messages)
    sealer = await store.sealing.sealer()
    opened: list[T | Compaction] = []
    for message in messages:
        if isinstance(message, SealedCompaction):
            text = _open(message, sealer, owner).text
            opened.append(Compaction(id=new_id("cmp"), text=text, encrypted_content=message.sealed))
        else:
            opened.append(message)
    return opened


async def conversation_of(messages: Sequence[object], store: RunStore, *, owner: str) -> str | None:
    """Returns the conversation's id in the last encrypted compaction, or None.

    Raises `InvalidRequest` like `opened_compactions`.
    """
    sealed = [message for message in messages if isinstance(message, SealedCompaction)]
    return _open(sealed[-1], await store.sealing.sealer(), owner).conversation_id if sealed else None


def _open(message: SealedCompaction, sealer: Sealer, owner: str) -> _Content:
    try:
        if len(message.sealed) > MOST_CHARS:
            raise Unsealable("It is too long.")
        return _decoder.decode(sealer.open(KIND, message.sealed, owner=owner).content)
    except (Unsealable, msgspec.MsgspecError):
        raise InvalidRequest(
            "The 'encrypted_content' of this compaction was not made by this server for you, or it was changed. Send it"
            " back as it came, or send the messages that it stands for.",
            param=message.param,
            code="invalid_encrypted_content",
        ) from None

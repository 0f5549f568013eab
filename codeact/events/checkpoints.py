"""The item of a checkpoint, and the event that says that the state of one has come back."""

import msgspec

from codeact.events.progress import NumberedEvent

__all__ = ["CheckpointItem", "CheckpointRestored", "NotRestored"]


class CheckpointItem(msgspec.Struct, tag="codeact:checkpoint", kw_only=True):
    """The saved state of the kernel and its files after a response: how many names and files, and how many bytes.

    It is an item of the conversation and not of the response, since it is taken after the response has ended.
    """

    id: str
    response_id: str
    container_id: str
    created_at: int
    bytes: int
    names: int
    not_saved: int
    files: int


class NotRestored(msgspec.Struct):
    """A name or file that did not come back."""

    name: str
    reason: str


class CheckpointRestored(NumberedEvent, tag="codeact:checkpoint.restored"):
    """The response's sandbox, `container_id`, has the state of a checkpoint now; code runs in it from here on.

    `rerun` names what came back by running the code again that made it. `not_restored` is what did not come back.
    """

    checkpoint: CheckpointItem
    container_id: str
    seconds: float
    rerun: list[str]
    not_restored: list[NotRestored]

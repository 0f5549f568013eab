"""A checkpoint of a conversation as the store returns it, without the content of its blobs."""

from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["STATE_TYPE", "CheckpointKey", "CheckpointRecord"]

STATE_TYPE = "application/x-codeact-state"
"""The media type of blobs with a part of a checkpoint."""


class CheckpointKey(NamedTuple):
    """Which checkpoint it is, without its manifest and its parts, which may be many megabytes."""

    id: str
    response_id: str
    container_id: str


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """The state of a conversation's kernel and files after the response `response_id`. Times are Unix seconds.

    `manifest` is what the sandbox said of it, as JSON; the blobs `parts` hold the content, in a form that only a
    sandbox reads. `placed` are the user's files that had been put into the workspace before: name and SHA-256.
    `size_bytes` is the size of all parts, including those that other checkpoints share. With `before` it is the state
    before the code of that item of the response, which can wait; it serves that code alone.
    """

    id: str
    owner: str
    conversation_id: str
    response_id: str
    container_id: str
    created_at: float
    manifest: bytes = field(repr=False)
    parts: tuple[str, ...] = field(repr=False)
    placed: tuple[tuple[str, str], ...]
    size_bytes: int
    epoch: int = 0
    before: str | None = None

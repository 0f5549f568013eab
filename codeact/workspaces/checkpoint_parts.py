"""Stores the parts of one checkpoint that is being taken, and makes it valid once all of them are stored."""

from collections.abc import Callable
from dataclasses import replace

import anyio

from codeact.store import Store
from codeact.store.checkpoint_record import CheckpointRecord
from sandbox_pool.checkpoint import Manifest, encode_manifest
from sandbox_pool.errors import QuotaExceeded

__all__ = ["Parts"]

BATCH_BYTES, BATCH_PARTS = 2_000_000, 200
"""How much of a checkpoint is in memory before it is stored."""


class Parts:
    """The parts of one checkpoint, which are stored a few megabytes at a time.

    `room_bytes` is what the owner may store. Not safe for concurrent calls.
    """

    def __init__(self, store: Store, record: CheckpointRecord, room_bytes: Callable[[], float]) -> None:
        self._checkpoints = store.checkpoints
        self._record = record
        self._room_bytes = room_bytes
        self._waiting: dict[str, bytes] = {}
        self._waiting_bytes = self._new_bytes = 0
        self._has_begun = self._is_complete = False

    @property
    def response_id(self) -> str:
        return self._record.response_id

    @property
    def is_before_code(self) -> bool:
        return self._record.before is not None

    @property
    def state_id(self) -> str:
        return self._record.before or self._record.response_id

    async def put(self, sha256: str, content: bytes) -> None:
        """Stores a part, or keeps it until enough of them wait. Raises `QuotaExceeded` and `StoreError`."""
        self._new_bytes += len(content)
        if self._new_bytes > self._room_bytes():
            raise QuotaExceeded("The owner keeps as many bytes as they may (stored_mb).")
        self._waiting[sha256] = content
        self._waiting_bytes += len(content)
        if self._waiting_bytes >= BATCH_BYTES or len(self._waiting) >= BATCH_PARTS:
            await self._flush()

    async def complete(self, manifest: Manifest) -> bool:
        """Makes the checkpoint valid. Returns False if parts of an earlier checkpoint are not stored any more."""
        await self._flush()
        self._record = await anyio.to_thread.run_sync(_with_manifest, self._record, manifest)
        self._is_complete = await self._checkpoints.complete(self._record)
        return self._is_complete

    async def discard_incomplete(self) -> None:
        """Removes what was stored, unless the checkpoint is complete. Raises `StoreError`."""
        if self._has_begun and not self._is_complete:
            await self._checkpoints.discard(self._record.id)

    async def _flush(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            await self._checkpoints.begin(self._record)
        waiting, self._waiting, self._waiting_bytes = self._waiting, {}, 0
        if waiting:
            await self._checkpoints.put_parts(self._record.id, waiting, owner=self._record.owner)


def _with_manifest(record: CheckpointRecord, manifest: Manifest) -> CheckpointRecord:
    return replace(
        record,
        manifest=encode_manifest(manifest),
        parts=tuple(sorted(manifest.parts())),
        size_bytes=manifest.total_bytes,
    )

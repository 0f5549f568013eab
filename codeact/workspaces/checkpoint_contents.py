"""Reads what a stored checkpoint holds: its manifest, and the item that clients get."""

from codeact.concurrency.offloop import off_loop
from codeact.errors import CodeActError
from codeact.events import CheckpointItem
from codeact.store.checkpoint_record import CheckpointRecord
from sandbox_pool.checkpoint import Manifest, to_manifest

__all__ = ["UnreadableCheckpoint", "manifest_of", "read_item", "read_manifest"]


class UnreadableCheckpoint(CodeActError):
    """A newer version of the server stored the checkpoint, or it is damaged."""

    code = "checkpoint_unreadable"
    status = 409


def manifest_of(record: CheckpointRecord) -> Manifest:
    """Returns what the checkpoint holds. Raises `UnreadableCheckpoint`."""
    try:
        return to_manifest(record.manifest)
    except ValueError:
        raise UnreadableCheckpoint(f"This version of the server cannot read the checkpoint '{record.id}'.") from None


async def read_manifest(record: CheckpointRecord) -> Manifest:
    """Like `manifest_of`; a large manifest is decoded off the event loop."""
    return await off_loop(len(record.manifest), manifest_of, record)


async def read_item(record: CheckpointRecord) -> CheckpointItem:
    """The checkpoint as an item of its conversation; a large manifest is decoded off the event loop."""
    return await off_loop(len(record.manifest), _item, record)


def _item(record: CheckpointRecord) -> CheckpointItem:
    """Returns the checkpoint as an item of its conversation. Raises `UnreadableCheckpoint`."""
    manifest = manifest_of(record)
    return CheckpointItem(
        id=record.id,
        response_id=record.response_id,
        container_id=record.container_id,
        created_at=int(record.created_at),
        bytes=record.size_bytes,
        names=len(manifest.names()) + len(manifest.imports) + sum(each.rerun for each in manifest.sources),
        not_saved=len(manifest.unsaved),
        files=len(manifest.files),
    )

"""Brings the state of a checkpoint into a fresh sandbox: from what was saved, or by running its blocks of code again.

The server never reads what a checkpoint's parts contain: sandboxes write them, and sandboxes read them.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from codeact.component import Component
from codeact.errors import CodeActError, NotFound
from codeact.events import CheckpointItem, CheckpointRestored, NotRestored
from codeact.store import Store
from codeact.store.checkpoint_record import CheckpointRecord
from codeact.workspaces.checkpoint_contents import read_item, read_manifest
from codeact.workspaces.workspace import FreshSandboxNeeded, Workspace
from sandbox_pool import Sandbox
from sandbox_pool.checkpoint import Manifest, Restored, Unsaved
from sandbox_pool.errors import SandboxError
from sandbox_pool.logs import Logger

__all__ = ["FindRebuild", "Rebuild", "Restoration", "no_rebuild"]

log = Logger(__name__)

MOST_REPORTED, NAME_CHARS = 200, 200
"""How many names the event of a restoration lists, and how much of each and of its reason."""


class Rebuild(Protocol):
    """Makes a checkpoint's state again, with the `names` that it could not save, by running `blocks` blocks again."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def blocks(self) -> int: ...

    async def run(self, sandbox: Sandbox) -> None:
        """Gives a fresh sandbox the state. Raises `CodeActError` or `SandboxError`; the sandbox is of no use then."""


FindRebuild = Callable[[CheckpointRecord, Manifest, int], Awaitable[Rebuild | None]]
"""Returns how to make again what a checkpoint could not save; None if that is not certain. Raises `StoreError`.

The number is how many answers its branch has.
"""


async def no_rebuild(record: CheckpointRecord, manifest: Manifest, answers: int) -> Rebuild | None:
    """The `FindRebuild` that never runs code again."""
    return None


class Restoration:
    """Brings one checkpoint into a fresh sandbox of `workspace`. It is a `codeact.workspaces.workspace.Restore`.

    With `rebuild`, the first call tries that. If it fails, the call raises `FreshSandboxNeeded`, and the next call
    restores what was saved. Calls raise `SandboxError` and `StoreError`, and `NotFound` for another owner's checkpoint.
    """

    def __init__(
        self, store: Component[Store], record: CheckpointRecord, workspace: Workspace, rebuild: Rebuild | None
    ) -> None:
        self._store = store
        self._record = record
        self._workspace = workspace
        self._rebuild = rebuild
        self._failure: str | None = None
        """Why `rebuild` has failed."""

    async def __call__(self, sandbox: Sandbox) -> None:
        if self._record.owner != self._workspace.owner:
            raise NotFound(f"There is no checkpoint '{self._record.id}'.", param="checkpoint_id")
        if self._rebuild is None or self._failure is not None:
            await self._load(sandbox)
            return
        try:
            await self._run_again(sandbox, self._rebuild)
        except (CodeActError, SandboxError) as error:
            log.info("state not made again by its blocks", response=self._record.response_id, reason=error.message)
            self._failure = error.message
            raise FreshSandboxNeeded(error.message) from None

    async def _run_again(self, sandbox: Sandbox, rebuild: Rebuild) -> None:
        """Makes the state of the checkpoint again. Raises `CodeActError` and `SandboxError`."""
        began_at = time.monotonic()
        manifest = await read_manifest(self._record)
        await rebuild.run(sandbox)
        seconds = time.monotonic() - began_at
        response_id = self._record.response_id
        log.info("state made again by its blocks", sandbox=sandbox.id, response=response_id, seconds=seconds)
        files = tuple(file.path for file in manifest.files)
        names = tuple(each.name for each in manifest.names())
        await self._note(sandbox, manifest, (), Restored(names, files, rebuild.names, (), seconds))

    async def _load(self, sandbox: Sandbox) -> None:
        store = await self._store.get()

        async def fetch(sha256: str) -> bytes:
            try:
                return (await store.get_blob(sha256, owner=self._workspace.owner)).data
            except NotFound:
                raise LookupError(sha256) from None

        manifest = await read_manifest(self._record)
        restored = await sandbox.restore(manifest, fetch)
        response_id = self._record.response_id
        log.info("checkpoint restored", sandbox=sandbox.id, response=response_id, seconds=restored.seconds)
        known = set(manifest.unsaved)
        failed = [each for each in restored.unsaved if each not in known]
        if self._failure is not None:
            why = f"; its code ran again without success: {self._failure}"[:500]
            failed += [Unsaved(each.name, each.type, each.reason[:400] + why) for each in manifest.unsaved]
        await self._note(sandbox, manifest, failed, restored)

    async def _note(self, sandbox: Sandbox, manifest: Manifest, failed: Sequence[Unsaved], restored: Restored) -> None:
        record = self._record
        event = _restored_event(await read_item(record), sandbox, restored)
        self._workspace.state_id = record.before or record.response_id
        self._workspace.restored(sandbox, manifest, record.placed, failed, event)


def _restored_event(checkpoint: CheckpointItem, sandbox: Sandbox, restored: Restored) -> CheckpointRestored:
    """The event of a restoration, with as many names as a notice has."""
    return CheckpointRestored(
        checkpoint=checkpoint,
        container_id=sandbox.id,
        seconds=round(restored.seconds, 3),
        rerun=[name[:NAME_CHARS] for name in restored.rerun[:MOST_REPORTED]],
        not_restored=[
            NotRestored(each.name[:NAME_CHARS], each.reason[:NAME_CHARS]) for each in restored.unsaved[:MOST_REPORTED]
        ],
    )

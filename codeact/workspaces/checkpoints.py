"""Takes checkpoints of conversations' sandboxes in the background, stores them, and restores them into fresh ones.

The server never reads what a checkpoint's parts contain: sandboxes write them, and sandboxes read them.
"""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol
from weakref import WeakValueDictionary

import anyio
import msgspec
from anyio.abc import TaskGroup

from codeact.component import Component
from codeact.concurrency.offloop import off_loop
from codeact.errors import CodeActError, NotFound, StoreError
from codeact.events import CheckpointItem, CheckpointRestored, NotRestored
from codeact.ids import new_id
from codeact.store import Store
from codeact.store.checkpoint_record import CheckpointRecord
from codeact.workspaces.files_before import files_as_before
from codeact.workspaces.workspace import FreshSandboxNeeded, Restore, Workspace
from sandbox_pool import Sandbox
from sandbox_pool.checkpoint import Manifest, Restored, StateLimits, Unsaved, encode_manifest, to_manifest
from sandbox_pool.errors import QuotaExceeded, SandboxBusy, SandboxError
from sandbox_pool.logs import Logger

__all__ = ["Checkpoints", "Point", "Rebuild", "UnreadableCheckpoint", "manifest_of", "read_item", "read_manifest"]

log = Logger(__name__)

CAPTURE_S = 1.0
"""How long code whose calls can wait is delayed for the checkpoint before it."""
AT_ONCE, AT_ONCE_OF_OWNER = 3, 2
"""How many checkpoints a server takes at a time: of all owners, and of one, whose code can make them last long."""
CLOSE_S, DISCARD_S = 4.0, 2.0
MOST_REPORTED, NAME_CHARS = 200, 200
"""How many names the event of a restoration lists, and how much of each and of its reason."""
BATCH_BYTES, BATCH_PARTS = 2_000_000, 200
"""How much of a checkpoint is in memory before it is stored."""


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


@dataclass(frozen=True, slots=True)
class Point:
    """The response whose end a checkpoint shows, with its conversation. `room_bytes` is what its owner may store.

    With `before`, the checkpoint shows the state before the code of that item of the response.
    """

    owner: str
    conversation_id: str
    response_id: str
    room_bytes: Callable[[], float] = lambda: math.inf
    before: str | None = None


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


async def _no_rebuild(record: CheckpointRecord, manifest: Manifest, answers: int) -> Rebuild | None:
    return None


class Checkpoints:
    """The checkpoints of all conversations of this process.

    Concurrent calls are safe. `keep` checkpoints of each conversation are kept; with 0 none are taken. `is_low` says
    whether the disk has no room for more.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        store: Component[Store],
        *,
        keep: int,
        limits: StateLimits,
        is_low: Callable[[], bool],
        find_rebuild: FindRebuild = _no_rebuild,
    ) -> None:
        self._tasks = tasks
        self.store = store
        self._keep = keep
        self._limits = limits
        self._is_low = is_low
        self.find_rebuild = find_rebuild
        self._places = anyio.Semaphore(AT_ONCE)
        self._places_of: WeakValueDictionary[str, anyio.Semaphore] = WeakValueDictionary()
        self._is_closing = False
        self._under_way: dict[str, anyio.Event] = {}
        self._before: dict[str, anyio.CancelScope] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        store: Component[Store],
        *,
        keep: int,
        limits: StateLimits,
        is_low: Callable[[], bool] = lambda: False,
        find_rebuild: FindRebuild = _no_rebuild,
    ) -> AsyncIterator["Checkpoints"]:
        """Takes checkpoints until the `with` block ends; then those under way have 4 seconds to be stored."""
        async with anyio.create_task_group() as tasks:
            checkpoints = cls(tasks, store, keep=keep, limits=limits, is_low=is_low, find_rebuild=find_rebuild)
            try:
                yield checkpoints
            finally:
                checkpoints._is_closing = True
                with anyio.move_on_after(CLOSE_S, shield=True):
                    while checkpoints._under_way:
                        await next(iter(checkpoints._under_way.values())).wait()
                tasks.cancel_scope.cancel()

    @property
    def on(self) -> bool:
        """Whether checkpoints are taken."""
        return self._keep > 0

    def begin(self, workspace: Workspace, point: Point) -> None:
        """Takes a checkpoint of the workspace's sandbox in the background, after the response of `point` has ended.

        The workspace does not lose its sandbox meanwhile. What fails is logged: the checkpoints before stay valid.
        """
        if not self.on or self._is_closing or workspace.living is None or workspace.point != point.response_id:
            return
        self._start(workspace, point, lambda: None)

    async def before_code(self, workspace: Workspace, point: Point) -> str | None:
        """Makes sure that the kernel can go back to its present state, before code runs whose calls can wait.

        Returns the id of that state: of a response, of the item `point.before` whose checkpoint has begun, or empty for
        a sandbox in which no code has run. Returns None, after one second at most, if there is none.
        """
        if not self.on or self._is_closing or workspace.living is None or point.before is None:
            return None
        if workspace.point is None or workspace.state_id is not None:
            return workspace.state_id or ""
        captured = anyio.Event()
        scope = self._before[point.before] = self._start(workspace, point, captured.set)
        with anyio.move_on_after(CAPTURE_S):
            await captured.wait()
        if workspace.state_id != point.before:
            scope.cancel()
            return None
        return point.before

    def after_code(self, item_id: str, *, conversation_id: str, owner: str) -> None:
        """Gives up the checkpoint before the code of this item, which has ended, in the background."""
        if (scope := self._before.pop(item_id, None)) is not None:
            scope.cancel()
        if not self._is_closing:
            self._tasks.start_soon(self._forget, item_id, conversation_id, owner)

    async def _forget(self, item_id: str, conversation_id: str, owner: str) -> None:
        await self.settled(conversation_id)
        try:
            store = await self.store.get()
            await store.checkpoints.forget_before(item_id, conversation_id=conversation_id, owner=owner)
        except CodeActError as error:
            log.warning("checkpoint before a block not removed", item=item_id, reason=error.message)

    def _start(self, workspace: Workspace, point: Point, captured: Callable[[], None]) -> anyio.CancelScope:
        """Takes a checkpoint in the background. `captured` is called when code that runs later does not change it."""
        held = ExitStack()
        held.enter_context(workspace.saving())
        done, scope = anyio.Event(), anyio.CancelScope()
        before = self._under_way.get(point.conversation_id)
        self._under_way[point.conversation_id] = done
        self._tasks.start_soon(self._supervised, workspace, point, held, before, done, scope, captured)
        return scope

    async def settled(self, conversation_id: str) -> None:
        """Waits until no checkpoint of this conversation is under way here."""
        while (done := self._under_way.get(conversation_id)) is not None:
            await done.wait()

    def restoring(self, record: CheckpointRecord, workspace: Workspace, rebuild: Rebuild | None = None) -> Restore:
        """Returns a function that restores the checkpoint into a fresh sandbox of this workspace.

        With `rebuild`, its first call tries that. If it fails, it raises `FreshSandboxNeeded`, and the next call
        restores what was saved.
        """
        failures: list[str] = []

        async def restore(sandbox: Sandbox) -> None:
            if rebuild is None or failures:
                await self._restore(record, workspace, sandbox, rebuild, failures)
                return
            try:
                await self._rebuild(record, workspace, sandbox, rebuild)
            except (CodeActError, SandboxError) as error:
                log.info("state not made again by its blocks", response=record.response_id, reason=error.message)
                failures.append(error.message)
                raise FreshSandboxNeeded(error.message) from None

        return restore

    # ---- taking ----------------------------------------------------------------------------------------

    async def _supervised(
        self,
        workspace: Workspace,
        point: Point,
        held: ExitStack,
        before: anyio.Event | None,
        done: anyio.Event,
        scope: anyio.CancelScope,
        captured: Callable[[], None],
    ) -> None:
        try:
            with held, scope:
                if before is not None:
                    await before.wait()
                async with self._places_of_owner(point.owner), self._places:
                    await self._take(workspace, point, captured)
        except (SandboxError, CodeActError) as error:
            log.warning("checkpoint not stored", response=point.response_id, reason=error.message)
        except Exception:  # It must not end the tasks of other conversations.
            log.exception("checkpoint not stored because of an internal error", response=point.response_id)
        finally:
            if self._under_way.get(point.conversation_id) is done:
                del self._under_way[point.conversation_id]
            self._before.pop(point.before or "", None)
            done.set()
            captured()

    def _places_of_owner(self, owner: str) -> anyio.Semaphore:
        places = self._places_of.get(owner)
        if places is None:
            places = self._places_of[owner] = anyio.Semaphore(AT_ONCE_OF_OWNER)
        return places

    async def _take(self, workspace: Workspace, point: Point, captured: Callable[[], None]) -> None:
        store = await self.store.get()
        sandbox = workspace.living
        has_gone_on = point.before is None and (workspace.point != point.response_id or workspace.suspended is not None)
        if sandbox is None or has_gone_on:
            return  # The conversation has gone on: the next checkpoint shows its state.
        if self._is_low():
            log.warning("checkpoint not taken: the disk is almost full", response=point.response_id)
            return
        before = workspace.since(sandbox)
        for since in [before, None] if before is not None else [None]:
            parts = _Parts(store, _record(sandbox, workspace, point), point.room_bytes)
            try:
                if await self._stored(sandbox, since, parts, workspace, captured):
                    await store.checkpoints.prune(point.conversation_id, keep=self._keep)
                    return
            except SandboxBusy:
                return  # The conversation has gone on.
            finally:
                with anyio.move_on_after(DISCARD_S, shield=True), suppress(StoreError):
                    await parts.discard_incomplete()
            # Parts of the checkpoint before are not stored any more: take all of them again.

    async def _stored(
        self,
        sandbox: Sandbox,
        since: Manifest | None,
        parts: "_Parts",
        workspace: Workspace,
        captured: Callable[[], None],
    ) -> bool:
        """Takes and stores a checkpoint. Returns False if parts that it shares with `since` are not stored any more."""
        # No code has run since: what is written from here on is written by later code, or by threads.
        asked_ns = time.time_ns()
        files = await sandbox.list_files() if parts.is_before_code else None
        with workspace.capturing(parts.state_id) as done:

            def capture() -> None:
                done()
                captured()

            checkpoint = await sandbox.checkpoint(parts.put, since=since, limits=self._limits, captured=capture)
        manifest = checkpoint.manifest
        if files is not None:
            manifest = files_as_before(manifest, files, since)
        elif workspace.point != parts.response_id:
            manifest = _without_later_files(manifest, asked_ns)
        if not await parts.complete(manifest):
            return False
        workspace.saved(sandbox, manifest)
        return True

    # ---- restoring -------------------------------------------------------------------------------------

    async def _rebuild(
        self, record: CheckpointRecord, workspace: Workspace, sandbox: Sandbox, rebuild: Rebuild
    ) -> None:
        """Makes the state of the checkpoint again. Raises `CodeActError` and `SandboxError`."""
        _check_owner(record, workspace)
        began_at = time.monotonic()
        manifest = await read_manifest(record)
        await rebuild.run(sandbox)
        seconds = time.monotonic() - began_at
        log.info("state made again by its blocks", sandbox=sandbox.id, response=record.response_id, seconds=seconds)
        files = tuple(file.path for file in manifest.files)
        made = Restored(tuple(each.name for each in manifest.names()), files, rebuild.names, (), seconds)
        self._note_restored(record, workspace, sandbox, manifest, (), await read_item(record), made)

    def _note_restored(
        self,
        record: CheckpointRecord,
        workspace: Workspace,
        sandbox: Sandbox,
        manifest: Manifest,
        failed: Sequence[Unsaved],
        item: CheckpointItem,
        restored: Restored,
    ) -> None:
        workspace.state_id = record.before or record.response_id
        workspace.restored(sandbox, manifest, record.placed, failed, _restored_event(item, sandbox, restored))

    async def _restore(
        self,
        record: CheckpointRecord,
        workspace: Workspace,
        sandbox: Sandbox,
        rebuild: Rebuild | None = None,
        failures: Sequence[str] = (),
    ) -> None:
        """Restores the checkpoint. Raises `SandboxError` and `StoreError`, and `NotFound` for another owner's.

        `failures` say why `rebuild` has failed.
        """
        _check_owner(record, workspace)
        store = await self.store.get()

        async def fetch(sha256: str) -> bytes:
            try:
                return (await store.get_blob(sha256, owner=workspace.owner)).data
            except NotFound:
                raise LookupError(sha256) from None

        manifest = await read_manifest(record)
        restored = await sandbox.restore(manifest, fetch)
        log.info("checkpoint restored", sandbox=sandbox.id, response=record.response_id, seconds=restored.seconds)
        known = set(manifest.unsaved)
        failed = [each for each in restored.unsaved if each not in known]
        if rebuild is not None:
            why = f"; its code ran again without success: {' '.join(failures)}"[:500]
            failed += [Unsaved(each.name, each.type, each.reason[:400] + why) for each in manifest.unsaved]
        self._note_restored(record, workspace, sandbox, manifest, failed, await read_item(record), restored)


def _check_owner(record: CheckpointRecord, workspace: Workspace) -> None:
    if record.owner != workspace.owner:
        raise NotFound(f"There is no checkpoint '{record.id}'.", param="checkpoint_id")


def _with_manifest(record: CheckpointRecord, manifest: Manifest) -> CheckpointRecord:
    return replace(
        record,
        manifest=encode_manifest(manifest),
        parts=tuple(sorted(manifest.parts())),
        size_bytes=manifest.total_bytes,
    )


class _Parts:
    """Stores the parts of one checkpoint, a few megabytes at a time, and makes it valid at the end."""

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
        if self._has_begun and not self._is_complete:
            await self._checkpoints.discard(self._record.id)

    async def _flush(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            await self._checkpoints.begin(self._record)
        waiting, self._waiting, self._waiting_bytes = self._waiting, {}, 0
        if waiting:
            await self._checkpoints.put_parts(self._record.id, waiting, owner=self._record.owner)


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


def _without_later_files(manifest: Manifest, asked_ns: int) -> Manifest:
    """Leaves out the files that the next block of code has written meanwhile: only memory is copied at once."""
    later = {file.path for file in manifest.files if file.modified_ns > asked_ns}
    unsaved = [Unsaved(path, "file", "code changed it while it was saved") for path in sorted(later)]
    return msgspec.structs.replace(
        manifest,
        files=tuple(file for file in manifest.files if file.path not in later),
        unsaved=(*manifest.unsaved, *unsaved),
    )


def _record(sandbox: Sandbox, workspace: Workspace, point: Point) -> CheckpointRecord:
    """The record of a checkpoint that begins."""
    return CheckpointRecord(
        id=new_id("ckpt"),
        owner=point.owner,
        conversation_id=point.conversation_id,
        response_id=point.response_id,
        container_id=sandbox.id,
        created_at=time.time(),
        manifest=b"",
        parts=(),
        placed=workspace.placed_in(sandbox),
        size_bytes=0,
        before=point.before,
    )

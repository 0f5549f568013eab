"""Takes checkpoints of conversations' sandboxes in the background, and stores them.

The server never reads what a checkpoint's parts contain: sandboxes write them, and sandboxes read them.
"""

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from weakref import WeakValueDictionary

import anyio
import msgspec
from anyio.abc import TaskGroup

from codeact.component import Component
from codeact.errors import CodeActError, StoreError
from codeact.ids import new_id
from codeact.store import Store
from codeact.store.checkpoint_record import CheckpointRecord
from codeact.workspaces.checkpoint_parts import Parts
from codeact.workspaces.files_before import files_as_before
from codeact.workspaces.restoration import FindRebuild, Rebuild, Restoration, no_rebuild
from codeact.workspaces.workspace import Restore, Workspace
from sandbox_pool import Sandbox
from sandbox_pool.checkpoint import Manifest, StateLimits, Unsaved
from sandbox_pool.errors import SandboxBusy, SandboxError
from sandbox_pool.logs import Logger

__all__ = ["Checkpoints", "Point"]

log = Logger(__name__)

CAPTURE_S = 1.0
"""How long code whose calls can wait is delayed for the checkpoint before it."""
AT_ONCE, AT_ONCE_OF_OWNER = 3, 2
"""How many checkpoints a server takes at a time: of all owners, and of one, whose code can make them last long."""
CLOSE_S, DISCARD_S = 4.0, 2.0


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
        find_rebuild: FindRebuild = no_rebuild,
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
        find_rebuild: FindRebuild = no_rebuild,
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
        """Returns what brings the checkpoint into a fresh sandbox of this workspace; see `Restoration`."""
        return Restoration(self.store, record, workspace, rebuild)

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
            parts = Parts(store, _record(sandbox, workspace, point), point.room_bytes)
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
        parts: Parts,
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

"""Decides with which state of the kernel a question continues: that of its own point in the conversation."""

from collections.abc import Sequence
from dataclasses import dataclass

from codeact.agent.waiting_block import WaitingBlock
from codeact.concurrency.offloop import off_loop
from codeact.errors import NotFound, StoredByNewerVersion
from codeact.events.last_code import LastCode
from codeact.observations.kernel_state import RestoredState, restored_state
from codeact.runs.resume_points import ResumePoint
from codeact.store import Store
from codeact.store.checkpoint_record import CheckpointRecord
from codeact.workspaces.checkpoint_contents import UnreadableCheckpoint, manifest_of, read_manifest
from codeact.workspaces.checkpoints import Checkpoints
from codeact.workspaces.options import ALL_HAVE, ContainerOptions
from codeact.workspaces.restoration import Rebuild
from codeact.workspaces.workspace import Workspace
from sandbox_pool.checkpoint import Unsaved
from sandbox_pool.logs import Logger

__all__ = ["KernelState", "options_of", "state_for"]

log = Logger(__name__)


@dataclass(frozen=True, slots=True)
class KernelState:
    """The state in which code of a question runs: that after the response `point`.

    `record` is the checkpoint to restore; None if a living sandbox has that state, or if no code ran up to `point`.
    `restored` is what user and model are told of it, and `options` are those of the container that had the state. With
    `block`, it is the state in which that block began, which runs again. `rebuild` makes again what was not saved.
    """

    point: str | None
    record: CheckpointRecord | None = None
    restored: RestoredState | None = None
    options: ContainerOptions = ALL_HAVE
    block: WaitingBlock | None = None
    rebuild: Rebuild | None = None

    async def enter(self, workspace: Workspace, checkpoints: Checkpoints) -> None:
        """Makes it the state of the workspace; a checkpoint is restored when a sandbox is claimed."""
        restore = checkpoints.restoring(self.record, workspace, self.rebuild) if self.record is not None else None
        await workspace.go_to(self.point, restore)
        if restore is not None or self.block is not None:
            workspace.keep_options(self.options)


async def state_for(
    at: ResumePoint, code: LastCode | None, workspace: Workspace, checkpoints: Checkpoints
) -> KernelState | None:
    """As `_state_for`; a checkpoint that this version cannot read counts as none."""
    try:
        return await _state_for(at, code, workspace, checkpoints)
    except (UnreadableCheckpoint, StoredByNewerVersion) as error:
        log.warning("state of a kernel not restored", conversation=at.workspace_id, reason=error.message)
        return None


async def _state_for(
    at: ResumePoint, code: LastCode | None, workspace: Workspace, checkpoints: Checkpoints
) -> KernelState | None:
    """Returns the state of the point `at`; None if the kernel, or its loss, stays as it is.

    Needs no database call while the conversation's kernel is at that point, or where no code ran. Otherwise it waits
    for a checkpoint that is being taken, and makes two calls, or three. Raises `StoreError`.
    """
    if not checkpoints.on or at.ephemeral or at.workspace_id is None:
        return None
    if at.resent:
        return await _of_resent(at.workspace_id, workspace, checkpoints)
    if at.at.previous is None:
        return None
    point = at.code_response_id
    if workspace.living is not None and workspace.point == point:
        return None
    if code is None:
        # No code ran up to this point. A kernel in which code of another branch ran is not that of this point.
        return KernelState(None) if workspace.living is not None and workspace.point is not None else None
    if point is None:
        return None  # An earlier version stored the conversation, and took no checkpoints.
    if workspace.has(point):
        return KernelState(point)
    if not code.alive and workspace.living is None:
        return None  # The last code ended its kernel, and user and model were told then.
    await checkpoints.settled(at.workspace_id)
    store = await checkpoints.store.get()
    chain = await store.threads.chain(at.at.previous)
    chain = chain[: chain.index(point) + 1]  # Deleted responses may follow.
    record = await store.checkpoints.of_responses(chain, owner=workspace.owner)
    if record is None:
        return None
    codes = await store.checkpoints.codes(chain, owner=workspace.owner)
    answers = chain.index(record.response_id) + 1
    missed = set(chain[answers:])
    rebuild = await checkpoints.find_rebuild(record, await read_manifest(record), answers)
    restored = await off_loop(
        len(record.manifest),
        _described,
        record,
        [code for response_id, code in codes if response_id not in missed],
        [code for response_id, code in codes if response_id in missed],
        rebuild.blocks if rebuild is not None else 0,
    )
    options, refused = await options_of(record.container_id, store, workspace)
    return KernelState(point, record, restored.without(refused), options, rebuild=rebuild)


async def _of_resent(conversation_id: str, workspace: Workspace, checkpoints: Checkpoints) -> KernelState | None:
    """The newest state of a conversation whose history the client sends itself, if its kernel is gone."""
    if workspace.living is not None:
        return None
    await checkpoints.settled(conversation_id)
    store = await checkpoints.store.get()
    record = await store.checkpoints.newest(conversation_id, owner=workspace.owner)
    if record is None:
        return None
    restored = await off_loop(len(record.manifest), _described, record, [], [])
    options, refused = await options_of(record.container_id, store, workspace)
    return KernelState(record.response_id, record, restored.without(refused), options)


def _described(
    record: CheckpointRecord, codes: Sequence[str], missed: Sequence[str], blocks_again: int = 0
) -> RestoredState:
    return restored_state(manifest_of(record), codes=codes, missed=missed, blocks_again=blocks_again)


async def options_of(container_id: str, store: Store, workspace: Workspace) -> tuple[ContainerOptions, list[Unsaved]]:
    """Returns the options of a container that are still allowed, and what is not.

    They are those that all have if the container is not known any more.
    """
    try:
        container = await store.files.get(container_id, owner=workspace.owner)
    except NotFound:
        return ALL_HAVE, []
    return workspace.limits.allowed(ContainerOptions.of_shown(container.options))

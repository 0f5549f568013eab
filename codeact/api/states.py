"""The saved state of an agent's kernel: returns it, and copies the conversation that ends with it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codeact.errors import InvalidRequest
from codeact.store.run_store import RunStore
from codeact.workspaces.workspace import Workspace

if TYPE_CHECKING:
    from codeact.store import Store
    from codeact.store.checkpoint_record import CheckpointRecord
    from codeact.workspaces.checkpoints import Checkpoints

__all__ = ["Checkpoint", "copied", "saved_state"]

NO_DATABASE = "The state of a kernel is saved in a database: give the agent one, such as store='embedded'."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The variables and files after the answer `response_id`, as they are saved.

    `names` came of the code, `files` are paths in its working directory, and `not_saved` says of each name that cannot
    be saved why. `size_bytes` includes what other checkpoints share.
    """

    id: str
    response_id: str
    size_bytes: int
    names: tuple[str, ...]
    files: tuple[str, ...]
    not_saved: dict[str, str]


async def saved_state(
    store: RunStore, checkpoints: "Checkpoints | None", workspace: Workspace, conversation_id: str | None, *, owner: str
) -> Checkpoint:
    """Returns the state after the last answer that ran code, and saves it first if that has not been done.

    Raises `InvalidRequest` if there is none: no code ran, its sandbox has ended, or the state could not be saved.
    """
    database, checkpoints = _saving(store, checkpoints)
    if conversation_id is None:
        raise InvalidRequest("There is no state yet: no question was asked.")
    await checkpoints.settled(conversation_id)
    record = await database.checkpoints.newest(conversation_id, owner=owner)
    if workspace.living is not None and workspace.point not in (None, record and record.response_id):
        from codeact.workspaces.checkpoints import Point

        checkpoints.begin(workspace, Point(owner, conversation_id, workspace.point or ""))
        await checkpoints.settled(conversation_id)
        record = await database.checkpoints.newest(conversation_id, owner=owner)
        if record is not None and record.response_id != workspace.point:
            record = None
    if record is None:
        raise InvalidRequest("There is no saved state: no code ran, or it could not be saved (the log says why).")
    return _of_record(record)


async def copied(store: RunStore, checkpoints: "Checkpoints | None", conversation_id: str | None, *, owner: str) -> str:
    """Copies the conversation's latest branch with its states; returns the id of the copy. Raises `InvalidRequest`."""
    database, checkpoints = _saving(store, checkpoints)
    if conversation_id is None:
        raise InvalidRequest("There is nothing to copy yet: no question was asked.")
    from codeact.runs.forking import fork

    await checkpoints.settled(conversation_id)
    return (await fork(database, conversation_id, None, owner=owner)).id


def _saving(store: RunStore, checkpoints: "Checkpoints | None") -> "tuple[Store, Checkpoints]":
    from codeact.store import Store

    if not isinstance(store, Store) or checkpoints is None:
        raise InvalidRequest(NO_DATABASE)
    if not checkpoints.on:
        raise InvalidRequest("No states of kernels are saved (checkpoint=False).")
    return store, checkpoints


def _of_record(record: "CheckpointRecord") -> Checkpoint:
    from codeact.workspaces.checkpoint_contents import manifest_of

    manifest = manifest_of(record)
    names = [each.name for each in manifest.names()]
    names += [each.name for each in manifest.imports]
    names += [each.name for each in manifest.sources if each.rerun]
    return Checkpoint(
        record.id,
        record.response_id,
        record.size_bytes,
        tuple(sorted(set(names))),
        tuple(file.path for file in manifest.files),
        {each.name: each.reason for each in manifest.unsaved},
    )

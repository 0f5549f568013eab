"""Moves files between sandboxes and the store, so that files that code wrote stay available."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from weakref import WeakKeyDictionary

import anyio

from codeact.component import Component
from codeact.errors import CodeActError, ConversationLocked
from codeact.skills.staged import StagedSkill
from codeact.store import Container, ContainerFile
from codeact.store.checkpoint_record import CheckpointRecord
from codeact.store.run_store import RunStore
from codeact.workspaces.checkpoints import Checkpoints
from codeact.workspaces.options import ALL_HAVE, ContainerOptions
from codeact.workspaces.registry import Workspaces
from codeact.workspaces.sandbox_files import is_hidden, read_file
from codeact.workspaces.workspace import Workspace
from sandbox_pool import FileInfo, Sandbox, SandboxPool
from sandbox_pool.checkpoint import Unsaved
from sandbox_pool.errors import AtCapacity, FileLimit, FileNotFound, FileRefused, SandboxError

__all__ = ["ContainerElsewhere", "ContainerGone", "Containers"]

EXIT_REASON_TIMEOUT_S = 2.0
"""How long to wait, after a failed call, for the news that its sandbox has ended."""
COLLECT_TIMEOUT_S = 20.0
STORED_FILES_AT_ONCE = 100
"""How many changed files one call records; if there are more, the latest ones."""
STORED_FILE_BYTES = 50_000_000
"""Limit for one file; the content of a larger file is only available while its sandbox lives."""
STORED_BYTES_AT_ONCE = 200_000_000


class ContainerGone(CodeActError):
    """Raised if the container's sandbox has ended."""

    code = "container_expired"
    status = 410

    def __init__(self) -> None:
        super().__init__("The container has expired: its sandbox is gone. Kept files can be downloaded.")


class ContainerElsewhere(CodeActError):
    """Raised if another server process has the container's sandbox."""

    code = "container_elsewhere"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            "Another server holds the container's sandbox: send this to the server that answers its conversation."
            " What is kept of its files can be listed and downloaded here too."
        )


class Containers:
    """The containers of all conversations and the files in them.

    Concurrent calls are safe. Every method raises `SandboxError` or `StoreError` if a sandbox or the database fails.
    """

    def __init__(self, store: Component[RunStore], workspaces: Workspaces) -> None:
        self._store = store
        self._workspaces = workspaces
        self._locks: WeakKeyDictionary[Sandbox, anyio.Lock] = WeakKeyDictionary()

    def is_running(self, container: Container) -> bool:
        """Whether the container's sandbox lives, on this server or another one."""
        return container.held_by is not None or container.id in self._workspace(container).container_ids

    async def create(
        self,
        conversation_id: str,
        *,
        owner: str,
        name: str,
        options: ContainerOptions = ALL_HAVE,
        skills: Sequence[StagedSkill] = (),
    ) -> Container:
        """Claims a sandbox for the conversation, unless it has one, and returns its container."""
        store = await self._store.get()
        with self._workspaces.use(conversation_id, owner=owner) as workspace:
            workspace.want(await options.with_placeholders(store, owner=owner))
            sandbox = await workspace.sandbox()
            await workspace.place_skills(skills)
            return await store.files.touch(
                sandbox.id,
                owner=owner,
                conversation_id=conversation_id,
                name=name,
                options=workspace.options.shown(),
            )

    async def make_room(self, pool: SandboxPool, *, owner: str) -> None:
        """Releases idle sandboxes of this owner, and of nobody else, until there is room for one more container.

        Raises `QuotaExceeded`, and `AtCapacity` if all sandboxes are in use even then.
        """
        self._workspaces.check_quota(pool, None, owner=owner)
        await self._workspaces.make_room_over_all_servers(None, owner=owner)
        own = 0 if pool.max_per_owner is None else pool.held_by(owner) + 1 - pool.max_per_owner
        stats = pool.stats()
        missing = max(own, stats.leased + stats.waiting + 1 - pool.max_size)
        reason = "its sandbox was idle and a container of yours needed one"
        await self._workspaces.release_idle_of(owner, missing, reason)
        stats = pool.stats()
        if stats.leased + stats.waiting >= pool.max_size:
            raise AtCapacity(
                "All sandboxes are lent, and a container takes none from another owner's conversation. Delete one of"
                " yours, or ask again when one is free."
            )

    async def restore(
        self, container: Container, record: CheckpointRecord, checkpoints: Checkpoints
    ) -> tuple[Container, list[Unsaved]]:
        """Makes the state of a checkpoint that of the container's conversation, in a fresh sandbox.

        Returns its container, and what could not be restored. Raises `ConversationLocked` while code may run, and
        `SandboxError`, `AtCapacity` and `QuotaExceeded` if there is no sandbox.
        """
        self.check_here(container)
        store = await self._store.get()
        at = await store.threads.of_conversation(container.conversation_id, owner=container.owner)
        with self._workspaces.keep(container.conversation_id, owner=container.owner) as workspace:
            if not workspace.idle:
                raise ConversationLocked("The container is in use; wait for the answer's end or cancel it.")
            with workspace.in_use():
                await workspace.start_again(record.response_id, checkpoints.restoring(record, workspace))
                workspace.keep_shown_options(at.container)
                refused = workspace.keep_shown_options(container.options)
                sandbox = await workspace.sandbox()
                if workspace.restore_failure is not None:
                    raise SandboxError(workspace.restore_failure, sandbox_id=sandbox.id)
                missing = [*refused, *workspace.not_restored]
                touched = await store.files.touch(
                    sandbox.id,
                    owner=container.owner,
                    conversation_id=container.conversation_id,
                    name=container.name,
                    options=workspace.options.shown(),
                )
        return touched, missing

    async def delete(self, container: Container) -> None:
        """Ends the sandbox and deletes the container's record.

        Raises `ConversationLocked` while code may run in it, and `ContainerElsewhere`.
        """
        self.check_here(container)
        workspace = self._workspace(container)
        if container.id in workspace.container_ids:
            if not workspace.idle:
                raise ConversationLocked("The container is in use; wait for the answer's end or cancel it.")
            await workspace.release("its container was deleted")
        await (await self._store.get()).files.delete(container.id, owner=container.owner)

    async def collect(self, sandbox: Sandbox, *, conversation_id: str, owner: str) -> list[ContainerFile]:
        """Stores the files that are new or changed since the last call, and returns them.

        It stops after 20 s and returns the files stored by then. It ignores hidden files. A file that is too large is
        recorded without its content.
        """
        store = await self._store.get()
        options = self._workspaces.get(conversation_id, owner=owner).options.shown()
        container = await store.files.touch(sandbox.id, owner=owner, conversation_id=conversation_id, options=options)
        files: list[ContainerFile] = []
        with anyio.move_on_after(COLLECT_TIMEOUT_S):
            async with self._locks.setdefault(sandbox, anyio.Lock()):
                await self._collect(sandbox, container, store, files)
        return files

    async def refresh(self, container: Container) -> None:
        """Updates the records of a container's files, if this server has its sandbox; otherwise does nothing."""
        with suppress(ContainerGone, ContainerElsewhere):
            async with self.running(container) as sandbox:
                await self.collect(sandbox, conversation_id=container.conversation_id, owner=container.owner)

    @asynccontextmanager
    async def running(self, container: Container) -> AsyncIterator[Sandbox]:
        """Yields the container's sandbox, which does not expire inside the `with` block.

        Raises `ContainerElsewhere`, and `ContainerGone`, also if the block fails because the sandbox ends meanwhile.
        """
        self.check_here(container)
        with self._workspaces.use(container.conversation_id, owner=container.owner) as workspace:
            sandbox = workspace.sandbox_of(container.id)
            if sandbox is None:
                raise ContainerGone
            try:
                yield sandbox
            except (FileNotFound, FileRefused, FileLimit):
                raise
            except SandboxError as error:
                if await _has_ended(sandbox):
                    raise ContainerGone from error
                raise

    def check_here(self, container: Container) -> None:
        """Raises `ContainerElsewhere` if another server holds the container's sandbox."""
        if container.held_by is not None:
            raise ContainerElsewhere

    def _workspace(self, container: Container) -> Workspace:
        return self._workspaces.get(container.conversation_id, owner=container.owner)

    async def _collect(
        self, sandbox: Sandbox, container: Container, store: RunStore, files: list[ContainerFile]
    ) -> None:
        # The records are read before the listing, so that a file that is uploaded meanwhile is not taken for deleted.
        known = {file.path: file for file in await store.files.files(container.id, owner=container.owner)}
        listing = await sandbox.list_files()
        shown = {info.path: info for info in listing.files if not is_hidden(info.path)}
        if listing.complete:
            for path in known.keys() - shown.keys():
                await store.files.drop(known[path].id, container_id=container.id)
        changed = [info for info in shown.values() if not _is_same(info, known.get(info.path))]
        changed.sort(key=lambda info: info.modified_at, reverse=True)
        room = STORED_BYTES_AT_ONCE
        for info in reversed(changed[:STORED_FILES_AT_ONCE]):
            content = await read_file(sandbox, info, limit_bytes=min(STORED_FILE_BYTES, room))
            sha256 = None
            if content is not None:
                room -= len(content)
                sha256 = await store.put_blob(content, "application/octet-stream", owner=container.owner)
            files.append(
                await store.files.add(
                    container,
                    info.path,
                    size_bytes=info.size_bytes,
                    modified_at=info.modified_at,
                    source="assistant",
                    sha256=sha256,
                )
            )


async def _has_ended(sandbox: Sandbox) -> bool:
    """Whether the sandbox has ended; waits a moment, since a call may fail before the end is known."""
    with anyio.move_on_after(EXIT_REASON_TIMEOUT_S):
        await sandbox.died()
    return not sandbox.alive


def _is_same(info: FileInfo, known: ContainerFile | None) -> bool:
    return known is not None and (known.size_bytes, known.modified_at) == (info.size_bytes, info.modified_at)

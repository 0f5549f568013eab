"""Makes again what a checkpoint could not save: runs the conversation's recorded blocks from the first to the last.

That takes a fresh sandbox without network. Calls get their recorded results, and nothing outside is called. The state
that comes of it is compared with the checkpoint: only if all that was saved is the same, byte for byte, is the rest
taken for the same, too. Otherwise the sandbox is thrown away, and the checkpoint is restored into another one.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import partial

import anyio

from codeact.component import Component
from codeact.concurrency.offloop import off_loop, size_of
from codeact.errors import CodeActError, NotFound
from codeact.store import Store, StoredResponse
from codeact.store.checkpoint_record import CheckpointRecord
from codeact.store.whole_text import GetBlob, whole_text
from codeact.verification.comparing import compare
from codeact.verification.errors import NotVerifiable
from codeact.verification.given import Given, names_skills
from codeact.verification.plan import Block, plan
from codeact.verification.repeatable import DRAWN, why_not_again
from codeact.verification.replaying import Replay, recorded_definitions
from codeact.verification.whole import whole_outputs
from codeact.workspaces.options import ContainerOptions
from codeact.workspaces.workspace import StagedFile
from sandbox_pool import Sandbox, SandboxPool
from sandbox_pool.checkpoint import Manifest, StateLimits, Unit, Unsaved
from sandbox_pool.logs import Logger

__all__ = ["Rebuild", "Rebuilder"]

log = Logger(__name__)

MOST_BLOCKS, MOST_RESPONSES = 50, 50
"""A longer conversation is not run again."""
NO_VARIABLES = frozenset({"file", "directory", "setting", "variable of the environment"})
"""For these alone, no code runs again."""
PATIENCE = 4.0
"""How many times as long as the limit for what they took before the blocks may take now."""
START = " at start"
"""Ends the names of the states that generators of random numbers had when the kernel started."""
GROUP_S, DEADLINE_S = 5.0, 20.0
"""How long one value, and all of them, may take to be compared."""


class Rebuild:
    """How to make the names again that this checkpoint could not save. It serves one restoration."""

    def __init__(
        self,
        thread: Sequence[StoredResponse],
        blocks: Sequence[Block],
        manifest: Manifest,
        store: Store,
        *,
        owner: str,
        limits: StateLimits,
        most_s: float,
    ) -> None:
        self.names = tuple(each.name for each in manifest.unsaved)
        self.blocks = len(blocks)
        self._thread = thread
        self._blocks = blocks
        self._manifest = manifest
        self._store = store
        self._owner = owner
        self._limits = limits
        self._most_s = most_s
        self._get_blob: GetBlob = partial(store.get_blob, owner=owner)

    async def run(self, sandbox: Sandbox) -> None:
        """Gives a fresh sandbox the state of the checkpoint. Raises `CodeActError` or `SandboxError` if that fails.

        The sandbox is of no use then. Cancelling it stops the code.
        """
        try:
            with anyio.fail_after(self._most_s * PATIENCE):
                await self._run(sandbox)
        except TimeoutError:
            raise _differs(f"it took longer than {self._most_s * PATIENCE:g} s") from None
        except NotFound as error:
            raise _differs(f"a part of the record is gone: {error.message}") from None
        seen = await sandbox.checkpoint(_drop, since=self._manifest, limits=self._limits)
        different = await off_loop(len(self._manifest.files) * 100, _difference, self._manifest, seen.manifest)
        if different is not None:
            raise _differs(f"{different} is not the same as before")

    async def _run(self, sandbox: Sandbox) -> None:
        if sandbox.spec.network != "none" or sandbox.spec.egress is not None:
            raise _differs("the sandbox has a network")
        await self._start_draws(sandbox)
        given = Given(self._thread, self._store, owner=self._owner, get_blob=self._get_blob)
        placed: set[StagedFile] = set()
        place, defined = partial(_place, sandbox, placed), None
        for block in self._blocks:
            recorded = block.response.environment
            if recorded is None or recorded.image != sandbox.image or recorded.packages != dict(sandbox.versions):
                raise _differs("the sandbox has another image or other packages than before")
            await given.place(block, place, sandbox)
            definitions = await recorded_definitions(block, self._get_blob)
            if definitions is not None and definitions != defined:
                await sandbox.define(definitions)
                defined = definitions
            await self._run_block(block, sandbox)

    async def _start_draws(self, sandbox: Sandbox) -> None:
        """Gives the generators of random numbers the states that they had when the kernel started."""

        async def fetch(sha256: str) -> bytes:
            return (await self._get_blob(sha256)).data

        units = tuple(unit for unit in self._manifest.units if _drawn(unit, START))
        restored = await sandbox.restore(
            Manifest(version=1, python=self._manifest.python, execution_count=0, units=units), fetch
        )
        if restored.unsaved:
            raise _differs("the states of random generators at the start cannot be had")

    async def _run_block(self, block: Block, sandbox: Sandbox) -> None:
        expected = await whole_outputs(block.outputs, self._get_blob)
        replay = Replay(block, sandbox, self._get_blob)
        found, result = await replay.run(block.parts[0])
        size = size_of(expected) + size_of(found)
        mismatch, pictures = await off_loop(size, partial(compare, expected, found, 0.0))
        if result.status != block.result or replay.stray is not None or replay.left or mismatch is not None or pictures:
            raise _differs("the code printed, called or raised something else than before")


class Rebuilder:
    """Finds out whether what a checkpoint could not save can be made again by running its blocks again.

    The blocks may have taken `most_s` seconds in all. `limits` are those of checkpoints. Concurrent calls are safe.
    """

    def __init__(
        self, store: Component[Store], pool: Component[SandboxPool], *, limits: StateLimits, most_s: float
    ) -> None:
        self._store = store
        self._pool = pool
        self._limits = StateLimits(
            limits.group_bytes,
            limits.total_bytes,
            min(GROUP_S, limits.group_s),
            min(DEADLINE_S, limits.deadline_s),
        )
        self._most_s = most_s

    async def find(self, record: CheckpointRecord, manifest: Manifest, answers: int) -> Rebuild | None:
        """Returns how to make again what is not saved; None if no variable is missing, or if that is not certain.

        `answers` is how many the branch has up to the checkpoint. Raises `StoreError`.
        """
        if not self._most_s or answers > MOST_RESPONSES or not any(map(_is_variable, manifest.unsaved)):
            return None
        started = self._pool.started
        if started is None or not started.value.backend.isolation.isolated or started.value.spec.network != "none":
            return None
        store = await self._store.get()
        try:
            container = await store.files.get(record.container_id, owner=record.owner)
            if ContainerOptions.of_shown(container.options).egress is not None:
                return None  # Its code may have reached hosts.
            thread = await store.thread(record.response_id, owner=record.owner)
            blocks = await anyio.to_thread.run_sync(self._planned, thread)
            known = [name for name in DRAWN if name in _draws(manifest, START)]
            reason = await self._why_not(blocks, partial(store.get_blob, owner=record.owner), known)
        except (NotVerifiable, NotFound) as error:
            reason = error.message
        if reason is not None:
            log.info("state not made again by its blocks", response=record.response_id, reason=reason)
            return None
        return Rebuild(thread, blocks, manifest, store, owner=record.owner, limits=self._limits, most_s=self._most_s)

    def _planned(self, thread: Sequence[StoredResponse]) -> list[Block]:
        """Returns the blocks of the thread, all of one kernel. Raises `NotVerifiable`."""
        if any(each.is_deleted for each in thread[:-1]):
            raise _differs("answers of its conversation were deleted")
        return plan(thread)

    async def _why_not(self, blocks: Sequence[Block], get_blob: GetBlob, known: Collection[str]) -> str | None:
        if len(blocks) > MOST_BLOCKS:
            return f"there are over {MOST_BLOCKS} blocks"
        if sum(block.duration_s for block in blocks) > self._most_s:
            return f"the blocks took over {self._most_s:g} s"
        for block in blocks:
            if len(block.parts) != 1 or block.asks is not None or block.is_cut or block.result not in ("ok", "error"):
                return "a block has waited for approval, was cut or has no end"
            if names_skills(block.response.tools):
                return "the code had skills"
            if not all(call.is_known for call in block.calls):
                return "the result of a call is not recorded"
            code = await whole_text(block.parts[0].code, get_blob)
            if (reason := await off_loop(len(code), why_not_again, code, known)) is not None:
                return reason
        return None


def _is_variable(unsaved: Unsaved) -> bool:
    return unsaved.name.isidentifier() and unsaved.type not in NO_VARIABLES


def _difference(saved: Manifest, seen: Manifest) -> str | None:
    """What of the state, made again, is not as it was saved; None if all is, but for random states and options."""
    for name, one, other in (
        ("the values of variables", _values(saved), _values(seen)),
        ("the states of random generators", _states(saved), _states(seen)),
        ("what cannot be saved", _named(saved), _named(seen)),
        ("the imports", set(saved.imports), set(seen.imports)),
        ("the environment", (saved.cwd, saved.environment), (seen.cwd, seen.environment)),
        ("the working directory", _files(saved), _files(seen)),
    ):
        if one != other:
            return name
    return None


def _values(manifest: Manifest) -> list[object]:
    return [unit for unit in manifest.units if unit.kind != "settings"]


def _draws(manifest: Manifest, suffix: str) -> set[str]:
    """The generators of random numbers whose states the manifest has, at the start or of now."""
    return {
        name.name.removesuffix(suffix)
        for unit in manifest.units
        if _drawn(unit, suffix)
        for group in unit.groups
        for name in group.names
    }


def _drawn(unit: Unit, suffix: str) -> bool:
    """Whether the unit has nothing but states of random generators, at the start or, without a suffix, of now."""
    names = {name.name for group in unit.groups for name in group.names}
    return unit.kind == "settings" and bool(names) and names <= {f"{name}{suffix}" for name in DRAWN}


def _states(manifest: Manifest) -> list[object]:
    return [unit for unit in manifest.units if _drawn(unit, START) or _drawn(unit, "")]


def _named(manifest: Manifest) -> set[tuple[str, str]]:
    rerun = {(each.name, each.source) for each in manifest.sources if each.rerun}
    return rerun | {(each.name, each.type) for each in manifest.unsaved}


def _files(manifest: Manifest) -> dict[str, object]:
    return {file.path: (file.mode, file.content) for file in manifest.files}


async def _place(sandbox: Sandbox, placed: set[StagedFile], files: Iterable[StagedFile]) -> None:
    """Writes each file once, since code may change it."""
    for file in files:
        if file not in placed:
            await sandbox.write_file(file.name, await file.load())
            placed.add(file)


async def _drop(sha256: str, content: bytes) -> None:
    """Of a state that is only compared, nothing is kept."""


def _differs(why: str) -> CodeActError:
    return NotVerifiable(why, code="not_rebuilt")

"""One conversation's workspace, which owns the conversation's sandboxes.

It claims a sandbox when code first needs one, keeps it between requests, and replaces it if it died. It remembers the
reason, so that user and model are informed. While a conversation has two branches, it has a sandbox for each of the two
that were used last.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from codeact.errors import CodeActError, InvalidRequest
from codeact.events import CheckpointRestored
from codeact.skills.bundle import unpacked
from codeact.skills.staged import StagedSkill
from codeact.workspaces.lending import Lender
from codeact.workspaces.options import ALL_HAVE, ContainerLimits, ContainerOptions
from codeact.workspaces.suspended import Suspended
from sandbox_pool.checkpoint import Manifest, Unsaved
from sandbox_pool.errors import SandboxError
from sandbox_pool.pool.pool import SandboxPool
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["FreshSandboxNeeded", "GetPool", "MakeRoom", "Restore", "StagedFile", "Workspace"]

GetPool = Callable[[], Awaitable[SandboxPool]]
"""Returns the pool, after it has started; raises the error if it cannot start."""

MakeRoom = Callable[[SandboxPool, str], Awaitable[None]]
"""Releases idle sandboxes, so that this owner can get one more."""

Restore = Callable[[Sandbox], Awaitable[None]]
"""Brings the state of a checkpoint into a fresh sandbox. Raises `SandboxError` or `StoreError`.

Once, it may raise `FreshSandboxNeeded`: it is then called again, with another sandbox.
"""


class FreshSandboxNeeded(Exception):
    """One way to bring a state back has failed, and what it left in the sandbox is unknown. The other way follows."""


MOST_REPORTED = 20
CAPTURE_S = 0.25
"""Usually the kernel needs a few milliseconds to make its copy."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that the user uploaded: its name, the SHA-256 of its content, and a function that loads the content."""

    name: str
    sha256: str
    load: Callable[[], Awaitable[bytes]] = field(compare=False)


@dataclass(slots=True)
class _Parked:
    """A sandbox of another branch of the conversation, after the response `point`."""

    sandbox: Sandbox
    point: str | None
    suspended: Suspended | None
    state_id: str | None = None


class Workspace:
    """The sandbox of one conversation. It runs one execution at a time, since a conversation has one run at a time.

    `point` is the response in which code ran last in the sandbox, or whose state was restored into it; None if no code
    ran. `state_id` is the id under which a checkpoint captured the present state: that response, or the item of code
    that runs next; None if code has run since.

    `masked_outputs` and `masked_codes` are the ids of the code blocks whose output or code the prompts leave out (see
    `codeact.context.masking`). They are kept here so that the prompts of the next answer begin like those of the last.
    """

    def __init__(
        self,
        get_pool: GetPool,
        *,
        owner: str,
        make_room: MakeRoom | None = None,
        on_idle: Callable[[], None] = lambda: None,
        progress: Callable[[], str] = lambda: "",
        lender: Lender | None = None,
        limits: ContainerLimits | None = None,
    ) -> None:
        self.owner = owner
        self.limits = limits or ContainerLimits()
        self._lender = lender or Lender()
        self.progress = progress
        self._make_room = make_room
        self._on_idle = on_idle
        self.last_used = time.monotonic()
        self._get_pool = get_pool
        self._pool: SandboxPool | None = None
        self._sandbox: Sandbox | None = None
        self._parked: list[_Parked] = []
        self.point: str | None = None
        self.state_id: str | None = None
        self._blocks = 0
        self._restore: tuple[str | None, Restore] | None = None
        self.restore_failure: str | None = None
        self.not_restored: Sequence[Unsaved] = ()
        self._restored: CheckpointRestored | None = None
        self._captured = anyio.Event()
        self._captured.set()
        self._manifest: tuple[str, Manifest] | None = None
        self._claiming = anyio.Lock()
        self._users = 0
        self.keepers = self._savers = 0
        self._saved_once = anyio.Event()
        self._saved_once.set()
        self._lost: str | None = None
        self._defined: tuple[str, str] | None = None
        self._placed: set[tuple[str, StagedFile]] = set()
        self.options = ALL_HAVE
        self._skills: set[tuple[str, str, str]] = set()
        self.suspended: Suspended | None = None
        self._only_warmed = False
        self.masked_outputs: set[str] = set()
        self.masked_codes: set[str] = set()

    @property
    def container_id(self) -> str | None:
        """The id of the living sandbox, or None."""
        sandbox = self.living
        return sandbox.id if sandbox is not None else None

    @property
    def living(self) -> Sandbox | None:
        """The sandbox if there is one and it lives, else None; claims nothing."""
        sandbox = self._sandbox
        return sandbox if sandbox is not None and sandbox.alive else None

    @property
    def container_ids(self) -> set[str]:
        """The ids of all its living sandboxes."""
        held = [self._sandbox, *(parked.sandbox for parked in self._parked)]
        return {sandbox.id for sandbox in held if sandbox is not None and sandbox.alive}

    def sandbox_of(self, container_id: str) -> Sandbox | None:
        """The living sandbox with this id, in use or parked; None if this workspace has none."""
        held = [self._sandbox, *(parked.sandbox for parked in self._parked)]
        return next((each for each in held if each is not None and each.alive and each.id == container_id), None)

    @property
    def spare(self) -> bool:
        """Whether the workspace has a sandbox, alive or not, and is not in use."""
        return self._users == 0 and self._sandbox is not None

    @property
    def spare_sandboxes(self) -> int:
        """How many of its sandboxes could be released now: parked ones, and its own if it is not in use."""
        return (self.spare or self.is_only_saved) + len(self._parked)

    @property
    def is_only_saved(self) -> bool:
        """Whether only a checkpoint that is being taken holds its sandbox."""
        return self._sandbox is not None and self._users == self._savers > 0

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Like `in_use`, for a checkpoint: who needs the sandbox may wait for the end by `saved_once`."""
        self._savers += 1
        self._saved_once = anyio.Event() if self._saved_once.is_set() else self._saved_once
        try:
            with self.in_use():
                yield
        finally:
            self._savers -= 1
            if not self._savers:
                self._saved_once.set()

    async def saved_once(self) -> None:
        """Waits until no checkpoint is being taken."""
        await self._saved_once.wait()

    @property
    def idle(self) -> bool:
        return self._users == 0

    @property
    def only_warmed(self) -> bool:
        """Whether its sandbox was, or is being, claimed by `warm_up` and no question has come since."""
        return self._only_warmed and (not self.idle or self.container_id is not None)

    def warm_up(self) -> None:
        """Marks the next sandbox as claimed before a question, until `question_came` is called."""
        self._only_warmed = True

    def question_came(self) -> None:
        self._only_warmed = False

    @property
    def lost(self) -> str:
        """The reason why an earlier sandbox of this conversation is gone."""
        if self._sandbox and (death := self._sandbox.death):
            return death.detail
        return self._lost or "the server was restarted, another one answers now, or the sandbox was idle for too long"

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Prevents inside the `with` block that the sandbox expires or is taken for another conversation."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self.last_used = time.monotonic()
            if self.idle:
                self._on_idle()

    async def cold_start(self) -> str:
        """A sentence for clients that wait, if the next sandbox is of a kind of which none is warm; else ""."""
        if not self.options:
            return ""
        pool = await self._get_pool()
        if not pool.is_cold(spec := self.options.applied(pool.spec)):
            return ""
        network = f" that may reach {', '.join(spec.egress.domains)[:200]}" if spec.egress is not None else ""
        return f"A sandbox with {spec.limits.memory_mb} MB{network} is being started; none is kept warm."

    async def sandbox(self) -> Sandbox:
        """Returns the living sandbox, and claims one from the pool if there is none. Raises `SandboxError`.

        Concurrent calls get the same sandbox: one of them claims it; if that fails or is cancelled, the next one tries.
        The workspace is in use during the claim, so that it does not expire meanwhile.
        """
        if self.living is not None:
            return self.living
        with self.in_use():
            async with self._claiming:
                if self.living is not None:
                    return self.living
                self._pool = await self._get_pool()
                if self._sandbox is not None:
                    await self.release(self.lost)
                if self._make_room is not None:
                    await self._make_room(self._pool, self.owner)
                self._sandbox = await self._claimed(self._pool)
                return self._sandbox

    async def _claimed(self, pool: SandboxPool) -> Sandbox:
        """Claims a sandbox, and restores the state that `go_to` asked for; without it if that fails."""
        sandbox = await self._lender.acquire(pool, self.owner, self.options.applied(pool.spec))
        self.point = self.state_id = self._restored = None
        if self._restore is None:
            return sandbox
        (point, restore), self._restore = self._restore, None
        try:
            await restore(sandbox)
            self.point = point
            return sandbox
        except FreshSandboxNeeded:
            self._restore = point, restore
            with anyio.CancelScope(shield=True):
                await self._lender.release(pool, sandbox)
            return await self._claimed(pool)
        except (SandboxError, CodeActError) as error:
            self.restore_failure = error.message
        except BaseException:
            self._restore = point, restore  # Another caller may claim a sandbox.
            with anyio.CancelScope(shield=True):
                await self._lender.release(pool, sandbox)
            raise
        # What a failed restore leaves in a sandbox is unknown.
        with anyio.CancelScope(shield=True):
            await self._lender.release(pool, sandbox)
        return await self._lender.acquire(pool, self.owner, self.options.applied(pool.spec))

    def ran(self, response_id: str) -> None:
        """Notes that code of this response begins to run: the sandbox has the state of no earlier response any more."""
        self.point, self.state_id = response_id, None
        self._blocks += 1

    @contextmanager
    def capturing(self, state_id: str) -> Iterator[Callable[[], None]]:
        """Surrounds the taking of a checkpoint. Yields a function to call once later code does not change it."""
        event = self._captured = anyio.Event()

        blocks = self._blocks

        def captured() -> None:
            if self._blocks == blocks:  # Otherwise the kernel's answer has come late: code runs already.
                self.state_id = state_id
            event.set()

        try:
            yield captured
        finally:
            event.set()

    async def captured(self) -> None:
        """Waits, a quarter of a second at most, until code that starts does not disturb a checkpoint being taken."""
        with anyio.move_on_after(CAPTURE_S):
            await self._captured.wait()

    @property
    def is_restoring(self) -> bool:
        """Whether the next sandbox that is claimed gets the state of a checkpoint."""
        return self._restore is not None

    def restore_nothing(self) -> None:
        """Gives up a state that an earlier question asked for, and whose code never claimed a sandbox."""
        self._restore = None

    def take_restore_report(self) -> str:
        """Returns, once, what could not be restored from the last checkpoint; empty if everything was."""
        failure, self.restore_failure = self.restore_failure, None
        missing, self.not_restored = self.not_restored, ()
        if failure is not None:
            return f"The state of the kernel could not be restored, and all variables are gone: {failure}"
        shown = ", ".join(f"{each.name[:200]} ({each.reason[:200]})" for each in missing[:MOST_REPORTED])
        more = f" and {len(missing) - MOST_REPORTED} more" if len(missing) > MOST_REPORTED else ""
        return f"Some names could not be restored: {shown}{more}." if missing else ""

    def take_restored(self) -> CheckpointRestored | None:
        """Returns, once, the event for the response in which the living sandbox got the state of a checkpoint."""
        restored, self._restored = self._restored, None
        return restored

    def has(self, point: str | None) -> bool:
        """Whether one of its living sandboxes has the state after the response `point`."""
        if self.living is not None and self.point == point:
            return True
        return any(parked.point == point and parked.sandbox.alive for parked in self._parked)

    def waits_after(self, response_id: str) -> bool:
        """Whether one of its living sandboxes has a block that waits since this response."""
        suspended = [self.suspended, *(parked.suspended for parked in self._parked)]
        return any(each is not None and each.response_id == response_id and each.sandbox.alive for each in suspended)

    async def go_to(self, point: str | None, restore: Restore | None) -> None:
        """Makes the state after the response `point` the one in which code runs next.

        The sandbox that has it is used; else the next sandbox that is claimed gets it by `restore` (None: it stays
        empty). The sandbox of the other branch is parked if the pool has room, and else released. Does nothing while
        the right one is in use.
        """
        self._restore = self.restore_failure = None
        if self.living is not None and self.point == point:
            return
        found = next((each for each in self._parked if each.point == point and each.sandbox.alive), None)
        if found is not None:
            self._parked.remove(found)
        await self._park(found is not None)
        if found is not None:
            self._sandbox, self.point, self.suspended = found.sandbox, found.point, found.suspended
            self.state_id = found.state_id
        elif restore is not None:
            self._restore = point, restore

    async def start_again(self, point: str | None, restore: Restore) -> None:
        """Makes the next sandbox that is claimed a fresh one, with the restored state after the response `point`."""
        self._restore, self.restore_failure = (point, restore), None
        await self._park(swaps=False)

    async def _park(self, swaps: bool) -> None:
        """Sets the sandbox aside for its branch, in place of an earlier one."""
        parked: _Parked | None = None
        if self._sandbox is not None:
            parked = _Parked(self._sandbox, self.point, self.suspended, self.state_id)
        self._sandbox = self.point = self.state_id = self.suspended = None
        reason = "the conversation continued in other branches"
        await self.release_parked(reason)
        if parked is None:
            return
        pool = self._pool
        stats = pool.stats() if pool is not None else None
        full = stats is None or pool is None or stats.leased + stats.waiting >= pool.max_size
        if pool is not None and pool.max_per_owner is not None:
            full = full or pool.held_by(self.owner) >= pool.max_per_owner
        if parked.sandbox.alive and (swaps or not full):
            self._parked.append(parked)
        else:
            await self._give_back(parked, reason)

    async def release_parked(self, reason: str) -> bool:
        """Releases the sandbox of the branch that is not in use; returns False if there is none."""
        if not self._parked:
            return False
        await self._give_back(self._parked.pop(), reason)
        return True

    async def _give_back(self, parked: _Parked, reason: str) -> None:
        with anyio.CancelScope(shield=True):
            if parked.suspended is not None:
                await parked.suspended.stop()
            if self._pool is not None:
                await self._lender.release(self._pool, parked.sandbox)

    def want(self, options: ContainerOptions) -> None:
        """Sets the options of this conversation's sandboxes. Raises `InvalidRequest` if it has one with others."""
        wanted, living = options.over(self.options), self.living
        if living is not None and living.spec.limits.memory_mb != (wanted.memory_mb or living.spec.limits.memory_mb):
            raise InvalidRequest(
                f"This conversation's container has {living.spec.limits.memory_mb} MB, not {wanted.memory_mb}; leave"
                " 'memory_limit' out, or begin another conversation.",
                param="memory_limit",
            )
        has_network = living is not None and (living.spec.egress is not None or living.spec.network != "none")
        if living is not None and (living.spec.egress != wanted.egress or (wanted.no_network and has_network)):
            raise InvalidRequest(
                "This conversation's container has another network policy, or other secrets; leave 'network_policy'"
                " out, or begin another conversation.",
                param="network_policy",
            )
        self.options = wanted

    def keep_options(self, earlier: ContainerOptions) -> None:
        """Gives the next sandbox the options of an earlier one of this conversation, unless requests have named others.

        Secrets are not among them, since nobody stores these.
        """
        if self.living is None:
            self.options = self.options.over(earlier)

    def keep_shown_options(self, shown: Mapping[str, Any]) -> list[Unsaved]:
        """Gives the next sandbox the options of which `shown` was made, as far as the operator still allows them.

        Returns what is not allowed any more. See `keep_options`.
        """
        options, refused = self.limits.allowed(ContainerOptions.of_shown(shown)) if shown else (ALL_HAVE, [])
        self.keep_options(options)
        return refused

    async def define(self, source: str) -> None:
        """Defines functions in the kernel, unless `source` is what it defined last. Raises `SandboxError`."""
        sandbox = await self.sandbox()
        if self._defined != (sandbox.id, source):
            await sandbox.define(source)
            self._defined = (sandbox.id, source)

    async def place(self, files: Iterable[StagedFile]) -> None:
        """Writes the user's files into the working directory, each once per sandbox. Raises `SandboxError`."""
        sandbox = await self.sandbox()
        for file in files:
            if (sandbox.id, file) not in self._placed:
                await sandbox.write_file(file.name, await file.load())
                self._placed.add((sandbox.id, file))

    async def place_skills(self, skills: Iterable[StagedSkill]) -> None:
        """Writes the skills where code can read and not change them, each once per sandbox. Raises `SandboxError`."""
        sandbox = await self.sandbox()
        for skill in skills:
            if (sandbox.id, skill.name, skill.version_id) not in self._skills:
                files = await anyio.to_thread.run_sync(unpacked, await skill.load())
                await sandbox.add_readonly(skill.name, files)
                # A folder of the same name, with another version, is gone now.
                self._skills = {each for each in self._skills if each[:2] != (sandbox.id, skill.name)}
                self._skills.add((sandbox.id, skill.name, skill.version_id))

    def placed_in(self, sandbox: Sandbox) -> tuple[tuple[str, str], ...]:
        """The names and SHA-256 sums of the user's files that were written into this sandbox."""
        return tuple((file.name, file.sha256) for sandbox_id, file in self._placed if sandbox_id == sandbox.id)

    def since(self, sandbox: Sandbox) -> Manifest | None:
        """The manifest of this sandbox's last stored checkpoint; None if there is none."""
        return self._manifest[1] if self._manifest is not None and self._manifest[0] == sandbox.id else None

    def saved(self, sandbox: Sandbox, manifest: Manifest) -> None:
        """Remembers that this checkpoint of the sandbox is stored, so that the next one needs only what changes."""
        self._manifest = sandbox.id, manifest

    def restored(
        self,
        sandbox: Sandbox,
        manifest: Manifest,
        placed: Iterable[tuple[str, str]],
        failed: Sequence[Unsaved],
        event: CheckpointRestored,
    ) -> None:
        """Remembers what a fresh sandbox has now: files of the user, and what could not be restored, with the reason.

        The user's files are not written again, since code may have changed them.
        """
        self.saved(sandbox, manifest)
        self._placed |= {(sandbox.id, StagedFile(name, sha256, _unread)) for name, sha256 in placed}
        self.not_restored = failed
        self._restored = event

    def take_suspended(self) -> "Suspended | None":
        """Returns the suspended block of this conversation, or None, and hands it over to the caller."""
        suspended, self.suspended = self.suspended, None
        return suspended

    async def release(self, reason: str) -> None:
        """Returns its sandboxes to the pool, which destroys them in the background. Idempotent, and safe to cancel."""
        await self.release_parked(reason)
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None and self._pool is not None:
            self._lost = reason
            with anyio.CancelScope(shield=True):
                await self._lender.release(self._pool, sandbox)


async def _unread() -> bytes:
    raise AssertionError("a file that is in the sandbox already is not read")

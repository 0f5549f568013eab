"""One conversation's workspace, which owns the conversation's sandbox.

It claims a sandbox when code first needs one, keeps it between requests, and replaces it if it died. It remembers the
reason, so that user and model are informed that the variables are gone.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from codeact.errors import InvalidRequest
from codeact.skills.bundle import unpacked
from codeact.skills.staged import StagedSkill
from codeact.workspaces.lending import Lender
from codeact.workspaces.options import ALL_HAVE, ContainerOptions
from codeact.workspaces.suspended import Suspended
from sandbox_pool.pool.pool import SandboxPool
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["GetPool", "MakeRoom", "StagedFile", "Workspace"]

GetPool = Callable[[], Awaitable[SandboxPool]]
"""Returns the pool, after it has started; raises the error if it cannot start."""

MakeRoom = Callable[[SandboxPool, str], Awaitable[None]]
"""Releases idle sandboxes, so that this owner can get one more."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that the user uploaded: its name, the SHA-256 of its content, and a function that loads the content."""

    name: str
    sha256: str
    load: Callable[[], Awaitable[bytes]] = field(compare=False)


class Workspace:
    """The sandbox of one conversation. It runs one execution at a time, since a conversation has one run at a time.

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
    ) -> None:
        self.owner = owner
        self._lender = lender or Lender()
        self.progress = progress
        self._make_room = make_room
        self._on_idle = on_idle
        self.last_used = time.monotonic()
        self._get_pool = get_pool
        self._pool: SandboxPool | None = None
        self._sandbox: Sandbox | None = None
        self._claiming = anyio.Lock()
        self._users = 0
        self.keepers = 0
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
    def spare(self) -> bool:
        """Whether the workspace has a sandbox, alive or not, and is not in use."""
        return self._users == 0 and self._sandbox is not None

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
                spec = self.options.applied(self._pool.spec)
                self._sandbox = await self._lender.acquire(self._pool, self.owner, spec)
                return self._sandbox

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

    def take_suspended(self) -> "Suspended | None":
        """Returns the suspended block of this conversation, or None, and hands it over to the caller."""
        suspended, self.suspended = self.suspended, None
        return suspended

    async def release(self, reason: str) -> None:
        """Returns the sandbox to the pool, which destroys it in the background. Idempotent, and safe to cancel."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None and self._pool is not None:
            self._lost = reason
            with anyio.CancelScope(shield=True):
                await self._lender.release(self._pool, sandbox)

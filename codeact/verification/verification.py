"""One verification: runs the blocks of an answer again in fresh sandboxes, and compares."""

import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

import anyio

from codeact import events as e
from codeact.component import Component
from codeact.concurrency.offloop import off_loop, size_of
from codeact.errors import NotFound
from codeact.events.certificates import MOST_DIFFERENCES, Certificate, Difference, Replayed
from codeact.ids import new_id
from codeact.store import StoredResponse
from codeact.store.whole_text import GetBlob
from codeact.verification.comparing import Mismatch, Pictures, compare
from codeact.verification.errors import NotVerifiable
from codeact.verification.given import Given, names_skills
from codeact.verification.pictures import first_different
from codeact.verification.plan import Block
from codeact.verification.replaying import Replay, recorded_definitions
from codeact.verification.whole import whole_outputs
from codeact.workspaces.options import ContainerOptions
from codeact.workspaces.registry import Workspaces
from codeact.workspaces.workspace import Workspace
from sandbox_pool import Sandbox, SandboxPool
from sandbox_pool.errors import ImageUnavailable
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

if TYPE_CHECKING:
    from codeact.store import Store

__all__ = ["Progress", "Verification"]

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
PICTURES_BYTES = 64_000_000
"""Limit for pictures that wait for the comparison of their pixels."""

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called when a block begins, with its number, from 1, and how many there are."""


class Verification:
    """One verification of one answer."""

    def __init__(
        self,
        thread: Sequence[StoredResponse],
        blocks: Sequence[Block],
        store: "Store",
        pool: Component[SandboxPool],
        workspaces: Workspaces,
        *,
        owner: str,
        tolerance: float,
    ) -> None:
        self._thread = thread
        self._blocks = blocks
        self._store = store
        self._pool = pool
        self._workspaces = workspaces
        self._owner = owner
        self._tolerance = tolerance
        self._differences: list[Difference] = []
        self._earlier_differences: list[Difference] = []
        self._pictures: list[tuple[Block, list[Pictures]]] = []
        self._pictures_bytes = 0
        self._replayed = Replayed()
        self._number = 0
        self._calls = self._outputs = 0
        self._get_blob: GetBlob = partial(store.get_blob, owner=owner)

    async def run(self, progress: Progress) -> Certificate:
        """Runs and compares everything. Raises `NotVerifiable` and `SandboxError`; cancelling it stops the code."""
        began = time.monotonic()
        if any(names_skills(block.response.tools) for block in self._blocks):
            raise NotVerifiable("The code had skills, which are not placed again.", code="skills_not_replayed")
        for _, group in groupby(self._blocks, key=lambda block: block.kernel):
            await self._run_in_one_sandbox(list(group), progress)
        await self._compare_pictures()
        response = self._thread[-1].response
        earlier = sum(block.is_earlier for block in self._blocks)
        return Certificate(
            response_id=response.id,
            result="differs" if self._differences else "equal",
            verified_at=int(time.time()),
            took_s=round(time.monotonic() - began, 3),
            version=version("codeact"),
            blocks=len(self._blocks) - earlier,
            earlier_blocks=earlier,
            outputs=self._outputs,
            calls=self._calls,
            tolerance=self._tolerance,
            environment=response.environment,
            replayed=self._replayed,
            differences=self._shown_differences(),
        )

    async def _run_in_one_sandbox(self, blocks: Sequence[Block], progress: Progress) -> None:
        """Runs blocks that shared a kernel's state, until one of them ends the kernel or all have run."""
        async with self._fresh() as workspace:
            sandbox = await self._like(blocks[0].response.environment, workspace)
            given = Given(self._thread, self._store, owner=self._owner, get_blob=self._get_blob)
            for at, block in enumerate(blocks, 1):
                self._number += 1
                progress(self._number, len(self._blocks))
                await given.place(block, workspace.place, sandbox)
                definitions = await self._stored(recorded_definitions(block, self._get_blob))
                if definitions is not None:
                    await workspace.define(definitions)
                await self._run_block(block, sandbox)
                if not sandbox.alive:
                    for left in blocks[at:]:
                        missing = "it did not run: the sandbox ended in a block before it"
                        self._differ(left, Mismatch("error", f"the status '{left.result}'", missing))
                    return

    async def _run_block(self, block: Block, sandbox: Sandbox) -> None:
        expected = await self._stored(whole_outputs(block.outputs, self._get_blob))
        replay = Replay(block, sandbox, self._get_blob)
        found: list[Stream | DisplayData | ExecuteResult | Error] = []
        for part in block.parts:
            outputs, result = await self._stored(replay.run(part))
            found += outputs
            if result.status != "ok":
                break
        self._calls += replay.calls
        if not block.is_earlier:
            self._outputs += len(block.outputs)
        size = size_of(expected) + size_of(found)
        is_cut = block.is_cut and result.limit == "output_bytes"
        mismatch, pictures = await off_loop(size, partial(compare, expected, found, self._tolerance, is_cut=is_cut))
        if (mismatch is None or replay.stray is not None) and result.status != block.result:
            ended = f"the status '{result.status}'. {result.detail}".strip()
            mismatch = Mismatch("error", f"the status '{block.result}'", ended[:400])
        mismatch = replay.stray or mismatch
        if pictures:
            self._pictures_bytes += sum(len(pair.expected) + len(pair.found) for pair in pictures)
            if self._pictures_bytes > PICTURES_BYTES:
                mismatch = Mismatch("picture", "pictures", f"over {PICTURES_BYTES:,} bytes of them are not compared")
            else:
                self._pictures.append((block, pictures))
        if mismatch is not None:
            self._differ(block, mismatch)

    async def _compare_pictures(self) -> None:
        """Compares pixels in a sandbox that has not run any of the code, which could have changed the comparison."""
        if not self._pictures:
            return
        async with self._fresh() as workspace:
            sandbox = await workspace.sandbox()
            for block, pictures in self._pictures:
                mismatch = await first_different(pictures, sandbox)
                if mismatch is not None:
                    self._differ(block, mismatch)

    @asynccontextmanager
    async def _fresh(self) -> AsyncIterator[Workspace]:
        """Yields a workspace without a sandbox, which counts for the owner and is released at the end."""
        name = new_id("verify")
        try:
            with self._workspaces.use(name, owner=self._owner) as workspace:
                yield workspace
        finally:
            with anyio.CancelScope(shield=True):
                await self._workspaces.release(name, "the verification has ended")

    async def _like(self, recorded: e.RecordedEnvironment | None, workspace: Workspace) -> Sandbox:
        """Returns a fresh sandbox without network, with the image and the packages that the answer recorded.

        Raises `NotVerifiable`.
        """
        pool = await self._pool.get()
        recorded = recorded or e.RecordedEnvironment()
        options = ContainerOptions(memory_mb=recorded.memory_mb or None, no_network=True)
        if recorded.image is not None and DIGEST.fullmatch(recorded.image) is None:
            raise NotVerifiable("The record of the image that the code ran in is no digest.", code="image_gone")
        workspace.want(options)
        sandbox = await workspace.sandbox()
        if recorded.image is not None and sandbox.image != recorded.image:
            if sandbox.image is None:  # Preparing the backend for an image would change what it says of its sandboxes.
                raise NotVerifiable(
                    f"The code ran in the image {recorded.image}, and the sandboxes here are not made of images.",
                    code="image_gone",
                )
            await workspace.release("the answer had another image")
            options = replace(options, image=recorded.image)
            workspace.want(options)
            try:
                await pool.prepare(options.applied(pool.spec))
            except ImageUnavailable as error:
                raise NotVerifiable(
                    f"The image that the code ran in is gone: {error.message}", code="image_gone"
                ) from None
            sandbox = await workspace.sandbox()
        versions = dict(sandbox.versions)
        if recorded.packages and versions != recorded.packages:
            raise NotVerifiable(
                f"The sandboxes have other packages than the answer's: {_changed(recorded.packages, versions)}.",
                code="packages_changed",
            )
        self._replayed = Replayed(image=sandbox.image, packages=versions)
        return sandbox

    @staticmethod
    async def _stored(loading: Awaitable[T]) -> T:
        """Awaits something that loads blobs. Raises `NotVerifiable` if one is gone."""
        try:
            return await loading
        except NotFound as error:
            raise NotVerifiable(f"A part of the record is gone: {error.message}", code="record_gone") from None

    def _differ(self, block: Block, mismatch: Mismatch) -> None:
        differences = self._earlier_differences if block.is_earlier else self._differences
        if len(differences) < MOST_DIFFERENCES:
            differences.append(
                Difference(
                    response_id=block.response.id,
                    item_id=block.item_id,
                    block=block.number,
                    kind=mismatch.kind,
                    expected=mismatch.expected,
                    found=mismatch.found,
                    output=mismatch.output,
                    earlier=block.is_earlier,
                )
            )

    def _shown_differences(self) -> list[Difference]:
        """The differences in the order of the blocks; of earlier answers only as many as there is room for."""
        room = MOST_DIFFERENCES - len(self._differences)
        shown = [*self._earlier_differences[:room], *self._differences]
        return sorted(shown, key=lambda one: (one.response_id, one.block, one.output or math.inf))


def _changed(recorded: dict[str, str], found: dict[str, str]) -> str:
    names = [name for name in sorted({*recorded, *found}) if recorded.get(name) != found.get(name)]
    shown = [f"{name} {found.get(name, 'missing')} instead of {recorded.get(name, 'none')}" for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

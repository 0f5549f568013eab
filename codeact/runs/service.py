"""Answers questions for every transport: begins, steers and stops runs."""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from codeact import events as e
from codeact.component import Component
from codeact.errors import InvalidRequest, NotFound
from codeact.ids import new_id
from codeact.runs.new_run import NewRun
from codeact.runs.pending_steers import PendingSteers, required_input
from codeact.runs.question import UNSTORED, Question, RunComponents
from codeact.runs.resume_points import EphemeralResponses
from codeact.runs.run import Run
from codeact.runs.steering import steer_elsewhere, steer_here
from codeact.runs.streams import open_stream
from codeact.runs.token_count import input_tokens
from codeact.runs.unstored_conversations import UnstoredConversations

if TYPE_CHECKING:
    from codeact.store import Store

__all__ = ["RunService"]


class RunService:
    """Answers questions with these components. Any number of tasks may call it.

    `database` is a store that other servers may share; with it, their runs can be stopped, steered and read, too.
    """

    def __init__(self, components: RunComponents, *, database: "Component[Store] | None" = None) -> None:
        self._components = components
        self._database = database
        self._steers = PendingSteers()
        self._unstored = UnstoredConversations(idle_s=components.settings.idle_timeout_s)

    async def create(
        self,
        new_run: NewRun,
        *,
        ephemeral: EphemeralResponses | None = None,
        response_id: str | None = None,
        begun: Callable[[Run], None] = lambda run: None,
    ) -> Run:
        """Stores the question and starts its run. Once it has returned, the question cannot be lost.

        `ephemeral` remembers the unstored responses of one connection. `response_id` is an id that was already sent to
        the client (a steering successor); otherwise a new one is generated. `begun` is called with the run, and later
        with each run that follows it because of steering. Raises `InvalidRequest` and its subclasses for ids that do
        not fit, `ModelNotFound`, `Overloaded`, `RateLimited`, and the error of a component that failed.
        """
        if ephemeral is None:
            ephemeral = self._unstored.find(new_run)
        continued = new_run.previous_response_id
        if steering := self._steers.of(continued, owner=new_run.owner):
            new_run = replace(new_run, messages=[*steering, *new_run.messages])
        then = partial(self._after, new_run=new_run, ephemeral=ephemeral, begun=begun)
        question = Question(self._components, new_run, ephemeral, response_id, then)
        try:
            with ephemeral.beginning() if ephemeral is not None else nullcontext():
                await self._release_dropped()
                run = await question.begin()
        except Exception:
            if ephemeral is not None and new_run.previous_response_id is not None:
                ephemeral.forget(new_run.previous_response_id)
            raise
        self._steers.drop(continued)
        begun(run)
        return run

    async def input_tokens(self, new_run: NewRun) -> int:
        """See `codeact.runs.token_count`."""
        return await input_tokens(self._components, new_run)

    async def open_stream(
        self, response_id: str, *, owner: str, starting_after: int = -1, idle_s: float = math.inf
    ) -> AsyncGenerator[list[str], None]:
        """Returns the response's frames after the number `starting_after`; see `codeact.runs.streams.open_stream`."""
        store = await self._shared(response_id)
        return await open_stream(
            self._components.runs, store, response_id, owner=owner, start=max(0, starting_after + 1), idle_s=idle_s
        )

    async def cancel(self, response_id: str, *, owner: str) -> Run | None:
        """Requests that the response stops, on whichever server it runs; returns its run if that is this process.

        Returns at once. A response that has ended is not changed. Raises `NotFound`.
        """
        run = self._components.runs.find(response_id, owner=owner)
        if run is not None:
            run.cancel()
            return run
        store = await self._shared(response_id)
        if await store.leases.is_under_way(response_id, owner=owner):
            await store.leases.ask_to_cancel(response_id, owner=owner)
        return None

    async def steer(self, response_id: str, messages: list[e.InputMessage], *, owner: str) -> None:
        """Passes messages of the user to the running response, on whichever server it runs; see `Run.steer`.

        Raises `InvalidRequest` if it does not accept them, and `NotFound`.
        """
        steer_id = new_id("steer")
        store = await self._shared(response_id)
        run = self._components.runs.find(response_id, owner=owner)
        if run is not None:
            await steer_here(store, run, messages, steer_id=steer_id)
        elif await store.leases.is_under_way(response_id, owner=owner):
            await steer_elsewhere(store, response_id, messages, owner=owner, steer_id=steer_id)
        else:
            raise InvalidRequest(f"The response '{response_id}' has ended.", code="response_already_completed")

    async def forget(self, ephemeral: EphemeralResponses) -> None:
        """Releases the sandboxes of a connection's unstored responses, after the connection has ended."""
        workspace_ids = ephemeral.workspace_ids
        ephemeral.close()
        for workspace_id in workspace_ids:
            await self._release(workspace_id)

    async def keep_expiring(self) -> None:
        """Drops unstored conversations over HTTP that were not used for a while. Runs until it is cancelled."""
        while True:
            await anyio.sleep(max(1.0, self._components.settings.idle_timeout_s / 20))
            self._unstored.make_room()
            await self._release_dropped()

    async def _after(
        self, run: Run, *, new_run: NewRun, ephemeral: EphemeralResponses | None, begun: Callable[[Run], None]
    ) -> Run | None:
        """Begins the successor of a run that was steered; otherwise releases a sandbox that can no longer be used.

        If no successor can begin, the messages remain in the stored conversation, for its next question. If the run
        waits for input of the client, they come before that input.
        """
        if ephemeral is not None:
            self._unstored.ended(ephemeral, run.response)
            await self._release_dropped()
        if run.steering and required_input(run.response):
            self._steers.keep(run.id, run.steering, owner=run.owner)
        elif run.steering and run.response.status in ("completed", "incomplete"):
            further = replace(
                new_run,
                previous_response_id=run.id,
                conversation_id=None,
                container_id=None,
                answer_id=None,
                messages=list(run.steering),
                generate=True,
                notices=(),
            )
            return await self.create(further, ephemeral=ephemeral, response_id=run.successor_id, begun=begun)
        if ephemeral is None or ephemeral.closed:
            await self._release(run.conversation_id)
        return None

    async def _shared(self, response_id: str) -> "Store":
        if self._database is None:
            raise NotFound(f"There is no response '{response_id}' under way.", param="response_id")
        return await self._database.get()

    async def _release_dropped(self) -> None:
        for workspace_id in self._unstored.dropped():
            await self._release(workspace_id)

    async def _release(self, workspace_id: str) -> None:
        if workspace_id.startswith(UNSTORED):
            await self._components.workspaces.release(workspace_id, "its connection ended")

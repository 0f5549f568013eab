"""What the application holds while it runs, and how a checked request becomes a run."""

import math
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from functools import partial

import msgspec

from codeact import events as e
from codeact import prompt
from codeact.agent import AgentOptions, lost_kernel
from codeact.errors import InvalidRequest
from codeact.ids import new_id
from codeact.mcp_servers import McpServers
from codeact.models import Model, Sampling
from codeact.models.served import Served
from codeact.settings import Settings
from codeact.store import Store
from codeact.tools import Toolbox, functions_of
from codeact.workspace import GivenFile, Workspace, Workspaces
from codeact.written import Collect
from sandbox_pool import Sandbox, SandboxPool
from server.audit import AuditLog
from server.auth import Caller
from server.chats import Chats
from server.containers import Containers
from server.media import blobs_of, given_files, keep, show
from server.parts import Part
from server.preparation import Preparation
from server.quota import admit, check_concurrency
from server.requests import CreateRequest
from server.runs import Run, Runs
from server.steering import steer_elsewhere
from server.streams import open_stream
from server.unstored import Place, Unstored

__all__ = ["State"]

UNSTORED = "unstored"
"""What the ids of workspaces start with that belong to no stored conversation."""


@dataclass(frozen=True, slots=True)
class State:
    """The parts, which may still be starting, and the runs. One per application, at `app.state.codeact`."""

    settings: Settings
    store: Part[Store]
    pool: Part[SandboxPool]
    models: Part[Served]
    workspaces: Workspaces
    runs: Runs
    audit: AuditLog
    mcp: McpServers
    containers: Containers
    chats: Chats = field(default_factory=Chats)

    async def create(
        self,
        request: CreateRequest,
        *,
        caller: Caller,
        unstored: Unstored | None = None,
        response_id: str | None = None,
    ) -> Run:
        """Stores the request's input and starts its run. When it returns, the input is safe.

        `response_id` is one that a client was told already. `unstored` is the connection's memory of responses with
        `store: false`. Raises `InvalidRequest` and its kin for ids that do not fit, `ModelNotFound`, `Overloaded`,
        `RateLimited`, and what a part failed with.
        """
        try:
            return await self._create(request, caller, unstored, response_id or new_id("resp"))
        except Exception:
            if unstored is not None and request.previous_response_id is not None:
                unstored.forget(request.previous_response_id)
            raise

    async def _create(self, request: CreateRequest, caller: Caller, unstored: Unstored | None, response_id: str) -> Run:
        toolbox = Toolbox([*functions_of(msgspec.to_builtins(request.tools or [])), *self.mcp.functions])
        store = await self.store.get()
        model = (await self.models.get()).get(request.model)
        preparation = Preparation(store, request, caller.owner, unstored)
        place = await preparation.place()
        workspace_id = place.workspace_id
        if self.pool.opened is not None:
            self.workspaces.check_quota(self.pool.opened.value, workspace_id, owner=caller.owner)
        check_concurrency(caller, live_of=self.runs.live_of)
        async with self.runs.reserve(workspace_id, owner=caller.owner):
            await admit(caller, store=store)
            messages = await preparation.messages()
            if workspace_id is None and request.store is False:
                workspace_id = new_id(UNSTORED)
            elif workspace_id is None:
                workspace_id = (await store.create_conversation(owner=caller.owner)).id
            response = self._response(response_id, request, place, workspace_id, model)
            workspace = self.workspaces.get(workspace_id, owner=caller.owner)
            history = [item for stored in place.thread for item in (*stored.input, *stored.response.output)]
            _check_outputs(messages, history)
            messages = [*self._notes(response, history, workspace, place), *messages]
            run = Run(
                response,
                owner=caller.owner,
                conversation_id=workspace_id,
                store=store,
                writer=self.runs.writer,
                patience_s=self.settings.store_patience_s,
            )
            if response.store:
                await store.begin_response(response, messages, owner=caller.owner)
            elif unstored is not None:
                unstored.add(response, messages, place, workspace_id=workspace_id)
            files = given_files([*history, *messages], get=preparation.get_blob)
            produce = partial(
                run.produce,
                await show([*history, *messages], get=preparation.get_blob),
                model=model,
                workspace=workspace,
                options=self._options(request, toolbox, files, run, partial(self._may_warm, caller, workspace)),
            )
            then = partial(self._after, request=request, caller=caller, unstored=unstored)
            self.runs.start(run, produce, then=then)
        self.audit.record(caller, "response.create", run.id)
        return run

    async def open_stream(
        self, response_id: str, *, owner: str, starting_after: int = -1, idle_s: float = math.inf
    ) -> AsyncGenerator[list[str], None]:
        """The response's frames after this number; see `server.streams`."""
        store = await self.store.get()
        return await open_stream(
            self.runs, store, response_id, owner=owner, start=max(0, starting_after + 1), idle_s=idle_s
        )

    async def cancel(self, response_id: str, *, owner: str) -> Run | None:
        """Has the response stop, whichever process is at work on it; returns its run if that is this one.

        Returns at once. An ended response stays as it is. Raises `NotFound`.
        """
        run = self.runs.find(response_id, owner=owner)
        if run is not None:
            run.cancel()
            return run
        store = await self.store.get()
        if await store.leases.is_under_way(response_id, owner=owner):
            await store.leases.ask_to_cancel(response_id, owner=owner)
        return None

    async def steer(self, response_id: str, messages: list[e.InputMessage], *, owner: str) -> None:
        """See `Run.steer`; whichever process is at work on it. Raises `NotFound` too."""
        steer_id = new_id("steer")
        run = self.runs.find(response_id, owner=owner)
        if run is not None:
            run.steer(messages, steer_id=steer_id)
            return
        store = await self.store.get()
        if not await store.leases.is_under_way(response_id, owner=owner):
            raise InvalidRequest(f"The response '{response_id}' has ended.", code="response_already_completed")
        kept = await keep(messages, blobs_of(store, owner=owner))
        await steer_elsewhere(store, response_id, kept, owner=owner, steer_id=steer_id)

    async def _after(
        self, run: Run, *, request: CreateRequest, caller: Caller, unstored: Unstored | None
    ) -> Run | None:
        """What follows a run's end: a successor where it was steered; else an unstored one's sandbox may go."""
        if run.steering and run.response.status in ("completed", "incomplete"):
            further = msgspec.structs.replace(
                request, previous_response_id=run.id, conversation=None, messages=list(run.steering), generate=None
            )
            return await self.create(further, caller=caller, unstored=unstored, response_id=run.successor_id)
        if unstored is None or unstored.closed:
            await self._release(run.conversation_id)
        return None

    async def forget(self, unstored: Unstored) -> None:
        """A connection has ended: what it alone could continue needs no sandbox any more."""
        unstored.closed = True
        for workspace_id in unstored.workspace_ids:
            await self._release(workspace_id)

    async def _release(self, workspace_id: str) -> None:
        if workspace_id.startswith(UNSTORED):
            await self.workspaces.release(workspace_id, "its connection ended")

    def _response(
        self, response_id: str, request: CreateRequest, place: Place, workspace_id: str, model: Model
    ) -> e.Response:
        stored = request.store is not False
        return e.Response(
            id=response_id,
            created_at=int(time.time()),
            model=model.name,
            conversation=e.ConversationRef(workspace_id) if stored else None,
            previous_response_id=place.thread[-1].response.id if place.thread else None,
            instructions=request.instructions,
            metadata=request.metadata or {},
            background=bool(request.background),
            max_output_tokens=request.max_output_tokens,
            max_tool_calls=request.max_tool_calls,
            temperature=1.0 if request.temperature is None else request.temperature,
            top_p=1.0 if request.top_p is None else request.top_p,
            text=request.text or e.TextConfig(),
            reasoning=request.reasoning,
            tool_choice=request.tool_choice or "auto",
            tools=msgspec.to_builtins(request.tools or []),
            truncation=request.truncation or "disabled",
            store=stored,
            user=request.user,
            safety_identifier=request.safety_identifier,
            prompt_cache_key=request.prompt_cache_key,
        )

    def _notes(
        self, response: e.Response, history: list[e.Input | e.Item], workspace: Workspace, place: Place
    ) -> list[e.InputMessage]:
        """What the model has to know of its kernel before it reads the request."""
        gone = place.retold and workspace.container_id is None
        if reason := workspace.lost if gone else lost_kernel(history, workspace):
            response.notices.append(
                e.Notice("kernel_replaced", f"A new kernel was started and the variables are gone: {reason}.")
            )
            return [_note(prompt.kernel_lost(reason))]
        if place.branched and workspace.container_id is not None:
            return [_note(prompt.BRANCHED)]
        return []

    def _options(
        self,
        request: CreateRequest,
        toolbox: Toolbox,
        files: list[GivenFile],
        run: Run,
        may_warm: Callable[[], bool],
    ) -> AgentOptions:
        effort = request.reasoning.effort if request.reasoning is not None else None
        return AgentOptions(
            max_turns=self.settings.max_turns,
            max_tool_calls=0 if request.tool_choice == "none" else request.max_tool_calls,
            generate=request.generate is not False,
            may_warm=may_warm,
            truncate=request.truncation == "auto",
            observation_chars=self.settings.observation_chars,
            instructions=request.instructions,
            sampling=Sampling(request.temperature, request.top_p, request.max_output_tokens, effort),
            limits=self.settings.sandbox_spec.limits,
            toolbox=toolbox if request.tool_choice != "none" else Toolbox(),
            call_timeout_s=self.settings.call_timeout_s,
            files=files,
            collect=None if request.store is False else self._collecting(run, files),
        )

    def _may_warm(self, caller: Caller, workspace: Workspace) -> bool:
        """Whether a sandbox may be claimed ahead of a question; the pages of strangers have bounds."""
        pool = self.pool.opened
        return caller.grant is None or (pool is not None and self.workspaces.may_warm(pool.value, workspace))

    def _collecting(self, run: Run, given: list[GivenFile]) -> Collect:
        """Gives the files that code wrote: what the user gave is not among them as long as it is the same."""
        same = {(file.name, file.sha256) for file in given}

        async def collect(sandbox: Sandbox) -> list[tuple[str, str]]:
            files = await self.containers.collect(sandbox, conversation_id=run.conversation_id, owner=run.owner)
            return [(file.id, file.path) for file in files if (file.path, file.sha256) not in same]

        return collect


def _check_outputs(messages: list[e.Input], history: list[e.Input | e.Item]) -> None:
    """Raises `InvalidRequest` for the value of a call that nobody made."""
    calls = {item.call_id for item in history if isinstance(item, e.FunctionCall)}
    for message in messages:
        if isinstance(message, e.FunctionCallOutput) and message.call_id not in calls:
            raise InvalidRequest(
                f"No function was called under the call_id '{message.call_id}' in this conversation; continue the"
                " response that made the call, by 'previous_response_id' or 'conversation'.",
                param="input",
            )


def _note(text: str) -> e.InputMessage:
    return e.InputMessage(id=new_id("msg"), role="developer", content=[{"type": "input_text", "text": text}])

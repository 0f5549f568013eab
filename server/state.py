"""What the application holds while it runs, and how a checked request becomes a run."""

import time
from dataclasses import dataclass

from codeact import events as e
from codeact import prompt
from codeact.agent import AgentOptions, lost_kernel
from codeact.ids import new_id
from codeact.models import Model, Sampling
from codeact.settings import Settings
from codeact.store import Store, StoredResponse
from codeact.workspace import Workspaces
from sandbox_pool import SandboxPool
from server.audit import AuditLog
from server.auth import Caller
from server.parts import Part
from server.quota import admit
from server.requests import CreateRequest
from server.runs import Run, Runs

__all__ = ["State"]


@dataclass(frozen=True, slots=True)
class State:
    """The parts, which may still be starting, and the runs. One per application, at `app.state.codeact`."""

    settings: Settings
    store: Part[Store]
    pool: Part[SandboxPool]
    model: Part[Model]
    workspaces: Workspaces
    runs: Runs
    audit: AuditLog

    async def create(self, request: CreateRequest, *, caller: Caller) -> Run:
        """Stores the request's input and starts its run. When it returns, the input is safe.

        Raises `InvalidRequest` and its kin for ids that do not fit, `Overloaded`, `RateLimited`, and what a part
        failed with.
        """
        owner = caller.owner
        store = await self.store.get()
        model = await self.model.get()
        thread: list[StoredResponse] = []
        conversation_id = request.conversation_id
        if request.previous_response_id is not None:
            thread = await store.thread(request.previous_response_id, owner=owner)
            conversation = thread[-1].response.conversation
            conversation_id = conversation.id if conversation else None
        elif conversation_id is not None:
            found = await store.get_conversation(conversation_id, owner=owner)
            if found.last_response_id is not None:
                thread = await store.thread(found.last_response_id, owner=owner)
        if self.pool.opened is not None:
            self.workspaces.check_quota(self.pool.opened.value, conversation_id, owner=owner)
        async with self.runs.reserve(conversation_id):
            await admit(caller, store=store, live=self.runs.live_of(owner))
            if conversation_id is None:
                conversation_id = (await store.create_conversation(owner=owner)).id
            run = await self._start(request, thread, conversation_id, store, model, owner=owner)
        self.audit.record(caller, "response.create", run.id)
        return run

    async def _start(
        self,
        request: CreateRequest,
        thread: list[StoredResponse],
        conversation_id: str,
        store: Store,
        model: Model,
        *,
        owner: str,
    ) -> Run:
        workspace = self.workspaces.get(conversation_id, owner=owner)
        history = [item for stored in thread for item in (*stored.input, *stored.response.output)]
        response = e.Response(
            id=new_id("resp"),
            created_at=time.time(),
            model=model.name,
            conversation=e.ConversationRef(conversation_id),
            previous_response_id=thread[-1].response.id if thread else None,
            instructions=request.instructions,
            metadata=request.metadata or {},
            max_output_tokens=request.max_output_tokens,
            max_tool_calls=request.max_tool_calls,
            temperature=request.temperature,
            top_p=request.top_p,
            tools=request.tools or [],
        )
        messages = list(request.messages)
        if reason := lost_kernel(history, workspace):
            response.notices.append(
                e.Notice("kernel_replaced", f"A new kernel was started and the variables are gone: {reason}.")
            )
            note = {"type": "input_text", "text": prompt.kernel_lost(reason)}
            messages.insert(0, e.InputMessage(id=new_id("msg"), role="developer", content=[note]))
        run = Run(response, owner=owner, conversation_id=conversation_id, store=store)
        await store.begin_response(response, messages, owner=owner)
        self.runs.start(
            run,
            [*history, *messages],
            model=model,
            workspace=workspace,
            options=self._options(request),
        )
        return run

    def _options(self, request: CreateRequest) -> AgentOptions:
        turns = [self.settings.max_turns]
        if request.max_tool_calls is not None:
            turns.append(request.max_tool_calls)
        return AgentOptions(
            max_turns=min(turns),
            observation_chars=self.settings.observation_chars,
            instructions=request.instructions,
            sampling=Sampling(request.temperature, request.top_p, request.max_output_tokens),
            limits=self.settings.sandbox_spec.limits,
        )

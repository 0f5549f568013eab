"""Begins one run: finds the point where its question continues, stores the question, and starts the answer."""

import math
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import anyio

from codeact import events as e
from codeact.agent.approvals import ApprovalOptions, Asked, Decided
from codeact.agent.loop import AgentOptions, Context
from codeact.agent.model_budget import ModelBudget
from codeact.agent.output_files import Collect
from codeact.agent.waiting_block import WaitingBlock
from codeact.component import Component
from codeact.concurrency.concurrently import concurrently
from codeact.dialect import Name, dialect_for
from codeact.dialect.known_prompt import KnownPrompt
from codeact.environment import Environment
from codeact.errors import InvalidRequest
from codeact.events.last_code import LastCode
from codeact.ids import new_id
from codeact.model import Model
from codeact.models.registry import ModelRegistry
from codeact.packages import worth_telling
from codeact.runs.admission import Admission, check_concurrency
from codeact.runs.code_models import CodeModels
from codeact.runs.container_files import container_files, names_for_model
from codeact.runs.decisions import Decisions, approval_record, call_record
from codeact.runs.disk_floor import DiskFloor
from codeact.runs.holders import HeldElsewhere, holder_of
from codeact.runs.kernel_notes import UNKNOWN_HISTORY, kernel_notes
from codeact.runs.kernel_states import KernelState, state_for
from codeact.runs.known_prompts import KnownPrompts
from codeact.runs.manager import RunManager
from codeact.runs.media import Get, inline_media, input_files, shown_image
from codeact.runs.model_parameters import for_model
from codeact.runs.new_run import NewRun
from codeact.runs.preparation import Preparation
from codeact.runs.resume_points import EphemeralResponses, ResumePoint
from codeact.runs.run import Run
from codeact.runs.seals import seals_for
from codeact.runs.shared_slots import SharedSlots
from codeact.runs.tool_choice import searches
from codeact.runs.waiting_blocks import find_waiting_block
from codeact.settings import Settings
from codeact.skills.staged import skills_for_model
from codeact.store.allowance import Allowance, Allowances
from codeact.store.references import reference
from codeact.store.repositories.threads import Moved
from codeact.store.run_store import RunStore
from codeact.tools.approval import Judge
from codeact.tools.client_search import loaded_functions, with_loaded
from codeact.tools.mcp import McpServers
from codeact.tools.toolbox import Toolbox, functions_of
from codeact.workspaces.checkpoints import Checkpoints, Point
from codeact.workspaces.containers import Containers
from codeact.workspaces.options import ALL_HAVE, ContainerOptions
from codeact.workspaces.registry import Workspaces
from codeact.workspaces.workspace import StagedFile, Workspace
from sandbox_pool import Sandbox, SandboxPool
from sandbox_pool.backends.base import READONLY, egress_problem
from sandbox_pool.calls import Call

__all__ = ["UNSTORED", "Question", "RunComponents"]

UNSTORED = "unstored"
"""The prefix of the ids of workspaces without a stored conversation."""

After = Callable[[Run], Awaitable[Run | None]]
"""Called with a run that has ended; returns the run that continues with the steering messages, or None."""

ATTEMPTS = 5
"""How often a question tries to attach, if other responses end in its conversation at the same moment."""


@dataclass(frozen=True, slots=True)
class RunComponents:
    """The components that runs use. The database, the sandboxes and the models may still be starting.

    `judge` decides about approvals before a person is asked; with `attended` False there is no such person. `judged` is
    told its decisions: the owner, `approve` or `reject`, and what was asked about.
    """

    settings: Settings
    store: Component[RunStore]
    pool: Component[SandboxPool]
    models: Component[ModelRegistry]
    workspaces: Workspaces
    runs: RunManager
    mcp: McpServers
    containers: Containers
    disk: DiskFloor
    allowances: Allowances = field(default_factory=Allowances)
    slots: SharedSlots | None = None
    may_have_peers: bool = False
    """Whether this server is one of several with the same database."""
    has_peers: Callable[[], bool] = lambda: False
    """Whether other servers were alive when this one last looked, so that one of them may hold a kernel."""
    prompts: KnownPrompts = field(default_factory=KnownPrompts)
    checkpoints: Checkpoints | None = None
    """None: no state of a kernel is stored, as with a store in memory."""
    judge: Judge | None = None
    attended: bool = True
    judged: Callable[[str, str, str], None] = lambda owner, action, name: None

    def environment(self, options: ContainerOptions = ALL_HAVE) -> Environment:
        """Returns the description of the sandboxes for the model. `options`: those that one conversation's have."""
        pool = self.pool.started
        spec = self.settings.sandbox_spec if pool is None else pool.value.spec
        spec = options.applied(spec)
        if pool is None:
            return Environment.of(spec)
        return Environment.of(spec, pool.value.backend.isolation, worth_telling(pool.value.packages))


class Question:
    """Begins one run, by one call of `begin`.

    `ephemeral` remembers unstored responses of one connection. `then` is called after the run's end.
    """

    def __init__(
        self,
        components: RunComponents,
        new_run: NewRun,
        ephemeral: EphemeralResponses | None,
        response_id: str | None,
        then: After,
    ) -> None:
        self._components = components
        self._new_run = new_run
        self._ephemeral = ephemeral
        self._response_id = response_id
        self._then = then
        self._toolbox = Toolbox()
        self._files: Sequence[StagedFile] = ()
        self._budget: ModelBudget | None = None
        self._asks = ApprovalOptions()
        self._waiting_block: WaitingBlock | None = None
        self._known_prompt = KnownPrompt()
        self._workspace: Workspace | None = None

    async def begin(self) -> Run:
        """Stores the question and starts its run. Raises the same errors as `RunService.create`.

        It makes at most three database calls in a row, whatever the conversation's length, and one more if it has to
        store images or files first. A cancellation has no effect once the question is being stored: every stored
        response gets its run.
        """
        self._components.disk.check()
        store = await self._components.store.get()
        model = (await self._components.models.get()).get(self._new_run.model)
        drop = self._components.settings.drop_params
        self._new_run = for_model(self._new_run, model, drop=drop)
        self._toolbox = self._tools(model)
        dialect_for(model, self._dialect(model.name))
        runs, new_run = self._components.runs, self._new_run
        check_concurrency(new_run.accounts, live_of=runs.live_of)
        with runs.reserve(owner=new_run.owner):
            async with Admission.open(new_run.accounts, store, self._components.slots) as admission:
                preparation = Preparation(store, new_run, self._ephemeral)
                ids, get = new_run.container_file_ids, preparation.get_blob
                self._files = await container_files(ids, store, owner=new_run.owner, get=get)
                calls = (admission.ask, preparation.read) if admission.has_limits else (preparation.read,)
                resume_point = (await concurrently(*calls))[-1]
                for attempt in range(1, ATTEMPTS + 1):
                    await self._check_holder(resume_point, store)
                    try:
                        allowance = admission.allowance(self._components.allowances)
                        return await self._attach(resume_point, preparation, store, model, allowance, admission)
                    except Moved:
                        if attempt == ATTEMPTS:
                            raise
                    resume_point = await preparation.read()
        raise AssertionError("unreachable")

    async def _check_holder(self, resume_point: ResumePoint, store: RunStore) -> None:
        """Raises `HeldElsewhere` if another living server holds the conversation's kernel."""
        new_run, conversation_id = self._new_run, resume_point.workspace_id
        may_pass = not new_run.stays and (new_run.store or self._ephemeral is None)
        if conversation_id is None or not may_pass or not self._components.may_have_peers:
            return
        last_code = await resume_point.last_code(store) if resume_point.knows_last_code else None
        if last_code is None and not self._components.has_peers():
            return  # With code that ran elsewhere, its server may have come since this one looked for others.
        here = self._components.workspaces.container_of(conversation_id)
        process = await holder_of(conversation_id, owner=new_run.owner, here=here, last_code=last_code, store=store)
        if process is not None:
            raise HeldElsewhere(process, self._new_id(resume_point))

    def _check_egress(self) -> None:
        """Raises `InvalidRequest` if the request allows hosts and sandboxes here cannot have hosts of their own."""
        if self._new_run.container.egress is None or (pool := self._components.pool.started) is None:
            return
        if problem := egress_problem(pool.value.backend):
            raise InvalidRequest(problem, param="network_policy")

    async def _attach(
        self,
        resume_point: ResumePoint,
        preparation: Preparation,
        store: RunStore,
        model: Model,
        allowance: Allowance,
        admission: Admission,
    ) -> Run:
        """Stores the question after `resume_point`. Raises `Moved` if the conversation has changed meanwhile."""
        new_run, workspaces = self._new_run, self._components.workspaces
        if self._components.pool.started is not None:
            workspaces.check_quota(self._components.pool.started.value, resume_point.workspace_id, owner=new_run.owner)
        await workspaces.make_room_over_all_servers(resume_point.workspace_id, owner=new_run.owner)
        workspace_id = resume_point.workspace_id or new_id("conv" if new_run.store else UNSTORED)
        with ExitStack() as kept, ExitStack() as used, self._components.runs.lock(workspace_id):
            workspace = kept.enter_context(workspaces.keep(workspace_id, owner=new_run.owner))
            used.enter_context(workspace.in_use())
            self._check_egress()
            workspace.keep_shown_options(resume_point.container)
            workspace.want(await new_run.container.with_placeholders(store, owner=new_run.owner))
            if resume_point.knows_last_code:
                messages, code = await preparation.messages(resume_point), await resume_point.last_code(store)
            else:
                messages, code = await concurrently(
                    partial(preparation.messages, resume_point), partial(resume_point.last_code, store)
                )
            response = self._response(resume_point, workspace_id, model)
            decided = [message for message in messages if isinstance(message, Decided)]
            decisions = Decisions(store, new_run.owner, new_run.caller, response.id, new_run.store, self._ephemeral)
            state, problem = await self._state(resume_point, messages, code, workspace)
            if problem:
                response.notices.append(e.Notice("code_not_repeated", problem))
            keeps = new_run.keeps_kernel
            notes = kernel_notes(response, code, workspace, resume_point, state, keeps_kernel=keeps)
            messages = [*notes, *messages]
            run = Run(
                response,
                owner=new_run.owner,
                conversation_id=workspace_id,
                store=store,
                writer=self._components.runs.writer,
                store_timeout_s=self._components.settings.store_patience_s,
                allowance=allowance,
            )
            run.count_input(messages, new_run.client_metadata)
            load = partial(self._load, resume_point, messages, code, run, workspace, preparation, store)
            with anyio.CancelScope(shield=True):
                await decisions.make(decided, resume_point)
                try:
                    if response.store:
                        await store.threads.begin(
                            response,
                            messages,
                            owner=new_run.owner,
                            at=resume_point.at,
                            last_code=code,
                            client_metadata=new_run.client_metadata,
                            container=workspace.options.shown(),
                            also=run.store_created if self._components.runs.has_place else None,
                        )
                    elif self._ephemeral is not None:
                        shown = workspace.options.shown()
                        self._ephemeral.add(
                            response, messages, resume_point, workspace_id=workspace_id, container=shown
                        )
                except BaseException:
                    await decisions.undo()
                    raise
                if state is None:
                    workspace.restore_nothing()
                elif self._components.checkpoints is not None:
                    await state.enter(workspace, self._components.checkpoints)
                resources = kept.pop_all()
                produce = partial(run.produce, load, model=model, workspace=workspace)
                ended = partial(self._ended, run, workspace)
                produce_all = partial(_produce_with, resources, produce, ended, admission)
                self._components.runs.start(run, produce_all, then=self._then)
                if not run.is_queued:  # While a run is queued, its sandbox may be taken for others.
                    resources.push(used.pop_all())
        return run

    async def _load(
        self,
        resume_point: ResumePoint,
        messages: list[e.Input],
        code: LastCode | None,
        run: Run,
        workspace: Workspace,
        read: Preparation,
        store: RunStore,
    ) -> tuple[Context, AgentOptions]:
        """Reads what the answer needs besides the question, after `response.created` was sent."""
        self._workspace = workspace
        late_notes = await self._late_notes(run, resume_point, messages, code, workspace)
        stored_id = None if run.conversation_id.startswith(UNSTORED) else run.conversation_id
        seals = await seals_for(self._new_run, store, conversation_id=stored_id)
        # While a run is queued, others may delete items of the conversation.
        has_begun = run.response.store and not run.is_queued
        history = await resume_point.history(store, has_begun=has_begun)
        conversation = [*history, *late_notes, *messages]
        if searches(self._new_run.choice.tools):
            self._toolbox = with_loaded(self._toolbox, loaded_functions(conversation))
        if self._new_run.compact_only:
            run.conversation = conversation
        self._known_prompt = self._components.prompts.take(run.conversation_id)
        files = [*self._files, *input_files(conversation, get=read.get_blob)]
        options = replace(
            self._options(files, run, workspace, read.get_blob), approval=self._approval(run, store, messages)
        )
        known = self._known_prompt.inlined
        return await inline_media(conversation, get=read.get_blob, known=known), replace(options, **seals)

    async def _late_notes(
        self,
        run: Run,
        resume_point: ResumePoint,
        messages: Sequence[e.Input],
        code: LastCode | None,
        workspace: Workspace,
    ) -> list[e.InputMessage]:
        """The notes about a kernel that was taken for others while the run was queued."""
        is_known = any(each.code == "kernel_replaced" for each in run.response.notices)
        if not run.is_queued or is_known or workspace.is_restoring or self._waiting_block is not None:
            return []
        state, problem = await self._state(resume_point, messages, code, workspace)
        if problem and all(each.code != "code_not_repeated" for each in run.response.notices):
            run.response.notices.append(e.Notice("code_not_repeated", problem))
        keeps = self._new_run.keeps_kernel
        notes = kernel_notes(run.response, code, workspace, resume_point, state, keeps_kernel=keeps)
        if state is not None and self._components.checkpoints is not None:
            await state.enter(workspace, self._components.checkpoints)
        return notes

    async def _state(
        self, resume_point: ResumePoint, messages: Sequence[e.Input], code: LastCode | None, workspace: Workspace
    ) -> tuple[KernelState | None, str]:
        """As `_kernel_state`, or the state in which a block begins that waited for these messages and runs again.

        Also returns why such a block cannot run again, or an empty text.
        """
        found, checkpoints = None, self._components.checkpoints
        self._waiting_block = None  # An earlier attempt may have found one that has gone on meanwhile.
        if checkpoints is not None and self._new_run.store:
            found = await find_waiting_block(resume_point, messages, workspace, checkpoints)
        if found is not None and found.block is not None:
            self._waiting_block = found.block
            point = found.block.state or None
            return KernelState(point, found.record, found.restored, found.options, found.block), ""
        problem = f"The code that waited cannot run again: {found.problem}." if found is not None else ""
        return await self._kernel_state(resume_point, code, workspace), problem

    async def _kernel_state(
        self, resume_point: ResumePoint, code: LastCode | None, workspace: Workspace
    ) -> KernelState | None:
        """The state with which the question continues; None if the kernel, or its loss, stays as it is."""
        checkpoints = self._components.checkpoints
        if checkpoints is None or self._new_run.keeps_kernel or not self._new_run.store:
            return None
        return await state_for(resume_point, code, workspace, checkpoints)

    async def _keep_state(self, run: Run, workspace: Workspace, item_id: str) -> str | None:
        """See `AgentOptions.keep_state`."""
        if (checkpoints := self._components.checkpoints) is None or not run.response.store:
            return None
        point = Point(run.owner, run.conversation_id, run.id, run.allowance.room_bytes, before=item_id)
        return await checkpoints.before_code(workspace, point)

    def _drop_state(self, run: Run, state: str) -> None:
        """See `AgentOptions.drop_state`. States after responses stay."""
        if self._components.checkpoints is not None and state.startswith("ci_"):
            self._components.checkpoints.after_code(state, conversation_id=run.conversation_id, owner=run.owner)

    def _ended(self, run: Run, workspace: Workspace) -> None:
        """After the answer has ended, holds its prompt for the next one, and lets the state of the kernel be stored in
        the background.
        """
        if self._new_run.store or self._ephemeral is not None:
            self._components.prompts.put(run.conversation_id, self._known_prompt, owner=run.owner)
        checkpoints, room_bytes = self._components.checkpoints, run.allowance.room_bytes
        if checkpoints is not None and run.response.store and run.response.conversation is not None:
            checkpoints.begin(workspace, Point(run.owner, run.conversation_id, run.id, room_bytes))

    def _response(self, resume_point: ResumePoint, workspace_id: str, model: Model) -> e.Response:
        new_run = self._new_run
        unknown = new_run.is_unnamed and resume_point.workspace_id is None
        return e.Response(
            id=self._new_id(resume_point),
            created_at=int(time.time()),
            model=model.name,
            conversation=e.ConversationRef(workspace_id) if new_run.store else None,
            previous_response_id=resume_point.previous_response_id,
            instructions=new_run.instructions,
            metadata=new_run.metadata,
            background=new_run.background,
            max_output_tokens=new_run.max_output_tokens,
            max_tool_calls=new_run.max_tool_calls,
            temperature=1.0 if new_run.temperature is None else new_run.temperature,
            top_p=1.0 if new_run.top_p is None else new_run.top_p,
            presence_penalty=new_run.presence_penalty or 0.0,
            frequency_penalty=new_run.frequency_penalty or 0.0,
            top_logprobs=new_run.top_logprobs or 0,
            notices=[*new_run.notices, *([UNKNOWN_HISTORY] if unknown else [])],
            text=new_run.text,
            reasoning=new_run.reasoning,
            tool_choice=new_run.tool_choice,
            parallel_tool_calls=new_run.parallel_tool_calls,
            tools=list(new_run.tools),
            truncation=new_run.truncation,
            store=new_run.store,
            user=new_run.user,
            safety_identifier=new_run.safety_identifier,
            prompt_cache_key=new_run.prompt_cache_key,
        )

    def _new_id(self, resume_point: ResumePoint) -> str:
        after = resume_point.at.last_response_id or resume_point.previous_response_id
        return self._response_id or new_id("resp", after=after)

    def _dialect(self, model: str) -> Name | None:
        """Returns the dialect of the request, else the one configured for this model."""
        return self._new_run.dialect or self._components.settings.options_of(model).dialect

    def _options(self, files: Sequence[StagedFile], run: Run, workspace: Workspace, get: Get) -> AgentOptions:
        new_run, settings, choice = self._new_run, self._components.settings, self._new_run.choice
        return AgentOptions(
            max_turns=settings.max_turns,
            max_tool_calls=new_run.max_tool_calls if choice.may_act else 0,
            must_act=choice.must_act,
            must_call=choice.must_call,
            generate=new_run.generate,
            may_warm=partial(self._may_warm, workspace),
            truncate=new_run.truncation == "auto",
            observation_chars=settings.observation_chars,
            call_output_tokens=settings.model_max_output_tokens,
            instructions=self._instructions() or None,
            sampling=new_run.sampling,
            environment=self._components.environment(workspace.options),
            toolbox=self._toolbox,
            mcp_servers=new_run.mcp_servers if choice.may_act else (),
            mcp_public_only=settings.request_mcp != "any",
            budget=self._budget,
            call_timeout_s=settings.call_timeout_s,
            parallel_calls=new_run.parallel_tool_calls,
            files=files,
            skills=new_run.skills,
            collect=self._collecting(run, files) if new_run.store and new_run.collects_files else None,
            room_bytes=run.allowance.room_bytes,
            dialect=self._dialect(run.response.model),
            preferred_dialect=settings.preferred_dialect,
            shows_images=settings.model_images,
            answer_format=new_run.answer_format,
            window_tokens=settings.options_of(run.response.model).window_tokens,
            load_image=partial(shown_image, get=get),
            compact_threshold=new_run.compact_threshold,
            compact_only=new_run.compact_only,
            keep_source=partial(self._keep_source, run) if new_run.store else None,
            keep_state=partial(self._keep_state, run, workspace) if new_run.store else None,
            drop_state=partial(self._drop_state, run) if new_run.store else None,
            waiting_block=self._waiting_block,
            eager=self._is_eager(run.response.model),
            known_prompt=self._known_prompt,
        )

    async def _keep_source(self, run: Run, source: str) -> str:
        """Stores the definitions of the functions that this run's code can call; returns their reference."""
        store = await self._components.store.get()
        return reference(await store.put_blob(source.encode(), "text/x-python", owner=run.owner))

    def _is_eager(self, model: str) -> bool:
        """Whether code runs while the model writes it: as the request, the model's option, or the setting says."""
        settings = self._components.settings
        choices = (self._new_run.eager, settings.options_of(model).eager)
        return next((choice for choice in choices if choice is not None), settings.eager)

    def _approval(self, run: Run, store: RunStore, messages: Sequence[e.Input]) -> ApprovalOptions:
        """Returns what waits for approval in this run, and what its request has decided."""
        owner = run.owner

        async def add(request: Asked) -> None:
            if run.response.store:
                conversation_id = run.conversation_id
                record = approval_record(request, owner=owner, conversation_id=conversation_id, response_id=run.id)
                await store.approvals.add(record)

        async def move(approval_ids: Collection[str]) -> None:
            if run.response.store:
                await store.approvals.move(approval_ids, run.id, owner=owner)

        async def list_calls(calls: Sequence[Call], expires_at: float) -> None:
            if run.response.store:
                items = {getattr(item, "call_id", None): item.id for item in run.response.output}
                place = {"owner": owner, "conversation_id": run.conversation_id, "response_id": run.id}
                records = [call_record(call, items[call.call_id], expires_at, **place) for call in calls]
                await store.approvals.add(*records)

        async def end_calls(call_ids: Collection[str], given: Collection[str]) -> None:
            if run.response.store:
                place = {"owner": owner, "conversation_id": run.conversation_id, "response_id": run.id}
                await store.approvals.answer(call_ids, given, **place)

        return replace(
            self._asks,
            decided=[message for message in messages if isinstance(message, Decided)],
            goes_on=any(isinstance(message, e.InputMessage) and message.role == "user" for message in messages),
            conversation_id=run.conversation_id,
            add=add,
            withdraw=partial(store.approvals.withdraw, owner=owner),
            move=move,
            list_calls=list_calls,
            end_calls=end_calls,
        )

    def _instructions(self) -> str:
        parts = (
            self._new_run.model_instructions,
            names_for_model(self._files),
            skills_for_model(self._new_run.skills, READONLY),
        )
        return "\n\n".join(filter(None, parts))

    def _tools(self, model: Model) -> Toolbox:
        """Returns the functions that code can call. Raises `InvalidRequest` for an invalid function."""
        choice = self._new_run.choice
        self._asks = ApprovalOptions(
            self._components.settings.approval_policy.joined(self._new_run.approval),
            self._components.judge,
            attended=self._components.attended,
            standing=self._components.settings.approval_standing,
            expires_s=self._components.settings.approval_expires_s,
            judge_timeout_s=self._components.settings.call_timeout_s if self._components.attended else math.inf,
            owner=self._new_run.owner,
            judged=partial(self._components.judged, self._new_run.owner),
        )
        components, mcp = self._components, self._components.mcp
        models = CodeModels(
            self._new_run,
            model,
            settings=components.settings,
            workspaces=components.workspaces,
            environment=components.environment,
            approval=replace(self._asks, attended=False),
            options=lambda: self._workspace.options if self._workspace is not None else ALL_HAVE,
        )
        self._budget = models.budget
        functions = [*functions_of(list(choice.tools)), *self._new_run.functions, *models.functions]
        toolbox = Toolbox([*functions, *mcp.functions]) if functions else mcp.toolbox
        if searches(choice.tools):
            toolbox = with_loaded(toolbox, loaded_functions(self._new_run.messages), strict=True)
        return toolbox if choice.may_act else Toolbox()

    def _may_warm(self, workspace: Workspace) -> bool:
        """Whether a sandbox may be claimed before a question; for embedded pages this is limited."""
        pool = self._components.pool.started
        if self._new_run.always_warm:
            return True
        return pool is not None and self._components.workspaces.may_warm(pool.value, workspace)

    def _collecting(self, run: Run, files: Sequence[StagedFile]) -> Collect:
        """Returns a function that collects the files that code wrote, without unchanged files of the user."""
        same = {(file.name, file.sha256) for file in files}
        containers = self._components.containers

        async def collect(sandbox: Sandbox) -> list[tuple[str, str]]:
            files = await containers.collect(sandbox, conversation_id=run.conversation_id, owner=run.owner)
            return [(file.id, file.path) for file in files if (file.path, file.sha256) not in same]

        return collect


async def _produce_with(
    resources: ExitStack, produce: Callable[[], Awaitable[None]], ended: Callable[[], None], admission: Admission
) -> None:
    """Produces the answer, and then releases the question's hold on its workspace and its place among the answers.

    `ended` is called before that.
    """
    try:
        with resources:
            try:
                await produce()
            finally:
                ended()
    finally:
        await admission.give_back()

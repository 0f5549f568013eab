"""The run service for transports: it records every call in the audit log with its caller."""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from codeact.errors import BegunElsewhere, CodeActError
from codeact.events import Approval, CodeApproval, FunctionCallOutput, InputMessage
from codeact.runs.holders import HeldElsewhere
from codeact.runs.known_answers import History, KnownAnswers, answer_keys, answered_key, history_of
from codeact.runs.new_run import NewRun
from codeact.runs.resume_points import EphemeralResponses
from codeact.runs.run import Run
from codeact.runs.service import RunService
from codeact.server.auth.audit_log import AuditLog, audited
from codeact.server.auth.caller import Caller
from codeact.server.auth.current_caller import current_request
from codeact.server.errors import status_of
from codeact.server.peers.client import GetStore, Peers
from codeact.server.peers.passed_run import Answer, Follow, PassedRun
from codeact.server.peers.questions import PassedQuestion, Unanswered, ask, passed_question, received_request
from codeact.server.requests.approvals import check_decisions, decisions_of, request_policy
from codeact.server.requests.code_items import gets_code
from codeact.server.requests.create import CreateRequest, new_run
from codeact.server.requests.skills import staged_skills
from codeact.server.requests.tools import check_tools, options_of
from codeact.settings import Settings
from sandbox_pool.errors import SandboxError

__all__ = ["AuditedService"]


class AuditedService:
    """A `RunService` that records who creates, steers, cancels and reads a response."""

    def __init__(
        self,
        service: RunService,
        audit: AuditLog,
        settings: Settings,
        answers: KnownAnswers,
        *,
        peers: Peers | None = None,
        get_store: GetStore,
    ) -> None:
        self._peers = peers
        self._get_store = get_store
        self._shared = get_store if settings.shares_database else None
        self.audit = audit
        self._answers = answers
        self._settings = settings
        self._service = service

    async def create(
        self,
        request: CreateRequest,
        *,
        caller: Caller,
        ephemeral: EphemeralResponses | None = None,
        response_id: str | None = None,
    ) -> Answer:
        """See `RunService.create`. The successors of a run are recorded too.

        If another server holds the conversation's kernel, the question is passed on to it.

        Also raises `InvalidRequest` for tools that cannot be provided as requested.
        """
        check_tools(request.tools or (), self._settings)
        check_decisions(request, caller, self._settings)
        status = 500
        try:
            run = await self._create(request, caller=caller, ephemeral=ephemeral, response_id=response_id)
            status = 200
            return run
        except (CodeActError, SandboxError) as error:
            status = status_of(error)
            raise
        finally:
            for approval_id, action in decisions_of(request):
                self.audit.record(caller, f"approval.{action}", approval_id, status=status)

    async def _create(
        self,
        request: CreateRequest,
        *,
        caller: Caller,
        ephemeral: EphemeralResponses | None,
        response_id: str | None,
    ) -> Answer:
        history = history_of(request.input)
        asked = await self._with_skills(request, caller)
        if _names_nothing(asked) and history.answered is not None:
            answer_id = await self._known_answer(history, owner=caller.owner)
            asked = replace(asked, answer_id=answer_id, is_unnamed=True)
        begin = partial(self._begin, history=history, caller=caller, ephemeral=ephemeral)
        follow = partial(self._follow, caller.owner)
        try:
            return await begin(asked, response_id=response_id)
        except BegunElsewhere as begun:
            return await self._begun_elsewhere(begun.response_id, caller.owner, follow)
        except HeldElsewhere as held:
            follows = ephemeral is not None
            named: dict[str, Any] = {"answer_id": asked.answer_id, "is_unnamed": asked.is_unnamed}
            question = passed_question(request, held, follows=follows, **named)
            try:
                if self._peers is None:
                    raise Unanswered from None
                run = await ask(self._peers, held.process, question, caller=caller, follow=follow)
            except Unanswered:
                # Should it begin the answer after all, the database lets only one of the two do so.
                try:
                    return await begin(replace(asked, stays=True), response_id=held.response_id)
                except BegunElsewhere:
                    return await self._begun_elsewhere(held.response_id, caller.owner, follow)
            if request.background and not request.stream:
                await run.close()
            return run

    async def answer(self, question: PassedQuestion, *, caller: Caller) -> Run:
        """Begins the run of a question that another server has passed on. Raises the same errors as `create`."""
        request = received_request(question)
        asked = replace(await self._with_skills(request, caller), stays=True)
        asked = replace(asked, answer_id=question.answer_id or asked.answer_id, is_unnamed=question.is_unnamed)
        history = history_of(request.input)
        return await self._begin(asked, history=history, caller=caller, response_id=question.response_id)

    async def _with_skills(self, request: CreateRequest, caller: Caller) -> NewRun:
        """The run that the request asks for, with its skills. Raises `InvalidRequest` and `NotFound`."""
        asked = _asked(request, caller, self._settings)
        if not (skills := request.skills):
            return asked
        return replace(asked, skills=await staged_skills(skills, await self._get_store(), owner=caller.owner))

    async def _begin(
        self,
        asked: NewRun,
        *,
        history: History,
        caller: Caller,
        ephemeral: EphemeralResponses | None = None,
        response_id: str | None = None,
    ) -> Run:
        address = current_request().address  # Runs begin in a task of their own.

        def begun(run: Run) -> None:
            if self._shared is not None:
                run.before_end(partial(self._remember, self._shared, run, history))
            else:
                self._answers.begun(run.response, history, owner=run.owner)
            self.audit.record(caller, "response.create", run.id, address=address)

        return await self._service.create(asked, ephemeral=ephemeral, response_id=response_id, begun=begun)

    async def _begun_elsewhere(self, response_id: str, owner: str, follow: Follow) -> PassedRun:
        response = (await (await self._get_store()).get_response(response_id, owner=owner)).response
        return PassedRun(response, owner=owner, lines=None, follow=follow)

    async def _known_answer(self, history: History, *, owner: str) -> str | None:
        """The id of the last item of the newest answer in this history; None if it is not known for certain."""
        if self._shared is None:
            return self._answers.find(history, owner=owner)
        key = answered_key(history, owner=owner)
        return None if key is None else await (await self._shared()).answers.find(key.hex())

    async def _remember(self, shared: GetStore, run: Run, history: History) -> None:
        """Remembers the answer by its words, for every server."""
        response = run.response
        if response.conversation is not None:
            conversation_id, answers = response.conversation.id, (await shared()).answers
            for key in answer_keys(response, history.asked, owner=run.owner):
                item_id = response.output[-1].id
                await answers.remember(
                    key.hex(), item_id, conversation_id=conversation_id, owner=run.owner, of_one_conversation=True
                )

    async def _follow(self, owner: str, response_id: str, start: int, idle_s: float) -> AsyncGenerator[list[str], None]:
        stream = await self._service.open_stream(response_id, owner=owner, starting_after=start - 1, idle_s=idle_s)
        async with aclosing(stream):
            async for frames in stream:
                yield frames

    async def input_tokens(self, request: CreateRequest, *, caller: Caller) -> int:
        """See `RunService.input_tokens`."""
        check_tools(request.tools or (), self._settings)
        return await self._service.input_tokens(replace(_run_of(request, caller, self._settings), store=False))

    async def compact(self, request: NewRun, *, caller: Caller) -> Run:
        """Compacts the request's conversation and returns the run when it has ended. Nothing of it is stored."""
        run = await self._service.create(
            request, begun=lambda run: self.audit.record(caller, "response.compact", run.id)
        )
        await run.end()
        return run

    @audited("response.read", by_operators=True)
    async def open_stream(
        self, response_id: str, *, owner: str, starting_after: int = -1, idle_s: float = math.inf
    ) -> AsyncGenerator[list[str], None]:
        """See `RunService.open_stream`."""
        return await self._service.open_stream(response_id, owner=owner, starting_after=starting_after, idle_s=idle_s)

    @audited("response.cancel")
    async def cancel(self, response_id: str, *, owner: str) -> Run | None:
        """See `RunService.cancel`."""
        return await self._service.cancel(response_id, owner=owner)

    @audited("response.steer")
    async def steer(self, response_id: str, messages: list[InputMessage], *, owner: str) -> None:
        """See `RunService.steer`."""
        await self._service.steer(response_id, messages, owner=owner)

    async def forget(self, ephemeral: EphemeralResponses) -> None:
        """See `RunService.forget`."""
        await self._service.forget(ephemeral)


def _asked(request: CreateRequest, caller: Caller, settings: Settings) -> NewRun:
    """The run that the request asks for, with what it says about approval. Raises `InvalidRequest`."""
    approval, who = request_policy(request), caller.credential_id or caller.owner
    return replace(_run_of(request, caller, settings), approval=approval, caller=who)


def _run_of(request: CreateRequest, caller: Caller, settings: Settings) -> NewRun:
    tools = request.tools or ()
    container = options_of(tools, settings, embedded=caller.grant is not None)
    shows = gets_code(settings.code_items, tools, request.include, store=request.store is not False)
    return new_run(request, caller, container, gets_code=shows)


def _names_nothing(asked: NewRun) -> bool:
    """Whether the request names no response, conversation, container, call or item of an earlier answer."""
    named = (asked.previous_response_id, asked.conversation_id, asked.container_id, asked.answer_id)
    waits = FunctionCallOutput | Approval | CodeApproval
    return not any((*named, asked.history_container_id)) and not any(isinstance(item, waits) for item in asked.messages)

"""The run service for transports: it records every call in the audit log with its caller."""

import math
from collections.abc import AsyncGenerator
from dataclasses import replace

from codeact.events import FunctionCallOutput, InputMessage
from codeact.runs.known_answers import KnownAnswers, history_of
from codeact.runs.new_run import NewRun
from codeact.runs.resume_points import EphemeralResponses
from codeact.runs.run import Run
from codeact.runs.service import RunService
from codeact.server.auth.audit_log import AuditLog, audited
from codeact.server.auth.caller import Caller
from codeact.server.requests.create import CreateRequest, new_run
from codeact.server.requests.tools import check_tools
from codeact.settings import Settings

__all__ = ["AuditedService"]


class AuditedService:
    """A `RunService` that records who creates, steers, cancels and reads a response."""

    def __init__(self, service: RunService, audit: AuditLog, settings: Settings, answers: KnownAnswers) -> None:
        self.audit = audit
        self._answers = answers
        self._settings = settings
        self._service = service

    async def create(
        self, request: CreateRequest, *, caller: Caller, ephemeral: EphemeralResponses | None = None
    ) -> Run:
        """See `RunService.create`. The successors of a run are recorded too.

        Also raises `InvalidRequest` for tools that cannot be provided as requested.
        """

        history = history_of(request.input)

        def begun(run: Run) -> None:
            self._answers.begun(run.response, history, owner=run.owner)
            self.audit.record(caller, "response.create", run.id)

        check_tools(request.tools or (), self._settings)
        asked = new_run(request, caller)
        if _names_nothing(asked) and history.answered is not None:
            # Another server of a shared database may have given others the same answer: words are not enough there.
            is_alone = self._settings.mongodb_uri is None
            answer_id = self._answers.find(history, owner=caller.owner) if is_alone else None
            asked = replace(asked, answer_id=answer_id, is_unnamed=True)
        return await self._service.create(asked, ephemeral=ephemeral, begun=begun)

    async def input_tokens(self, request: CreateRequest, *, caller: Caller) -> int:
        """See `RunService.input_tokens`."""
        check_tools(request.tools or (), self._settings)
        return await self._service.input_tokens(replace(new_run(request, caller), store=False))

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


def _names_nothing(asked: NewRun) -> bool:
    """Whether the request names no response, conversation, container, call or item of an earlier answer."""
    named = (asked.previous_response_id, asked.conversation_id, asked.container_id, asked.answer_id)
    return not any((*named, asked.history_container_id)) and not any(
        isinstance(item, FunctionCallOutput) for item in asked.messages
    )

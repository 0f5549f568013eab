"""Makes the decisions of a request about what waits for approval, before its run begins; records what waits."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from codeact import events as e
from codeact.agent.approvals import Asked, Decided
from codeact.errors import InvalidRequest
from codeact.runs.resume_points import EphemeralResponses, ResumePoint
from codeact.store.decisions import Decision, no_approval, too_late
from codeact.store.records import ApprovalRecord
from codeact.store.run_store import RunStore
from sandbox_pool.calls import Call

__all__ = ["Decisions", "approval_record", "call_record"]

MOST_AT_ONCE = 64
PREVIEW_CHARS = 2_000


@dataclass(slots=True)
class Decisions:
    """The decisions of one request, made by `by`, in the response with this id. Call `make`, and `undo` if that fails.

    `stored`: that response is stored. `ephemeral` are the connection's unstored responses.
    """

    store: RunStore
    owner: str
    by: str
    response_id: str
    stored: bool
    ephemeral: EphemeralResponses | None
    _made: list[str] = field(default_factory=list)

    async def make(self, decided: Sequence[Decided], resume_point: ResumePoint) -> None:
        """Decides all of them, and notes in each who did.

        Raises `NotFound` for an unknown id, `ApprovalDecided` if one no longer waits, and `InvalidRequest` if it is of
        the wrong kind, waits after another response, or is stored and this response is not; then none is decided.
        """
        if len({each.approval_request_id for each in decided}) < len(decided) or len(decided) > MOST_AT_ONCE:
            raise InvalidRequest(f"A request decides at most {MOST_AT_ONCE} approvals, each once.", param="input")
        try:
            for each in decided:
                await self._make(each, resume_point)
                self._made.append(each.approval_request_id)
        except BaseException:
            await self.undo()
            raise

    async def undo(self) -> None:
        """Undoes the decisions, since their response could not be stored."""
        if self.ephemeral is not None:
            self.ephemeral.decided.difference_update(self._made)
        if self._made:
            await self.store.approvals.take_back(self.response_id, owner=self.owner)

    async def _make(self, decided: Decided, resume_point: ResumePoint) -> None:
        approval_id = decided.approval_request_id
        if (unstored := _unstored(approval_id, resume_point)) is not None:
            self._check_kind(decided, "call" if isinstance(unstored, e.ApprovalRequest) else "code")
            self._decide_unstored(unstored)
        else:
            waiting = await self.store.approvals.get(approval_id, owner=self.owner)
            self._check_kind(decided, waiting.kind)
            if waiting.status == "waiting" and waiting.response_id != resume_point.previous_response_id:
                raise InvalidRequest(
                    f"'{approval_id}' waits after another response: send it with 'previous_response_id':"
                    f" '{waiting.response_id}'.",
                    param="input",
                )
            if not self.stored:
                raise InvalidRequest(
                    f"'{approval_id}' is stored, so the response that decides it must be, too: send it without"
                    " 'store': false.",
                    param="store",
                )
            changed = decided.arguments if isinstance(decided, e.Approval) else decided.code
            decision = Decision(decided.approve, self.by, self.response_id, changed is not None, decided.reason)
            await self.store.approvals.decide(approval_id, decision, owner=self.owner)
        decided.decided_by = self.by

    def _check_kind(self, decided: Decided, kind: str) -> None:
        if kind == "function":
            raise InvalidRequest(
                f"'{decided.approval_request_id}' is a call of a client's function: answer with its value, in an item"
                " of the type 'function_call_output' with its 'call_id'.",
                param="input",
            )
        is_call = isinstance(decided, e.Approval)
        if is_call != (kind == "call"):
            wanted = "mcp_approval_response" if kind == "call" else "codeact:approval_response"
            raise InvalidRequest(
                f"'{decided.approval_request_id}' is about {'a call' if kind == 'call' else 'code'}: answer with an"
                f" item of the type '{wanted}'.",
                param="input",
            )

    def _decide_unstored(self, request: Asked) -> None:
        assert self.ephemeral is not None
        if request.id in self.ephemeral.decided:
            raise no_approval(request.id)
        if request.expires_at is not None and request.expires_at <= time.time():
            raise too_late(approval_record(request, owner="", conversation_id="", response_id=""))
        self.ephemeral.decided.add(request.id)


def approval_record(request: Asked, *, owner: str, conversation_id: str, response_id: str) -> ApprovalRecord:
    """Returns what is stored about something that waits from now on."""
    is_call = isinstance(request, e.ApprovalRequest)
    return ApprovalRecord(
        id=request.id,
        owner=owner,
        conversation_id=conversation_id,
        response_id=response_id,
        kind="call" if is_call else "code",
        name=f"{request.server_label}.{request.name}" if isinstance(request, e.ApprovalRequest) else "python",
        preview=(request.arguments if isinstance(request, e.ApprovalRequest) else request.code)[:PREVIEW_CHARS],
        reasons=tuple(request.reasons),
        created_at=time.time(),
        expires_at=float(request.expires_at or 0),
    )


def call_record(
    call: Call, item_id: str, expires_at: float, *, owner: str, conversation_id: str, response_id: str
) -> ApprovalRecord:
    """Returns what is stored about a call of a client's function, with this item, that waits from now on."""
    return ApprovalRecord(
        id=item_id,
        owner=owner,
        conversation_id=conversation_id,
        response_id=response_id,
        kind="function",
        name=call.name,
        preview=call.arguments[:PREVIEW_CHARS],
        reasons=(),
        created_at=time.time(),
        expires_at=expires_at,
        call_id=call.call_id,
    )


def _unstored(approval_id: str, resume_point: ResumePoint) -> Asked | None:
    """Returns what waits in the unstored response that the request continues."""
    output = resume_point.ephemeral[-1].response.output if resume_point.ephemeral else []
    return next((item for item in output if isinstance(item, Asked) and item.id == approval_id), None)

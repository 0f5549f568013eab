"""Decisions about what waits for approval, as clients send them in the `input` of a request."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.events import Approval, CodeApproval
from codeact.ids import new_id

__all__ = ["ApprovalItem", "ApprovalRequestItem", "CodeApprovalItem", "CodeApprovalRequestItem"]

ApprovalId = Annotated[str, Meta(min_length=1, max_length=100)]
Reason = Annotated[str, Meta(max_length=4_000)]
Code = Annotated[str, Meta(min_length=1, max_length=200_000)]
Arguments = Annotated[str, Meta(min_length=2, max_length=1_000_000)]


class ApprovalItem(msgspec.Struct, tag="mcp_approval_response"):
    """Approves or rejects a call that waits. `codeact:arguments` (JSON) replace its arguments.

    `codeact:scope` `conversation`: this function is not asked about again in this conversation.
    """

    approval_request_id: ApprovalId
    approve: bool
    reason: Reason | None = None
    arguments: Arguments | None = msgspec.field(default=None, name="codeact:arguments")
    scope: Literal["once", "conversation"] = msgspec.field(default="once", name="codeact:scope")

    def decision(self) -> Approval:
        return Approval(
            id=new_id("mcpa"),
            approval_request_id=self.approval_request_id,
            approve=self.approve,
            reason=self.reason,
            arguments=self.arguments,
            scope=self.scope,
        )


class CodeApprovalItem(msgspec.Struct, tag="codeact:approval_response"):
    """Approves or rejects code that waits. `code` runs in its place.

    `scope` `conversation`: the rules that asked do not ask about code again in this conversation.
    """

    approval_request_id: ApprovalId
    approve: bool
    reason: Reason | None = None
    code: Code | None = None
    scope: Literal["once", "conversation"] = "once"

    def decision(self) -> CodeApproval:
        return CodeApproval(
            id=new_id("apa"),
            approval_request_id=self.approval_request_id,
            approve=self.approve,
            reason=self.reason,
            code=self.code,
            scope=self.scope,
        )


class ApprovalRequestItem(msgspec.Struct, tag="mcp_approval_request"):
    """A request of an earlier answer that the client sends back; the server has its own copy."""

    id: Any = None


class CodeApprovalRequestItem(msgspec.Struct, tag="codeact:approval_request"):
    """The same for code."""

    id: Any = None

"""`/v1/approvals`: what waits for approval, and calls of clients' functions that wait for their values.

Both continue with a response whose input has the decision or the value.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.server.auth.caller import owner_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.pages import listed
from codeact.server.requests.parameters import read_parameters
from codeact.server.services import Services
from codeact.store import ApprovalRecord

__all__ = ["routes"]

Status = Literal["waiting", "approved", "rejected", "answered", "withdrawn", "expired"]
Kind = Literal["code", "call", "function"]


class _List(msgspec.Struct, kw_only=True):
    """The status `all` also lists those that no longer wait. Without `kind`, all three kinds are listed."""

    status: Status | Literal["all"] = "waiting"
    kind: Kind | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: Annotated[str, Meta(max_length=100)] | None = None


class ApprovalObject(msgspec.Struct, kw_only=True):
    """Something that waits, or waited. Times are Unix seconds.

    `code` and a `call` of that server wait for approval, a call of a client's `function` waits for its value. A value
    is an item of the type `function_call_output` with the `call_id`, which other kinds do not have.

    The decision is an item of the type `codeact:approval_response` (code) or `mcp_approval_response` (a call), in the
    `input` of a request. `response_id` is its `previous_response_id`. `preview` is the beginning of the code or of the
    arguments; the item in the response's output has all of it. `decision_id` is the response with the decision or the
    value.
    """

    id: str
    kind: Kind
    status: Status
    name: str
    preview: str
    reasons: list[str]
    conversation_id: str
    response_id: str
    created_at: int
    expires_at: int
    edited: bool
    reason: str | None
    decided_at: int | None
    decided_by: str | None
    decision_id: str | None
    call_id: str | None
    object: Literal["codeact:approval"] = "codeact:approval"


@operation(dict[str, Any], query=_List)
async def list_(request: Request) -> Response:
    """`GET /v1/approvals`: what waits, newest first, in all conversations of the owner."""
    services: Services = request.app.state.codeact
    query = read_parameters(request, _List)
    store = await services.store.get()
    status = None if query.status == "all" else query.status
    found, following = await store.approvals.page(
        owner=owner_of(request), status=status, kind=query.kind, after=query.after, limit=query.limit
    )
    page = listed([_shape(record) for record in found], has_more=following is not None)
    page.last_id = following or page.last_id
    return json_response(page)


@operation(ApprovalObject)
async def retrieve(request: Request) -> Response:
    """`GET /v1/approvals/{id}`."""
    services: Services = request.app.state.codeact
    store = await services.store.get()
    return json_response(_shape(await store.approvals.get(request.path_params["approval_id"], owner=owner_of(request))))


def _shape(record: ApprovalRecord) -> ApprovalObject:
    return ApprovalObject(
        id=record.id,
        kind=record.kind,
        status="expired" if record.has_expired else record.status,
        name=record.name,
        preview=record.preview,
        reasons=list(record.reasons),
        conversation_id=record.conversation_id,
        response_id=record.response_id,
        created_at=int(record.created_at),
        expires_at=int(record.expires_at),
        edited=record.edited,
        reason=record.reason,
        decided_at=None if record.decided_at is None else int(record.decided_at),
        decided_by=record.decided_by,
        decision_id=record.decision_id,
        call_id=record.call_id,
    )


routes = [
    Route("/v1/approvals", list_, methods=["GET"]),
    Route("/v1/approvals/{approval_id}", retrieve, methods=["GET"]),
]

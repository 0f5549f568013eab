"""`/v1/session` and `/v1/audit`: a key enters and a browser's cookie leaves; what was done, and by whom."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest, NotFound
from server.auth import COOKIE, caller_of, identify
from server.errors import json_response
from server.guard import Forbidden
from server.openapi import operation
from server.parameters import checked, read_json, read_parameters
from server.state import State

__all__ = ["routes"]

SESSION_LASTS = timedelta(days=30)
SESSION_BODY_BYTES = 10_000


class OpenSession(msgspec.Struct):
    api_key: Annotated[str, Meta(min_length=1)]


class AuditQuery(msgspec.Struct, kw_only=True):
    """Times are Unix seconds or ISO 8601; `after` is the last id of the page before."""

    owner: str | None = None
    action: str | None = None
    subject: str | None = None
    since: str | None = None
    until: str | None = None
    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


@operation(dict[str, Any], body=OpenSession)
async def create_session(request: Request) -> Response:
    """`POST /v1/session` with `{"api_key": …}`: sets a cookie that stands for the key, for 30 days."""
    state: State = request.app.state.codeact
    key = checked(await read_json(request, SESSION_BODY_BYTES), OpenSession).api_key
    caller = await identify(state, key=key)
    if caller.grant is not None:
        raise Forbidden("An embed token makes no session; it is sent with each request.", code="embed_forbidden")
    if caller.credential_id is None:
        return json_response({"object": "codeact:session", "owner": caller.owner, "needed": False})
    store = await state.store.get()
    secret = await store.access.create_session(
        parent_id=caller.credential_id,
        owner=caller.owner,
        operator=caller.operator,
        limits=caller.own_limits,
        lasts=SESSION_LASTS,
    )
    response = json_response({"object": "codeact:session", "owner": caller.owner, "needed": True})
    public = state.settings.public_url or str(request.base_url)
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(SESSION_LASTS.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=public.startswith("https:"),
    )
    return response


async def delete_session(request: Request) -> Response:
    """`DELETE /v1/session`: ends the session of the cookie that comes with it. Idempotent."""
    state: State = request.app.state.codeact
    if secret := request.cookies.get(COOKIE):
        await (await state.store.get()).access.end_session(secret)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response


@operation(dict[str, Any], query=AuditQuery)
async def list_audit(request: Request) -> Response:
    """`GET /v1/audit`: the caller's own entries, newest first; an operator's `owner` chooses, without it: all."""
    state: State = request.app.state.codeact
    caller = caller_of(request)
    asked = read_parameters(request, AuditQuery)
    owner = asked.owner
    if not caller.operator:
        if owner not in (None, caller.owner):
            raise NotFound(f"There is no owner '{owner}'.", param="owner")
        owner = caller.owner
    store = await state.store.get()
    found = await store.access.audit(
        owner=owner,
        action=asked.action,
        subject=asked.subject,
        since=_time(asked.since, "since"),
        until=_time(asked.until, "until"),
        after=asked.after,
        limit=asked.limit + 1,
    )
    page = found[: asked.limit]
    data: list[dict[str, Any]] = [
        {"id": entry_id, "object": "codeact:audit_entry", **msgspec.to_builtins(entry), "at": entry.at.timestamp()}
        for entry_id, entry in page
    ]
    ends = {"first_id": page[0][0], "last_id": page[-1][0]} if page else {"first_id": None, "last_id": None}
    return json_response({"object": "list", "data": data, "has_more": len(found) > asked.limit, **ends})


def _time(given: str | None, param: str) -> datetime | None:
    """Unix seconds, or ISO 8601."""
    if given is None:
        return None
    try:
        if given.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(given), UTC)
        time = datetime.fromisoformat(given)
    except (ValueError, OverflowError, OSError):
        raise InvalidRequest(f"'{param}' must be Unix seconds or an ISO 8601 time.", param=param) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


routes = [
    Route("/v1/session", create_session, methods=["POST"]),
    Route("/v1/session", delete_session, methods=["DELETE"]),
    Route("/v1/audit", list_audit, methods=["GET"]),
]

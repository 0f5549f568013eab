"""`/v1/session` and `/v1/audit`: exchanges a key for a browser's cookie, and lists who did what."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest, NotFound
from codeact.login_settings import SESSION_COOKIE
from codeact.server.auth.auth import bearer_of, identify, session_of
from codeact.server.auth.caller import caller_of
from codeact.server.auth.cookies import delete_cookie, set_cookie
from codeact.server.auth.origin_check import Forbidden
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.parameters import checked, read_json, read_parameters
from codeact.server.services import Services
from codeact.store.repositories.access import hash_of

__all__ = ["routes"]

SESSION_LIFETIME = timedelta(days=30)
SESSION_BODY_BYTES = 10_000


class OpenSession(msgspec.Struct):
    api_key: Annotated[str, Meta(min_length=1)]


class AuditQuery(msgspec.Struct, kw_only=True):
    """Times are Unix seconds or ISO 8601. `after` is the last id of the previous page."""

    owner: str | None = None
    action: str | None = None
    subject: str | None = None
    since: str | None = None
    until: str | None = None
    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


@operation(dict[str, Any], body=OpenSession)
async def create_session(request: Request) -> Response:
    """`POST /v1/session` with `{"api_key": …}`: sets a cookie that represents the key while it is valid.

    At most for 30 days.
    """
    services: Services = request.app.state.codeact
    key = checked(await read_json(request, SESSION_BODY_BYTES), OpenSession).api_key
    caller = await identify(services, key=key)
    if caller.grant is not None:
        raise Forbidden("An embed token makes no session; it is sent with each request.", code="embed_forbidden")
    if caller.credential_id is None:
        return json_response({"object": "codeact:session", "owner": caller.owner, "needed": False})
    lasts = SESSION_LIFETIME
    if caller.expires_at is not None:
        lasts = min(lasts, caller.expires_at - datetime.now(UTC))
    store = await services.store.get()
    secret = await store.access.create_session(
        parent_id=caller.credential_id,
        owner=caller.owner,
        operator=caller.operator,
        limits=caller.own_limits,
        lasts=lasts,
    )
    services.audit.record(caller, "session.create", caller.credential_id)
    response = json_response({"object": "codeact:session", "owner": caller.owner, "needed": True})
    set_cookie(response, SESSION_COOKIE, secret, max_age_s=max(1, int(lasts.total_seconds())), same_site="strict")
    return response


async def delete_session(request: Request) -> Response:
    """`DELETE /v1/session`: ends the session in the request's cookie. Idempotent."""
    services: Services = request.app.state.codeact
    if secret := session_of(request):
        access = (await services.store.get()).access
        if (session := await access.find(secret)) is not None and session.kind == "session":
            await access.end_session(hash_of(secret))
            action = "session.end" if session.person is None else "logout"
            services.audit.record(bearer_of(services.settings, session), action, session.id)
    response = Response(status_code=204)
    delete_cookie(response, SESSION_COOKIE)
    return response


@operation(dict[str, Any], query=AuditQuery)
async def list_audit(request: Request) -> Response:
    """`GET /v1/audit`: the caller's own entries, newest first.

    Operators see all, or those of the `owner` that they name.
    """
    services: Services = request.app.state.codeact
    caller = caller_of(request)
    query = read_parameters(request, AuditQuery)
    owner = query.owner
    if not caller.operator:
        if owner not in (None, caller.owner):
            raise NotFound(f"There is no owner '{owner}'.", param="owner")
        owner = caller.owner
    store = await services.store.get()
    found = await store.access.audit(
        owner=owner,
        action=query.action,
        subject=query.subject,
        since=_time(query.since, "since"),
        until=_time(query.until, "until"),
        after=query.after,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    data: list[dict[str, Any]] = [
        {"id": entry_id, "object": "codeact:audit_entry", **msgspec.to_builtins(entry), "at": entry.at.timestamp()}
        for entry_id, entry in page
    ]
    ends = {"first_id": page[0][0], "last_id": page[-1][0]} if page else {"first_id": None, "last_id": None}
    return json_response({"object": "list", "data": data, "has_more": len(found) > query.limit, **ends})


def _time(text: str | None, param: str) -> datetime | None:
    """Parses Unix seconds or ISO 8601."""
    if text is None:
        return None
    try:
        if text.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(text), UTC)
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise InvalidRequest(f"'{param}' must be Unix seconds or an ISO 8601 time.", param=param) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


routes = [
    Route("/v1/session", create_session, methods=["POST"]),
    Route("/v1/session", delete_session, methods=["DELETE"]),
    Route("/v1/audit", list_audit, methods=["GET"]),
]

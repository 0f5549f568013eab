"""`/v1/embed`: gives the holder of a key short-lived tokens for the browsers of their users."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest, RateLimited
from codeact.owners import ANONYMOUS, MAX_CHARS, account_of, user_of_account
from codeact.server.auth.auth import EMBED_SESSIONS, KEY_HEADERS, authenticate
from codeact.server.auth.caller import Caller, caller_of
from codeact.server.auth.embed import check_origin
from codeact.server.auth.origin_check import Forbidden, is_own
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.parameters import checked, read_json
from codeact.server.services import Services
from codeact.settings import Settings
from codeact.store import Credential, OwnerLimits

__all__ = ["routes"]

BODY_BYTES = 10_000
DEFAULT_LIFETIME_S = 600
ANONYMOUS_LIFETIME = timedelta(days=1)

Count = Annotated[int, Meta(ge=1, le=2**53)]


class EmbedLimits(msgspec.Struct, forbid_unknown_fields=True):
    """The user's limits. Omitted ones have the settings' values for every owner."""

    responses_per_minute: Count | None = None
    concurrent_responses: Count | None = None
    tokens_per_day: Count | None = None
    stored_mb: Count | None = None


class CreateEmbedSession(msgspec.Struct, forbid_unknown_fields=True):
    """`user` is the user's name at the holder of the key.

    Without `user` and without a key, the visitor is anonymous.
    """

    origin: str
    user: Annotated[str, Meta(min_length=1, max_length=MAX_CHARS)] | None = None
    expires_in_s: Annotated[int, Meta(ge=60, le=3600)] | None = None
    limits: EmbedLimits | None = None


class EmbedSession(msgspec.Struct, kw_only=True):
    """An embed session. `owner` owns its conversations. `expires_at` is in Unix seconds, by this server's clock."""

    object: Literal["codeact:embed.session"] = "codeact:embed.session"
    id: str
    owner: str
    origin: str
    expires_at: int
    expires_in_s: int
    anonymous: bool


class NewEmbedSession(EmbedSession, kw_only=True):
    """A new embed session. The token is shown only this once."""

    token: str


@operation(NewEmbedSession, body=CreateEmbedSession, status=201)
async def create_session(request: Request) -> Response:
    """`POST /v1/embed/sessions`: a token for one user on pages of one origin. It expires, and ends with its key."""
    services: Services = request.app.state.codeact
    may_be_anonymous = services.settings.embed_anonymous and not _has_key(request)
    caller = None if may_be_anonymous else await authenticate(request)
    body = checked(await read_json(request, BODY_BYTES), CreateEmbedSession)
    if caller is None and body.user is not None:
        caller = await authenticate(request)
    made, token = await (_for_visitor(request, body) if caller is None else _for_user(request, body, caller))
    return json_response(NewEmbedSession(**_shape(made), token=token), 201)


@operation(EmbedSession)
async def get_session(request: Request) -> Response:
    """`GET /v1/embed/session`: describes the embed token in the request."""
    caller = caller_of(request)
    if caller.grant is None or caller.credential_id is None or caller.expires_at is None:
        raise Forbidden("This describes embed tokens, and the request has none.", code="embed_tokens_only")
    return json_response(
        EmbedSession(**_about(caller.credential_id, caller.owner, caller.grant.origin, caller.expires_at))
    )


@operation(dict[str, Any])
async def delete_session(request: Request) -> Response:
    """`DELETE /v1/embed/sessions/{id}`: ends it. Allowed for the key that made it, and for operators."""
    services: Services = request.app.state.codeact
    caller, session_id = caller_of(request), request.path_params["session_id"]
    store = await services.store.get()
    await store.access.end_embed_session(session_id, parent_id=None if caller.operator else caller.credential_id)
    return json_response({"id": session_id, "object": "codeact:embed.session.deleted", "deleted": True})


def _has_key(request: Request) -> bool:
    return not KEY_HEADERS.isdisjoint(request.headers)


async def _for_user(request: Request, body: CreateEmbedSession, caller: Caller) -> tuple[Credential, str]:
    services: Services = request.app.state.codeact
    if "/" in caller.owner:
        raise Forbidden("A user of an embed has no users of their own.", code="embed_forbidden")
    if caller.person is not None or (caller.credential_id is not None and not _has_key(request)):
        raise Forbidden("An API key is needed: 'Authorization: Bearer KEY'. A cookie is not one.", code="key_needed")
    if body.user is None:
        text = (
            "'user' is missing: say whose browser the token is for. Visitors without a name: CODEACT_EMBED_ANONYMOUS."
        )
        raise InvalidRequest(text, param="user")
    check_origin(body.origin, services.settings)
    owner = user_of_account(caller.owner, body.user)
    limits = _within(body.limits or EmbedLimits(), caller.limits)
    expires_at = datetime.now(UTC) + timedelta(seconds=body.expires_in_s or DEFAULT_LIFETIME_S)
    store = await services.store.get()
    made = await store.access.create_embed_session(
        parent_id=caller.credential_id,
        owner=owner,
        origin=body.origin,
        expires_at=min(expires_at, caller.expires_at or expires_at),
        limits=limits,
        account_limits=caller.limits,
    )
    services.audit.record(caller, "embed.session", made[0].id, status=201)
    return made


async def _for_visitor(request: Request, body: CreateEmbedSession) -> tuple[Credential, str]:
    """Makes a session for a visitor. Its owner has an unguessable name, so that no two visitors share one."""
    services: Services = request.app.state.codeact
    settings = services.settings
    for name in ("expires_in_s", "limits"):
        if getattr(body, name) is not None:
            raise InvalidRequest(f"'{name}' is for keys; for visitors the server's settings say it.", param=name)
    _check_own_page(request, settings)
    check_origin(body.origin, settings)
    store, now = await services.store.get(), datetime.now(UTC)
    most = settings.embed_anonymous_sessions_per_minute or 0
    if await store.access.count_session(ANONYMOUS, now) > most:
        raise RateLimited(
            f"{most} new visitors in a minute are the limit (CODEACT_EMBED_ANONYMOUS_SESSIONS_PER_MINUTE).",
            code="rate_limit_exceeded",
            retry_after_s=60 - now.second,
        )
    made = await store.access.create_embed_session(
        parent_id=None,
        owner=user_of_account(ANONYMOUS, token_urlsafe(16)),
        origin=body.origin,
        expires_at=now + ANONYMOUS_LIFETIME,
        limits=OwnerLimits(
            responses_per_minute=settings.embed_anonymous_responses_per_minute,
            tokens_per_day=settings.embed_anonymous_tokens_per_day,
        ),
        account_limits=OwnerLimits(tokens_per_day=settings.embed_anonymous_tokens_per_day_in_all),
    )
    visitor = Caller(made[0].owner, False, made[0].id, made[0].limits, made[0].limits)
    services.audit.record(visitor, "embed.session", made[0].id, status=201)
    return made


def _check_own_page(request: Request, settings: Settings) -> None:
    """Raises `Forbidden` for other pages. Browsers report their origin truthfully; the limits stop other clients."""
    origin, site = request.headers.get("origin", ""), request.headers.get("sec-fetch-site", "same-origin")
    if site != "same-origin" or not is_own(origin, request.headers.get("host", ""), settings):
        raise Forbidden("A visitor's token is for the embed's own frame; a backend sends its API key and 'user'.")


def _within(limits: EmbedLimits, most: OwnerLimits) -> OwnerLimits:
    """The requested limits. Raises `InvalidRequest` for one above the key's own."""
    for field in fields(most):
        value, bound = getattr(limits, field.name), getattr(most, field.name)
        if value is not None and bound is not None and value > bound:
            name = f"limits.{field.name}"
            raise InvalidRequest(f"'{name}' is {value}, and the key's own limit is {bound}.", param=name)
    return OwnerLimits(**msgspec.structs.asdict(limits))


def _shape(made: Credential) -> dict[str, Any]:
    assert made.origin is not None  # every embed session has one
    assert made.expires_at is not None
    return _about(made.id, made.owner, made.origin, made.expires_at)


def _about(session_id: str, owner: str, origin: str, expires_at: datetime) -> dict[str, Any]:
    return {
        "id": session_id,
        "owner": owner,
        "origin": origin,
        "expires_at": int(expires_at.timestamp()),
        "expires_in_s": max(0, round((expires_at - datetime.now(UTC)).total_seconds())),
        "anonymous": account_of(owner) == ANONYMOUS,
    }


routes = [
    Route(EMBED_SESSIONS, create_session, methods=["POST"]),
    Route(f"{EMBED_SESSIONS}/{{session_id}}", delete_session, methods=["DELETE"]),
    Route("/v1/embed/session", get_session, methods=["GET"]),
]

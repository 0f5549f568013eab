"""`GET /v1/session`, `/v1/sessions` and `/v1/keys`: what somebody who has signed in sees and ends of their own."""

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import NotFound
from codeact.server.auth.auth import authenticate
from codeact.server.auth.caller import Caller, caller_of
from codeact.server.auth.current_caller import current_request
from codeact.server.auth.origin_check import Forbidden
from codeact.server.errors import Unauthorized, json_response
from codeact.server.openapi import operation
from codeact.server.requests.parameters import checked, read_json
from codeact.server.services import Services
from codeact.store import Credential

__all__ = ["routes"]

BODY_BYTES = 10_000
ANOTHER = "Only somebody who has signed in has sessions and keys of their own; an API key does not."


class LoginWay(msgspec.Struct):
    """`name` of the provider for a button; `url` is relative to the page. Both null: people do not sign in here."""

    name: str | None
    url: str | None


class SessionInfo(msgspec.Struct, kw_only=True):
    """Who asks. `role` is null for a key, `owner` is null if nobody is signed in and a key is missing."""

    object: str = "codeact:session"
    owner: str | None
    name: str | None = None
    email: str | None = None
    role: str | None = None
    expires_at: float | None = None
    login: LoginWay


class CreateKey(msgspec.Struct):
    """`days` until the key expires; null: never."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    days: Annotated[int, Meta(ge=1, le=3650)] | None = 90


@operation(SessionInfo)
async def get_session(request: Request) -> Response:
    """`GET /v1/session`: who asks, and how people sign in. Needs no key."""
    services: Services = request.app.state.codeact
    settings = services.settings
    way = LoginWay(settings.oidc_name or "your account", "login") if services.provider else LoginWay(None, None)
    try:
        caller = await authenticate(request)
    except Unauthorized:
        return json_response(SessionInfo(owner=None, login=way))
    if caller.grant is not None:
        raise Forbidden("This is not for embed tokens.", code="embed_forbidden")
    info = SessionInfo(owner=caller.owner, login=way)
    info.expires_at = caller.expires_at.timestamp() if caller.expires_at is not None else None
    if caller.person is not None:
        person = await (await services.store.get()).people.get(caller.person)
        info.name, info.email = (person.name, person.email) if person is not None else (None, None)
        info.role = "admin" if caller.admin else "operator" if caller.operator else "user"
    return json_response(info)


@operation(dict[str, Any])
async def list_sessions(request: Request) -> Response:
    """`GET /v1/sessions`: where the person is signed in, newest first."""
    services: Services = request.app.state.codeact
    caller, person = _person(request)
    found = await (await services.store.get()).people.sessions(person)
    data = [
        _described(one) | {"address": one.address, "browser": one.browser, "current": one.id == caller.credential_id}
        for one in found
    ]
    return json_response({"object": "list", "data": data})


@operation(dict[str, Any])
async def end_session(request: Request) -> Response:
    """`DELETE /v1/sessions/{id}`: signs that browser out."""
    services: Services = request.app.state.codeact
    session_id = request.path_params["browser_session_id"]
    caller = caller_of(request)
    if caller.person is None:
        raise NotFound(f"There is no session '{session_id}'.", param="browser_session_id")
    await (await services.store.get()).people.end_session(caller.person, session_id)
    return json_response({"id": session_id, "object": "codeact:session.deleted", "deleted": True})


@operation(dict[str, Any])
async def list_keys(request: Request) -> Response:
    """`GET /v1/keys`: the person's valid API keys, oldest first, without their secrets."""
    services: Services = request.app.state.codeact
    _, person = _person(request)
    found = await (await services.store.get()).people.keys(person)
    return json_response({"object": "list", "data": [_key(one) for one in found]})


@operation(dict[str, Any], body=CreateKey, status=201)
async def create_key(request: Request) -> Response:
    """`POST /v1/keys`: an API key of the person. `secret` is in this answer alone."""
    services: Services = request.app.state.codeact
    caller, person = _person(request)
    body = checked(await read_json(request, BODY_BYTES), CreateKey)
    lasts = timedelta(days=body.days) if body.days is not None else None
    people = (await services.store.get()).people
    made, secret = await people.create_key(person, name=body.name, lasts=lasts, session_id=caller.session_id)
    current_request().recorded = True  # with the key's id, unlike the entry of every change
    services.audit.record(caller, "key.create", made.id, status=201)
    return json_response(_key(made) | {"secret": secret}, 201)


@operation(dict[str, Any])
async def revoke_key(request: Request) -> Response:
    """`DELETE /v1/keys/{id}`: the key, and the sessions made from it, are refused from now on."""
    services: Services = request.app.state.codeact
    key_id = request.path_params["key_id"]
    caller = caller_of(request)
    if caller.person is None:
        raise NotFound(f"There is no key '{key_id}'.", param="key_id")
    await (await services.store.get()).people.revoke_key(caller.person, key_id)
    current_request().recorded = True
    services.audit.record(caller, "key.revoke", key_id)
    return json_response({"id": key_id, "object": "codeact:key.deleted", "deleted": True})


def _person(request: Request) -> tuple[Caller, str]:
    caller = caller_of(request)
    if caller.person is None or caller.acting:
        raise Forbidden(ANOTHER, code="people_only")
    return caller, caller.person


def _described(one: Credential) -> dict[str, Any]:
    times = {"created_at": one.created_at, "expires_at": one.expires_at, "used_at": one.used_at}
    return {"id": one.id} | {name: time.timestamp() if time is not None else None for name, time in times.items()}


def _key(one: Credential) -> dict[str, Any]:
    return {"object": "codeact:key"} | _described(one) | {"name": one.name, "shown": one.shown}


routes = [
    Route("/v1/session", get_session, methods=["GET"]),
    Route("/v1/sessions", list_sessions, methods=["GET"]),
    Route("/v1/sessions/{browser_session_id}", end_session, methods=["DELETE"]),
    Route("/v1/keys", list_keys, methods=["GET"]),
    Route("/v1/keys", create_key, methods=["POST"]),
    Route("/v1/keys/{key_id}", revoke_key, methods=["DELETE"]),
]

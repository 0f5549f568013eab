"""Authenticates requests and sockets: reads a key or a session and returns the `Caller`, or refuses it.

A key arrives as a bearer token (RFC 6750), or in the header `x-api-key`. A browser, whose sockets cannot send those
headers, sends a session cookie, or the WebSocket subprotocol `codeact-key.KEY` together with `codeact`.
"""

from contextlib import ExitStack
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Protocol

import anyio
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from codeact.component import Component
from codeact.disclosure import disclosed, read_by
from codeact.errors import CodeActError, ConfigurationError, RateLimited
from codeact.login_settings import LOGIN_PARENT, SESSION_COOKIE
from codeact.loopback import is_loopback
from codeact.server.auth.audit_log import AuditLog
from codeact.server.auth.caller import Caller
from codeact.server.auth.cookies import cookie_of
from codeact.server.auth.current_caller import current_request
from codeact.server.auth.embed import Grant, check_use
from codeact.server.auth.header_login import HeaderLogin
from codeact.server.auth.key_uses import KeyUses
from codeact.server.auth.open_requests import OpenRequests
from codeact.server.auth.origin_check import Forbidden
from codeact.server.auth.scope_keys import CALLER
from codeact.server.errors import Unauthorized, close_reason, error_response
from codeact.settings import Settings
from codeact.store import Credential, OwnerLimits, Store, open_store
from codeact.store.repositories.access import EMBED_PREFIX, KEY_PREFIX, hash_of
from sandbox_pool.errors import SandboxError

__all__ = [
    "BAD_AUTH",
    "EMBED_SESSIONS",
    "KEY_HEADERS",
    "Authenticate",
    "accept",
    "authenticate",
    "bearer_of",
    "check_exposure",
    "identify",
    "key_of",
    "keys_are_needed",
    "session_of",
]

KEY_HEADERS = frozenset({"authorization", "x-api-key"})
ACTING_FOR = "codeact-owner"
"""A header with the owner for whom an operator acts."""
SUBPROTOCOL = "codeact"
KEY_SUBPROTOCOL = "codeact-key."
LOCAL_OWNER = "local"
BAD_AUTH, FORBIDDEN, OVERLOADED = 4401, 4403, 1013

EMBED_SESSIONS = "/v1/embed/sessions"
PUBLIC = ("/v1/session/", "/v1/shares/")
"""Below these paths, and at `EMBED_SESSIONS`, the routes check the caller themselves."""


class HasAccess(Protocol):
    """The part of the application's services that authentication uses."""

    @property
    def settings(self) -> Settings: ...

    @property
    def store(self) -> Component[Store]: ...

    @property
    def audit(self) -> AuditLog: ...

    @property
    def open_requests(self) -> OpenRequests: ...

    @property
    def header_login(self) -> HeaderLogin | None: ...

    @property
    def key_uses(self) -> KeyUses: ...


def check_exposure(settings: Settings) -> None:
    """Raises `ConfigurationError` if keys are required and none exists, because nobody could use the server then.

    Opens the database to look for keys if CODEACT_API_KEYS is empty. Do not call it in an event loop.
    """
    if settings.people_sign_in or not keys_are_needed(settings) or settings.api_keys:
        return
    if not anyio.run(_has_keys, settings):
        raise ConfigurationError(
            f"An API key is needed (CODEACT_HOST is {settings.host}), but none exists. Make one with `codeact keys"
            " create`, or set CODEACT_API_KEYS. CODEACT_ALLOW_UNAUTHENTICATED=true serves without, for where"
            " something in front checks who comes.",
            param="CODEACT_HOST",
        )


async def _has_keys(settings: Settings) -> bool:
    async with open_store(settings) as store:
        return await store.access.has_keys()


def keys_are_needed(settings: Settings) -> bool:
    """Whether every request needs a key, or the session of somebody who has signed in."""
    if settings.people_sign_in:
        return True
    if settings.require_keys is not None:
        return settings.require_keys
    return bool(settings.api_keys) or not (is_loopback(settings.host) or settings.allow_unauthenticated)


async def authenticate(connection: HTTPConnection) -> Caller:
    """The caller, or the owner for whom an operator acts.

    Raises the errors of `identify`, and `Forbidden` if the caller may not do this.
    """
    services: HasAccess = connection.app.state.codeact
    caller = await _person_of_proxy(services, connection)
    if caller is None:
        caller = await identify(services, key=key_of(connection), session=session_of(connection))
    try:
        if caller.grant is not None:
            check_use(connection, services.settings)
        owner = connection.headers.get(ACTING_FOR)
        if owner is None or owner == caller.owner:
            return caller
        if not caller.operator:
            raise Forbidden(f"'{ACTING_FOR}' is for operators; this key is not one.", code="operators_only")
    except Forbidden as error:
        credential_id = caller.credential_id
        services.audit.count("auth.forbidden", error.code, status=403, owner=caller.owner, credential_id=credential_id)
        raise
    return replace(caller, owner=owner, acting=True)


async def _person_of_proxy(services: HasAccess, connection: HTTPConnection) -> Caller | None:
    """The person whom a trusted proxy has signed in; None if there is none, or if the request has a key of ours."""
    if services.header_login is None:
        return None
    key = key_of(connection)
    if key.startswith(KEY_PREFIX) or _from_environment(services.settings, key) is not None:
        return None
    try:
        person = await services.header_login.person(connection)
    except (Forbidden, Unauthorized) as error:
        services.audit.count("login.failed", error.code, status=error.status)
        raise
    if person is None:
        return None
    rights, owner = person.rights, person.owner
    caller = _caller(services.settings, owner, rights != "user", owner, OwnerLimits())
    # An open socket keeps the headers of its beginning, so it ends as a session would.
    is_socket = connection.scope["type"] == "websocket"
    expires_at = datetime.now(UTC) + services.settings.login_lasts if is_socket else None
    return replace(caller, person=owner, admin=rights == "admin", expires_at=expires_at)


async def identify(services: "HasAccess", *, key: str, session: str = "") -> Caller:
    """The caller with this key or session. Raises `Unauthorized`, or `StoreUnavailable` if the database is needed and
    does not answer.

    A revoked key is refused from the next call on. If no key is required, a key that is not one of ours is ignored,
    because clients send placeholders. If an embed token was sent, even an expired one, the session is ignored.
    """
    settings = services.settings
    if (caller := _from_environment(settings, key)) is not None:
        return caller
    session = "" if key.startswith(EMBED_PREFIX) else session
    for secret in filter(None, (key if key.startswith(KEY_PREFIX) else "", session)):
        store = await services.store.get()
        credential = await store.access.find(secret)
        if credential is not None and _is_accepted(settings, credential, as_session=secret == session):
            services.key_uses.note(credential)
            return bearer_of(settings, credential)
    if keys_are_needed(settings) or key.startswith(KEY_PREFIX):
        what = "is not valid" if key or session else "is missing"
        if key or session:
            services.audit.count("auth.refused", _kind_of(key), status=401)
        if settings.people_sign_in and not key:
            raise Unauthorized("Nobody is signed in here, or the session has ended. Sign in at /login.")
        raise Unauthorized(f"The API key {what}. Send 'Authorization: Bearer KEY'; `codeact keys create` makes one.")
    return _caller(settings, LOCAL_OWNER, True, None, OwnerLimits())


def key_of(connection: HTTPConnection) -> str:
    """The key or token in the request: a bearer token, `x-api-key` (Anthropic's clients), or a subprotocol of a socket.

    Empty if there is none.
    """
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if (key := connection.headers.get("x-api-key", "").strip()) != "":
        return key
    for offered in connection.scope.get("subprotocols", ()):
        if offered.startswith(KEY_SUBPROTOCOL):
            return str(offered.removeprefix(KEY_SUBPROTOCOL))
    return ""


def session_of(connection: HTTPConnection) -> str:
    """The session in the request's cookie; empty if there is none."""
    return cookie_of(connection, SESSION_COOKIE)


def _kind_of(key: str) -> str:
    """The kind of a refused key, for the audit log.

    It contains no part of the key, which may be a valid one with a typo.
    """
    return "embed token" if key.startswith(EMBED_PREFIX) else "key" if key else "session"


def _from_environment(settings: Settings, key: str) -> Caller | None:
    """The caller of a key in CODEACT_API_KEYS. Compares hashes, so that timing reveals nothing about the key."""
    secret = hash_of(key)
    for known in settings.api_keys:
        if hash_of(known.get_secret_value()) == secret:
            return _caller(settings, f"key-{secret[:16]}", False, f"env-{secret[:16]}", OwnerLimits())
    return None


def _is_accepted(settings: Settings, credential: Credential, *, as_session: bool) -> bool:
    """Whether the credential may be used in this way.

    A cookie must be a session, and a bearer token must not. A credential made from a key in CODEACT_API_KEYS ends when
    that key is removed there, and a person's session when CODEACT_OIDC_ISSUER changes; the database ends the others.
    """
    if (credential.kind == "session") != as_session:
        return False
    parent = credential.parent_id or ""
    if parent.startswith(LOGIN_PARENT):
        return settings.oidc_issuer is not None and parent == settings.login_parent
    if not parent.startswith("env-"):
        return True
    return any(parent == f"env-{hash_of(key.get_secret_value())[:16]}" for key in settings.api_keys)


def bearer_of(settings: Settings, found: Credential) -> Caller:
    """The caller of this key or session."""
    grant = Grant(found.origin, found.account_limits) if found.origin is not None else None
    caller = _caller(settings, found.owner, found.operator, found.id, found.limits)
    person = found.person if found.kind == "session" else None
    return replace(caller, expires_at=found.expires_at, grant=grant, person=person, admin=found.admin)


def _caller(settings: Settings, owner: str, operator: bool, credential_id: str | None, own: OwnerLimits) -> Caller:
    names = [field.name for field in fields(OwnerLimits)]
    secret = {name: getattr(own, name) for name in names}
    limits = {name: getattr(settings, name) if value is None else value for name, value in secret.items()}
    return Caller(owner, operator, credential_id, OwnerLimits(**limits), own)


class Authenticate:
    """ASGI middleware that requires a `Caller` for everything below `/v1/`.

    It refuses others with 401 or 403 (sockets: closes with 4401 or 4403). It also counts the open requests of each
    owner and refuses more than the limit with 429 (sockets: 1013).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not _is_protected(scope["path"]):
            return await self._app(scope, receive, send)
        connection = HTTPConnection(scope)
        with ExitStack() as counted:
            try:
                is_known = CALLER in scope  # Another server has passed the request on, and has authenticated it.
                caller = scope[CALLER] if is_known else await authenticate(connection)
                scope[CALLER] = current_request().caller = caller
                if caller.grant is None:
                    settings: Settings = connection.app.state.settings
                    runs_it = caller.operator and (caller.credential_id is not None or is_loopback(settings.host))
                    known = settings.disclosure
                    read_by(known.to_operators if runs_it else known.to_holders)
                if not (
                    caller.acting or is_known
                ):  # An operator can still act for an owner who has too many open requests.
                    services: HasAccess = connection.app.state.codeact
                    counted.enter_context(services.open_requests.counted(caller.owner))
            except (CodeActError, SandboxError) as error:
                return await _refuse(error, scope, receive, send)
            return await self._app(scope, receive, send)


async def _refuse(error: CodeActError | SandboxError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, RateLimited) else None
        await error_response(scope, error, headers)(scope, receive, send)
        return
    socket = WebSocket(scope, receive, send)
    await accept(socket)
    kinds = ((Unauthorized, BAD_AUTH), (Forbidden, FORBIDDEN), (object, OVERLOADED))
    code = next(code for kind, code in kinds if isinstance(error, kind))
    await socket.close(code, close_reason(disclosed(error)[1]))


async def accept(socket: WebSocket) -> None:
    """Accepts the socket, with our subprotocol if the client offers it, as browsers require."""
    await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)


def _is_protected(path: str) -> bool:
    return path.startswith("/v1/") and path != EMBED_SESSIONS and not f"{path}/".startswith(PUBLIC)

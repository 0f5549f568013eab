"""Who asks: a request's key or session enters, a `Caller` leaves or a refusal.

A key comes as a bearer token (RFC 6750); from a browser, whose sockets carry no such header, as the cookie of
a session or as the WebSocket subprotocol `codeact-key.KEY` beside `codeact`.
"""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING

import anyio
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from codeact.errors import CodeActError, ConfigurationError
from codeact.owners import account_of
from codeact.settings import Settings
from codeact.store import Credential, OwnerLimits, open_store
from codeact.store.access import EMBED_PREFIX, KEY_PREFIX, hash_of
from sandbox_pool.errors import SandboxError
from server.embed import Grant, check_use
from server.errors import Unauthorized, close_reason, envelope, json_response, status_of
from server.guard import Forbidden, is_loopback

if TYPE_CHECKING:
    from server.state import State

__all__ = [
    "BAD_AUTH",
    "COOKIE",
    "EMBED_SESSIONS",
    "Authenticate",
    "Caller",
    "accept",
    "authenticate",
    "caller_of",
    "check_exposure",
    "identify",
    "owner_of",
]

COOKIE = "codeact_session"
ACTING_FOR = "codeact-owner"
"""A header: the owner for whom an operator acts."""
SUBPROTOCOL = "codeact"
KEY_SUBPROTOCOL = "codeact-key."
LOCAL_OWNER = "local"
BAD_AUTH, FORBIDDEN, OVERLOADED = 4401, 4403, 1013

EMBED_SESSIONS = "/v1/embed/sessions"
PUBLIC = ("/v1/session/", "/v1/shares/")
"""Under these paths, and at the one above, a route checks for itself who asks."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`credential_id` is the key's or the session's id; None where no key is needed and none was given.

    `limits` are the key's own, and the settings' where it has none. `expires_at` is when it ends; None: not by itself.
    `grant` is there for who came with an embed token.
    """

    owner: str
    operator: bool
    credential_id: str | None
    limits: OwnerLimits
    own_limits: OwnerLimits
    expires_at: datetime | None = None
    grant: Grant | None = None

    @property
    def accounts(self) -> list[tuple[str, OwnerLimits]]:
        """For whom the caller's use counts, and up to which limits."""
        account = [(account_of(self.owner), self.grant.account_limits)] if self.grant is not None else []
        return [(self.owner, self.limits), *account]


def check_exposure(settings: Settings) -> None:
    """Raises `ConfigurationError` where a key is needed and none exists, so that nobody could come in.

    Opens the database for that, where CODEACT_API_KEYS has none. Not for use inside of an event loop.
    """
    if _keys_are_needed(settings) and not settings.api_keys and not anyio.run(_has_keys, settings):
        raise ConfigurationError(
            f"An API key is needed (CODEACT_HOST is {settings.host}), but none exists. Make one with `codeact keys"
            " create`, or set CODEACT_API_KEYS. CODEACT_ALLOW_UNAUTHENTICATED=true serves without, for where"
            " something in front checks who comes.",
            param="CODEACT_HOST",
        )


async def _has_keys(settings: Settings) -> bool:
    async with open_store(settings) as store:
        return await store.access.has_keys()


def _keys_are_needed(settings: Settings) -> bool:
    if settings.require_keys is not None:
        return settings.require_keys
    return bool(settings.api_keys) or not (is_loopback(settings.host) or settings.allow_unauthenticated)


async def authenticate(connection: HTTPConnection) -> Caller:
    """Who asks, or for whom an operator does. Raises like `identify`, and `Forbidden` for who may not do this."""
    state: State = connection.app.state.codeact
    caller = await identify(state, key=_key(connection), session=connection.cookies.get(COOKIE, ""))
    if caller.grant is not None:
        check_use(connection, state.settings)
    owner = connection.headers.get(ACTING_FOR)
    if owner is None or owner == caller.owner:
        return caller
    if not caller.operator:
        raise Forbidden(f"'{ACTING_FOR}' is for operators; this key is not one.", code="operators_only")
    return replace(caller, owner=owner)


async def identify(state: "State", *, key: str, session: str = "") -> Caller:
    """Whose key or session it is. Raises `Unauthorized`, or `StoreUnavailable` where the database has to be asked.

    A key that is revoked is refused from the next call on. Where no key is needed, one that cannot be ours is
    passed over: clients send some placeholder. Behind an embed token that has ended, no session is looked for.
    """
    settings = state.settings
    if (caller := _from_environment(settings, key)) is not None:
        return caller
    session = "" if key.startswith(EMBED_PREFIX) else session
    for given in filter(None, (key if key.startswith(KEY_PREFIX) else "", session)):
        store = await state.store.get()
        credential = await store.access.find(given)
        if credential is not None and _is_accepted(settings, credential, as_session=given == session):
            return _bearer(settings, credential)
    if _keys_are_needed(settings) or key.startswith(KEY_PREFIX):
        what = "is not valid" if key or session else "is missing"
        raise Unauthorized(f"The API key {what}. Send 'Authorization: Bearer KEY'; `codeact keys create` makes one.")
    return _caller(settings, LOCAL_OWNER, True, None, OwnerLimits())


def _key(connection: HTTPConnection) -> str:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for offered in connection.scope.get("subprotocols", ()):
        if offered.startswith(KEY_SUBPROTOCOL):
            return str(offered.removeprefix(KEY_SUBPROTOCOL))
    return ""


def _from_environment(settings: Settings, key: str) -> Caller | None:
    """Compares hashes: how long that takes says nothing about the key."""
    given = hash_of(key)
    for known in settings.api_keys:
        if hash_of(known.get_secret_value()) == given:
            return _caller(settings, f"key-{given[:16]}", False, f"env-{given[:16]}", OwnerLimits())
    return None


def _is_accepted(settings: Settings, credential: Credential, *, as_session: bool) -> bool:
    """A cookie is a session and no key. What was made from a key in CODEACT_API_KEYS ends when that is taken out; the
    database ends the others.
    """
    if (credential.kind == "session") != as_session:
        return False
    parent = credential.parent_id or ""
    if not parent.startswith("env-"):
        return True
    return any(parent == f"env-{hash_of(key.get_secret_value())[:16]}" for key in settings.api_keys)


def _bearer(settings: Settings, found: Credential) -> Caller:
    grant = Grant(found.origin, found.account_limits) if found.origin is not None else None
    caller = _caller(settings, found.owner, found.operator, found.id, found.limits)
    return replace(caller, expires_at=found.expires_at, grant=grant)


def _caller(settings: Settings, owner: str, operator: bool, credential_id: str | None, own: OwnerLimits) -> Caller:
    names = [field.name for field in fields(OwnerLimits)]
    given = {name: getattr(own, name) for name in names}
    limits = {name: getattr(settings, name) if value is None else value for name, value in given.items()}
    return Caller(owner, operator, credential_id, OwnerLimits(**limits), own)


def caller_of(connection: HTTPConnection) -> Caller:
    """Who `Authenticate` found out."""
    caller: Caller = connection.scope["codeact.caller"]
    return caller


def owner_of(connection: HTTPConnection) -> str:
    """The owner that the request's key stands for; without keys everybody is `local`."""
    return caller_of(connection).owner


class Authenticate:
    """ASGI middleware: nothing under `/v1/` is reached without a `Caller`: 401 and 403, on sockets 4401 and 4403."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not _is_protected(scope["path"]):
            return await self._app(scope, receive, send)
        connection = HTTPConnection(scope)
        try:
            scope["codeact.caller"] = await authenticate(connection)
        except (CodeActError, SandboxError) as error:
            if scope["type"] == "http":
                return await json_response(envelope(error), status_of(error))(scope, receive, send)
            socket = WebSocket(scope, receive, send)
            await accept(socket)
            kinds = ((Unauthorized, BAD_AUTH), (Forbidden, FORBIDDEN), (object, OVERLOADED))
            code = next(code for kind, code in kinds if isinstance(error, kind))
            return await socket.close(code, close_reason(error.message))
        return await self._app(scope, receive, send)


async def accept(socket: WebSocket) -> None:
    """Accepts with our subprotocol where the client offers it, as a browser insists on."""
    await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)


def _is_protected(path: str) -> bool:
    return path.startswith("/v1/") and path != EMBED_SESSIONS and not f"{path}/".startswith(PUBLIC)

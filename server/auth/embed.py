"""Checks that a request with an embed token stays within what such a token allows.

The token is held by a stranger's browser. So it works only for the routes listed here, and only from our own pages.
"""

from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.routing import Match

from codeact.errors import InvalidRequest
from codeact.server.auth.origin_check import Forbidden, is_own
from codeact.settings import Settings
from codeact.store import OwnerLimits

__all__ = ["ROUTES", "Grant", "check_origin", "check_use"]

ROUTES = frozenset(
    {
        "WEBSOCKET /v1/responses",
        "POST /v1/responses",
        "GET /v1/responses/{response_id}",
        "DELETE /v1/responses/{response_id}",
        "POST /v1/responses/{response_id}/cancel",
        "GET /v1/responses/{response_id}/input_items",
        "POST /v1/responses/{response_id}/feedback",
        "GET /v1/conversations",
        "POST /v1/conversations",
        "GET /v1/conversations/{conversation_id}",
        "POST /v1/conversations/{conversation_id}",
        "PATCH /v1/conversations/{conversation_id}",
        "DELETE /v1/conversations/{conversation_id}",
        "POST /v1/conversations/{conversation_id}/restore",
        "GET /v1/conversations/{conversation_id}/responses",
        "GET /v1/conversations/{conversation_id}/feedback",
        "GET /v1/conversations/{conversation_id}/export",
        "GET /v1/conversations/{conversation_id}/items",
        "POST /v1/conversations/{conversation_id}/items",
        "GET /v1/conversations/{conversation_id}/items/{item_id}",
        "DELETE /v1/conversations/{conversation_id}/items/{item_id}",
        "GET /v1/containers",
        "GET /v1/containers/{container_id}",
        "DELETE /v1/containers/{container_id}",
        "GET /v1/containers/{container_id}/files",
        "POST /v1/containers/{container_id}/files",
        "GET /v1/containers/{container_id}/files/{file_id}",
        "GET /v1/containers/{container_id}/files/{file_id}/content",
        "DELETE /v1/containers/{container_id}/files/{file_id}",
        "POST /v1/files",
        "POST /v1/uploads",
        "POST /v1/uploads/{pending_id}/parts",
        "POST /v1/uploads/{pending_id}/complete",
        "POST /v1/uploads/{pending_id}/cancel",
        "GET /v1/files",
        "GET /v1/files/{upload_id}",
        "GET /v1/files/{upload_id}/content",
        "DELETE /v1/files/{upload_id}",
        "GET /v1/blobs/{sha256}",
        "GET /v1/models",
        "GET /v1/models/{model:path}",
        "GET /v1/status",
        "GET /v1/embed/session",
    }
)
"""Excludes every route that creates credentials, reads other users' data, or publishes content.

A container is only created together with a question: otherwise a visitor could claim sandboxes without one.
"""


@dataclass(frozen=True, slots=True)
class Grant:
    """What an embed session adds to its owner: the origin that it is for, and the limits of its account in all."""

    origin: str
    account_limits: OwnerLimits


def check_use(connection: HTTPConnection, settings: Settings) -> None:
    """Raises `Forbidden` if an embed token is used on a page that is not ours, or for a route that is not listed."""
    origin = connection.headers.get("origin")
    if origin is not None and not is_own(origin, connection.headers.get("host", ""), settings):
        raise Forbidden("An embed token works on this server's own pages only, in the frame that it was made for.")
    route = _route_of(connection)
    if route not in ROUTES:
        raise Forbidden("An embed token is not for this; docs/embed.md lists what it is for.", code="embed_forbidden")


def check_origin(origin: str, settings: Settings) -> None:
    """Raises `InvalidRequest` if pages of this origin may not embed the chat."""
    if origin not in settings.embed_origins:
        text = "Pages of this 'origin' may not embed the chat; CODEACT_EMBED_ORIGINS lists those that may, exactly."
        raise InvalidRequest(text, param="origin")


def _route_of(connection: HTTPConnection) -> str | None:
    """The route that the application will use, such as `GET /v1/models`."""
    scope = connection.scope
    for route in connection.app.routes:
        if route.matches(scope)[0] is Match.FULL:
            method = scope.get("method", "WEBSOCKET")
            return f"{'GET' if method == 'HEAD' else method} {route.path}"
    return None

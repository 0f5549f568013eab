"""Feedback and shares over HTTP: ratings with comments, and read-only conversations for everyone with the link."""

from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import CodeActError, InvalidRequest, NotFound
from codeact.runs.media import served_type
from codeact.server.auth.caller import owner_of
from codeact.server.documents import document_response
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.public_view import IMAGES, SharedConversation, images_of, shared_conversation
from codeact.server.requests.parameters import checked, read_json
from codeact.server.routes.conversations import blob_response
from codeact.server.routes.idempotency import idempotent
from codeact.server.services import Services
from codeact.store import Feedback, Share

__all__ = ["check_sharing", "opened", "routes"]

PUBLIC_HEADERS = {"Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


class SharingIsOff(CodeActError):
    """CODEACT_SHARING is false."""

    code = "sharing_is_off"
    status = 403


class RateResponse(msgspec.Struct):
    """`rating` null removes the rating."""

    rating: Literal["up", "down"] | None
    comment: Annotated[str, msgspec.Meta(max_length=4000)] | None = None


class ShareConversation(msgspec.Struct):
    """Selects the branch that ends with this response; default: the latest branch."""

    response_id: str | None = None


@operation(dict[str, Any], body=RateResponse)
async def rate(request: Request) -> Response:
    """Stores a rating and a comment for an answer."""
    services: Services = request.app.state.codeact
    body = checked(await read_json(request, services.settings.max_message_bytes), RateResponse)
    response_id = request.path_params["response_id"]
    store = await services.store.get()
    feedback = await store.sharing.rate(response_id, body.rating, body.comment, owner=owner_of(request))
    if feedback is None:
        return json_response(
            {"object": "codeact:feedback", "response_id": response_id, "rating": None, "comment": None}
        )
    return json_response(_feedback_shape(feedback))


@operation(dict[str, Any])
async def list_feedback(request: Request) -> Response:
    """The feedback on a conversation's answers, in their order."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    store = await services.store.get()
    conversation = await store.get_conversation(request.path_params["conversation_id"], owner=owner)
    found = await store.sharing.feedback_of(conversation.id, owner=owner)
    return await document_response(
        {"object": "list", "data": [_feedback_shape(one) for one in found], "has_more": False}
    )


@operation(dict[str, Any], body=ShareConversation)
@idempotent()
async def share(request: Request) -> Response:
    """Makes a link that shows the conversation as it is now. Sharing again updates the same link."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    check_sharing(services)
    body = checked(await read_json(request, services.settings.max_message_bytes), ShareConversation)
    store = await services.store.get()
    conversation = await store.get_conversation(request.path_params["conversation_id"], owner=owner)
    response_id = body.response_id or conversation.last_response_id
    if response_id is None:
        raise InvalidRequest("The conversation has no answer yet that could be shared.", param="conversation")
    thread = await store.thread(response_id, owner=owner)
    reference = thread[-1].response.conversation
    if reference is None or reference.id != conversation.id:
        raise InvalidRequest(f"'{response_id}' is not in this conversation.", param="response_id")
    made = await store.sharing.share(conversation.id, thread, images=await images_of(thread), owner=owner)
    return json_response(_share_shape(made))


@operation(dict[str, Any])
async def get_share(request: Request) -> Response:
    """The link of a shared conversation."""
    services: Services = request.app.state.codeact
    store = await services.store.get()
    owner = owner_of(request)
    return json_response(
        _share_shape(await store.sharing.share_of(request.path_params["conversation_id"], owner=owner))
    )


@operation(dict[str, Any])
async def revoke(request: Request) -> Response:
    """Disables the link."""
    services: Services = request.app.state.codeact
    store = await services.store.get()
    conversation = await store.get_conversation(request.path_params["conversation_id"], owner=owner_of(request))
    await store.sharing.revoke(conversation.id, owner=conversation.owner)
    return json_response({"object": "codeact:share.deleted", "conversation_id": conversation.id, "deleted": True})


@operation(SharedConversation)
async def shared(request: Request) -> Response:
    """What a link shows, without a key: questions, prose, code and its outputs; no instructions, no reasoning."""
    services: Services = request.app.state.codeact
    check_sharing(services)
    store = await services.store.get()
    found = await opened(request.path_params["token"], services)
    conversation = await store.get_conversation(found.conversation_id, owner=found.owner)
    thread = await store.thread(found.response_id, owner=found.owner)
    view = await shared_conversation(
        thread,
        found,
        title=conversation.title,
        created_at=conversation.created_at,
        certificates=await store.certificates.of_conversation(conversation.id, owner=found.owner),
    )
    return await document_response(view, headers=PUBLIC_HEADERS)


async def shared_blob(request: Request) -> Response:
    """An image of a shared conversation. Other blobs of its owner are not available."""
    services: Services = request.app.state.codeact
    check_sharing(services)
    store = await services.store.get()
    found = await opened(request.path_params["token"], services)
    sha256 = request.path_params["sha256"]
    images = found.images
    if images is None:  # shared by an earlier version, which listed files there too
        images = await images_of(await store.thread(found.response_id, owner=found.owner))
    blob = await store.get_blob(sha256, owner=found.owner) if sha256 in images else None
    if blob is None or served_type(blob) not in IMAGES:
        raise NotFound(f"There is no image '{sha256[:64]}'.", param="sha256")
    answer = blob_response(blob)
    answer.headers.update(PUBLIC_HEADERS)
    return answer


async def opened(token: str, services: Services) -> Share:
    """Finds the share that a stranger opens, and records it in the owner's audit log. Raises `NotFound`."""
    try:
        found = await (await services.store.get()).sharing.shared(token)
    except NotFound:
        services.audit.count("share.read", "no such share", status=404)
        raise
    services.audit.count("share.read", found.conversation_id, status=200, owner=found.owner)
    return found


def check_sharing(services: Services) -> None:
    """Raises `SharingIsOff` if the operator wants no links."""
    if not services.settings.sharing:
        raise SharingIsOff("This server shares nothing by link (CODEACT_SHARING=false).")


def _share_shape(share: Share) -> dict[str, Any]:
    return {
        "object": "codeact:share",
        "token": share.token,
        "url": f"/v1/shares/{share.token}",
        "conversation_id": share.conversation_id,
        "response_id": share.response_id,
        "created_at": int(share.created_at),
    }


def _feedback_shape(feedback: Feedback) -> dict[str, Any]:
    return {
        "object": "codeact:feedback",
        "response_id": feedback.response_id,
        "rating": feedback.rating,
        "comment": feedback.comment,
        "created_at": int(feedback.created_at),
    }


routes = [
    Route("/v1/responses/{response_id}/feedback", rate, methods=["POST"]),
    Route("/v1/conversations/{conversation_id}/feedback", list_feedback, methods=["GET"]),
    Route("/v1/conversations/{conversation_id}/share", share, methods=["POST"]),
    Route("/v1/conversations/{conversation_id}/share", get_share, methods=["GET"]),
    Route("/v1/conversations/{conversation_id}/share", revoke, methods=["DELETE"]),
    Route("/v1/shares/{token}", shared, methods=["GET"]),
    Route("/v1/shares/{token}/blobs/{sha256}", shared_blob, methods=["GET"]),
]

"""Feedback and shares over HTTP: thumbs and comments enter; read-only conversations leave for who has the link."""

import re
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import CodeActError, InvalidRequest, NotFound
from codeact.events import CodeInterpreterCall, InputMessage, Item, Message
from codeact.store import Feedback, Share, StoredResponse
from server.auth import owner_of
from server.errors import json_response
from server.openapi import operation
from server.parameters import checked, read_json
from server.routes.conversations import blob_response
from server.state import State

__all__ = ["routes"]

PUBLIC_HEADERS = {"Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
BLOB_URL = re.compile(rb"/v1/blobs/(?=[0-9a-f]{64})")


class SharingIsOff(CodeActError):
    """CODEACT_SHARING is false."""

    code = "sharing_is_off"
    status = 403


class RateResponse(msgspec.Struct):
    """`rating` null takes it back."""

    rating: Literal["up", "down"] | None
    comment: Annotated[str, msgspec.Meta(max_length=4000)] | None = None


class ShareConversation(msgspec.Struct):
    """The branch that ends in this response, else the latest."""

    response_id: str | None = None


@operation(dict[str, Any], body=RateResponse)
async def rate(request: Request) -> Response:
    """Stores a thumb and a comment on an answer."""
    state: State = request.app.state.codeact
    asked = checked(await read_json(request, state.settings.max_message_bytes), RateResponse)
    response_id = request.path_params["response_id"]
    store = await state.store.get()
    feedback = await store.sharing.rate(response_id, asked.rating, asked.comment, owner=owner_of(request))
    if feedback is None:
        return json_response(
            {"object": "codeact:feedback", "response_id": response_id, "rating": None, "comment": None}
        )
    return json_response(_feedback_shape(feedback))


@operation(dict[str, Any])
async def list_feedback(request: Request) -> Response:
    """The feedback on a conversation's answers, in their order."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    store = await state.store.get()
    conversation = await store.get_conversation(request.path_params["conversation_id"], owner=owner)
    found = await store.sharing.feedback_of(conversation.id, owner=owner)
    return json_response({"object": "list", "data": [_feedback_shape(one) for one in found], "has_more": False})


@operation(dict[str, Any], body=ShareConversation)
async def share(request: Request) -> Response:
    """Makes a link that shows the conversation as it is now; again, and the same link shows what has come since."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    _check_sharing(state)
    asked = checked(await read_json(request, state.settings.max_message_bytes), ShareConversation)
    store = await state.store.get()
    conversation = await store.get_conversation(request.path_params["conversation_id"], owner=owner)
    response_id = asked.response_id or conversation.last_response_id
    if response_id is None:
        raise InvalidRequest("The conversation has no answer yet that could be shared.", param="conversation")
    thread = await store.thread(response_id, owner=owner)
    reference = thread[-1].response.conversation
    if reference is None or reference.id != conversation.id:
        raise InvalidRequest(f"'{response_id}' is not in this conversation.", param="response_id")
    return json_response(_share_shape(await store.sharing.share(conversation.id, thread, owner=owner)))


@operation(dict[str, Any])
async def get_share(request: Request) -> Response:
    """The link of a conversation that is shared."""
    state: State = request.app.state.codeact
    store = await state.store.get()
    owner = owner_of(request)
    return json_response(
        _share_shape(await store.sharing.share_of(request.path_params["conversation_id"], owner=owner))
    )


@operation(dict[str, Any])
async def revoke(request: Request) -> Response:
    """Ends the link."""
    state: State = request.app.state.codeact
    store = await state.store.get()
    conversation = await store.get_conversation(request.path_params["conversation_id"], owner=owner_of(request))
    await store.sharing.revoke(conversation.id, owner=conversation.owner)
    return json_response({"object": "codeact:share.deleted", "conversation_id": conversation.id, "deleted": True})


@operation(dict[str, Any])
async def shared(request: Request) -> Response:
    """What a link shows, without a key: questions, prose, code and its outputs; no instructions, no reasoning."""
    state: State = request.app.state.codeact
    _check_sharing(state)
    store = await state.store.get()
    found = await store.sharing.shared(request.path_params["token"])
    conversation = await store.get_conversation(found.conversation_id, owner=found.owner)
    thread = await store.thread(found.response_id, owner=found.owner)
    body = msgspec.json.encode(
        {
            "object": "codeact:shared_conversation",
            "title": conversation.title,
            "created_at": int(conversation.created_at),
            "shared_at": int(found.created_at),
            "responses": [_shown(stored) for stored in thread],
        }
    )
    body = BLOB_URL.sub(f"/v1/shares/{found.token}/blobs/".encode(), body)
    return Response(body, media_type="application/json", headers=PUBLIC_HEADERS)


async def shared_blob(request: Request) -> Response:
    """An image or a long text of a shared conversation."""
    state: State = request.app.state.codeact
    _check_sharing(state)
    store = await state.store.get()
    found = await store.sharing.shared(request.path_params["token"])
    sha256 = request.path_params["sha256"]
    if sha256 not in found.blobs:
        raise NotFound(f"There is no blob '{sha256}'.", param="sha256")
    answer = blob_response(await store.get_blob(sha256, owner=found.owner))
    answer.headers.update(PUBLIC_HEADERS)
    return answer


def _check_sharing(state: State) -> None:
    if not state.settings.sharing:
        raise SharingIsOff("Conversations are not shared by this server (CODEACT_SHARING=false).")


def _shown(stored: StoredResponse) -> dict[str, Any]:
    response = stored.response
    said = [item for item in stored.input if isinstance(item, InputMessage) and item.role in ("user", "assistant")]
    return {
        "id": response.id,
        "created_at": int(response.created_at),
        "model": response.model,
        "status": response.status,
        "error": response.error,
        "input": said,
        "output": [shown for item in response.output if (shown := _shown_item(item)) is not None],
    }


def _shown_item(item: Item) -> dict[str, Any] | None:
    """Without what belongs to the owner alone: containers, their files, what the model was told."""
    match item:
        case Message():
            content = [{"type": "output_text", "text": part.text, "annotations": []} for part in item.content]
            return {"type": "message", "id": item.id, "role": item.role, "status": item.status, "content": content}
        case CodeInterpreterCall():
            wire: dict[str, Any] = msgspec.to_builtins(item)
            kept = ("type", "id", "status", "code", "outputs", "codeact:notebook_outputs", "codeact:result")
            return {name: wire[name] for name in kept}
    return None


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

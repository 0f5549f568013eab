"""`/v1/models`: the one model that is served, as the standard lists models."""

from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import ModelNotFound
from server.auth import owner_of
from server.errors import json_response
from server.openapi import operation
from server.state import State

__all__ = ["routes"]


class ModelEntry(msgspec.Struct):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "codeact"


class ModelList(msgspec.Struct):
    data: list[ModelEntry]
    object: Literal["list"] = "list"


@operation(ModelList)
async def list_models(request: Request) -> Response:
    """The one model that is served."""
    owner_of(request)
    return json_response(ModelList([await _served(request)]))


@operation(ModelEntry)
async def get_model(request: Request) -> Response:
    """The model by its name; `codeact` is whichever is served."""
    owner_of(request)
    served = await _served(request)
    asked: Any = request.path_params["model"]
    if asked not in (served.id, "codeact"):
        raise ModelNotFound(f"The model '{asked}' is not served here; '{served.id}' is.", param="model")
    return json_response(served)


async def _served(request: Request) -> ModelEntry:
    state: State = request.app.state.codeact
    return ModelEntry((await state.model.get()).name)


routes = [
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
]

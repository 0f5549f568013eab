"""`/v1/models`: the models that are served, as the standard lists them; the first is the default."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.models.served import Served
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
    """The models that are served; the first answers requests that name none."""
    owner_of(request)
    return json_response(ModelList([ModelEntry(name) for name in (await _served(request)).names]))


@operation(ModelEntry)
async def get_model(request: Request) -> Response:
    """The model by its name; `codeact` is the default."""
    owner_of(request)
    asked: str = request.path_params["model"]
    return json_response(ModelEntry((await _served(request)).get(asked).name))


async def _served(request: Request) -> Served:
    state: State = request.app.state.codeact
    return await state.models.get()


routes = [
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
]

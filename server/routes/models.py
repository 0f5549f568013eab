"""`/v1/models`: lists the served models, the default first, and the other names that they have."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.models.registry import ModelRegistry
from codeact.server.auth.caller import owner_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.services import Services
from codeact.server.transports.anthropic_shapes import Page, model_info, speaks_anthropic

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
    """The models that are served, then their aliases (`codeact`, and those of CODEACT_MODEL_ALIASES).

    The first one answers requests that name none.
    """
    owner_of(request)
    registry = await _registry(request)
    if speaks_anthropic(request):
        return json_response(Page([model_info(name) for name in (*registry.names, *registry.aliases)]))
    return json_response(ModelList([ModelEntry(name) for name in (*registry.names, *registry.aliases)]))


@operation(ModelEntry)
async def get_model(request: Request) -> Response:
    """The model by its name or an alias."""
    owner_of(request)
    name: str = request.path_params["model"]
    (await _registry(request)).get(name)
    return json_response(model_info(name) if speaks_anthropic(request) else ModelEntry(name))


async def _registry(request: Request) -> ModelRegistry:
    services: Services = request.app.state.codeact
    return await services.models.get()


routes = [
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
]

"""`/v1/models`: lists the served models, the default first, and the other names that they have."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest
from codeact.models.registry import ModelRegistry
from codeact.server.auth.caller import owner_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.parameters import read_parameters
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


class _List(msgspec.Struct, kw_only=True):
    """Without `limit`, clients of Anthropic's API get 20 models, others all."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    after_id: str | None = None
    before_id: str | None = None
    beta: bool | None = None


@operation(ModelList, query=_List)
async def list_models(request: Request) -> Response:
    """The models that are served, then their aliases (`codeact`, and those of CODEACT_MODEL_ALIASES).

    The first one answers requests that name none.
    """
    owner_of(request)
    registry = await _registry(request)
    query, names = read_parameters(request, _List), [*registry.names, *registry.aliases]
    anthropic = speaks_anthropic(request)
    found, has_more = _page(names, query, limit=query.limit or (20 if anthropic else len(names)))
    if anthropic:
        return json_response(Page([model_info(name) for name in found], has_more=has_more))
    return json_response(ModelList([ModelEntry(name) for name in found]))


def _page(names: list[str], query: _List, *, limit: int) -> tuple[list[str], bool]:
    """The models after `after_id`, or the last ones before `before_id`; and whether there are more.

    Raises `InvalidRequest` for both, and for other names.
    """
    if query.after_id is not None and query.before_id is not None:
        raise InvalidRequest("'after_id' and 'before_id' exclude each other; send one of them.", param="before_id")
    for param, name in (("after_id", query.after_id), ("before_id", query.before_id)):
        if name is not None and name not in names:
            raise InvalidRequest(f"There is no model '{name}' to list others by.", param=param)
    if query.before_id is not None:
        names = names[: names.index(query.before_id)]
        return names[-limit:], len(names) > limit
    if query.after_id is not None:
        names = names[names.index(query.after_id) + 1 :]
    return names[:limit], len(names) > limit


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

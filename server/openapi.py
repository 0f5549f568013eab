"""Builds the OpenAPI 3.1 document from the application's routes and the types with which they validate.

A handler declares its types with `@operation`; its docstring is the description. Nothing is written twice.
"""

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal, Union

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from codeact.events import Event
from codeact.server.errors import json_response
from codeact.server.request_ids import is_messages
from codeact.server.requests.parameters import read_parameters

__all__ = ["Envelope", "MessageEnvelope", "document", "operation", "routes"]

Handler = Callable[[Request], Awaitable[Response]]
REF = "#/components/schemas/{name}"
_CONVERTER = re.compile(r":\w+}")


class ErrorBody(msgspec.Struct):
    message: str
    type: str
    code: str | None
    param: str | None


class Envelope(msgspec.Struct):
    """The body of an answer with a status of 400 or more."""

    error: ErrorBody


class MessageErrorDetails(msgspec.Struct):
    error_code: str | None


class MessageErrorBody(msgspec.Struct):
    type: str
    message: str
    code: str | None
    param: str | None
    details: MessageErrorDetails


class MessageEnvelope(msgspec.Struct):
    """The body of an error below `/v1/messages`, and of every error if the request has `anthropic-version`."""

    error: MessageErrorBody
    request_id: str
    type: Literal["error"] = "error"


class NoQuery(msgspec.Struct):
    """For routes without query parameters."""


@dataclass(frozen=True, slots=True)
class Operation:
    """The types of a route's JSON body, query and answer. `streams`: the answer may be SSE.

    `files` are media types that the answer may have instead of JSON. `upload`: the body may be a form with a file.
    `status` is that of a successful answer.
    """

    answer: Any
    body: Any = None
    query: type[msgspec.Struct] | None = None
    streams: bool = False
    files: tuple[str, ...] = ()
    upload: bool = False
    status: int = 200


def operation(
    answer: Any = None,
    *,
    body: Any = None,
    query: type[msgspec.Struct] | None = None,
    streams: bool = False,
    files: tuple[str, ...] = (),
    upload: bool = False,
    status: int = 200,
) -> Callable[[Handler], Handler]:
    """Adds a handler to the document; see `Operation`.

    Without `query`, the handler refuses all query parameters by name.
    """

    def mark(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def marked(request: Request) -> Response:
            if query is None:
                read_parameters(request, NoQuery)
            return await handler(request)

        marked.operation = Operation(answer, body, query, streams, files, upload, status)  # type: ignore[attr-defined]
        return marked

    return mark


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The document of every route whose handler is marked."""
    marked = [
        (route, found)
        for route in routes
        if isinstance(route, Route) and (found := getattr(route.endpoint, "operation", None)) is not None
    ]
    types: list[Any] = [Envelope, MessageEnvelope, Event]
    for _, found in marked:
        types += [type_ for type_ in (found.answer, found.body) if type_ is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    by_type = {str(type_): schema for type_, schema in zip(types, schemas, strict=True)}
    components["Event"] = by_type[str(Event)]
    paths: dict[str, dict[str, Any]] = {}
    for route, found in marked:
        path = _CONVERTER.sub("}", route.path)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            paths.setdefault(path, {})[method.lower()] = _described(route, found, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "codeact",
            "version": version("codeact"),
            "description": "The OpenAI Responses API, answered by agents that run code. WebSocket: docs/api.md.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}, {}],
    }


def _described(route: Route, found: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, description = (inspect.getdoc(route.endpoint) or "").partition("\n")
    content: dict[str, Any] = {media_type: {} for media_type in found.files}
    if found.answer is not None:
        content["application/json"] = {"schema": schemas[str(found.answer)]}
    if found.streams:
        content["text/event-stream"] = {}  # The `data` of each event is an `Event`, or `[DONE]`.
    envelope = MessageEnvelope if is_messages(route.path) else Envelope
    error = {"application/json": {"schema": schemas[str(envelope)]}}
    described: dict[str, Any] = {
        "operationId": f"{route.endpoint.__module__.rsplit('.', 1)[1]}.{route.endpoint.__name__}",
        "summary": summary,
        "description": description.strip(),
        "parameters": [*_path_parameters(route), *_query_parameters(found.query)],
        "responses": {
            str(found.status): {"description": "Done.", "content": content},
            "4XX": {"description": "The request is wrong, by name.", "content": error},
            "5XX": {"description": "The server cannot do it now.", "content": error},
        },
    }
    if found.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[str(found.body)]}},
        }
    if found.upload:
        form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
        described.setdefault("requestBody", {"required": True, "content": {}})
        described["requestBody"]["content"]["multipart/form-data"] = {"schema": form}
    return described


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in route.param_convertors
    ]


def _query_parameters(query: type[msgspec.Struct] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    return [
        {"name": field.encode_name, "in": "query", "required": field.required, "schema": _schema(field.type)}
        for field in msgspec.structs.fields(query)
    ]


def _schema(type_: Any) -> dict[str, Any]:
    """The schema of a query parameter, without null: a query omits the parameter instead."""
    parts = [part for part in getattr(type_, "__args__", ()) if part is not type(None)]
    if len(parts) < len(getattr(type_, "__args__", ())):
        type_ = Union[tuple(parts)]  # noqa: UP007  # the union of the remaining types
    return msgspec.json.schema(type_)


async def openapi(request: Request) -> Response:
    """This document."""
    return json_response(document(request.app.routes))


routes = [Route("/openapi.json", openapi, methods=["GET"])]

"""Checks what clients send against types: decoded JSON or a query enters, a struct leaves, or an error by name."""

import re
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta
from starlette.requests import Request

from codeact.errors import InvalidRequest

__all__ = ["Included", "Metadata", "PageQuery", "check", "check_query", "page_of", "read_json"]

T = TypeVar("T", bound=msgspec.Struct)

Included = Literal["code_interpreter_call.outputs", "message.input_image.image_url", "reasoning.encrypted_content"]
"""What `include` may name. All of it is always there; reasoning comes in the clear, so that nothing is encrypted."""

Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16, description="Up to 16 pairs: keys of at most 64, values of at most 512 characters."),
]

_PLACE = re.compile(r"\$\.?([^`]*)")


class PageQuery(msgspec.Struct, kw_only=True):
    """Which page of a list: what follows the item `after`, newest first unless `order` is `asc`."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    include: list[Included] | None = None


async def read_json(request: Request, limit: int) -> Any:
    """The body, decoded. Raises `InvalidRequest` when it is too large (413) or no JSON, without reading it all."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            error = InvalidRequest(
                f"The body is over {limit} bytes (CODEACT_MAX_MESSAGE_BYTES).", code="message_too_large"
            )
            error.status = 413  # type: ignore[misc]
            raise error
    try:
        return msgspec.json.decode(bytes(body))
    except msgspec.DecodeError as reason:
        raise InvalidRequest(f"The body must be JSON: {reason}.", code="invalid_json") from None


def check(body: Any, type_: type[T]) -> T:
    """`body` as `type_`. Raises `InvalidRequest` whose `param` is the path of what is wrong."""
    if not isinstance(body, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    _refuse_unknown(body, type_)
    try:
        return msgspec.convert(body, type_)
    except msgspec.ValidationError as error:
        raise _explained(error, type_) from None


def check_query(request: Request, type_: type[T]) -> T:
    """The query parameters as `type_`; of one that is given twice, the last counts. Raises `InvalidRequest`."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        plain = name.removesuffix("[]")
        if plain in fields and "list" in str(fields[plain].type):
            given.setdefault(plain, []).append(value)
        else:
            given[name] = value
    _refuse_unknown(given, type_)
    try:
        return msgspec.convert(given, type_, strict=False)
    except msgspec.ValidationError as error:
        raise _explained(error, type_) from None


def _refuse_unknown(given: dict[str, Any], type_: type[msgspec.Struct]) -> None:
    unknown = sorted(set(given) - {field.encode_name for field in msgspec.structs.fields(type_)})
    if unknown:
        raise InvalidRequest(f"Unknown parameter: '{unknown[0]}'.", param=unknown[0], code="unknown_parameter")


def _explained(error: msgspec.ValidationError, type_: type[msgspec.Struct]) -> InvalidRequest:
    reason, _, place = str(error).partition(" - at `")
    path = _PLACE.match(place)
    param = path[1] if path else ""
    if not param and (missing := re.search(r"missing required field `(\w+)`", reason)):
        param = missing[1]
    field = next((field for field in msgspec.structs.fields(type_) if field.encode_name == param), None)
    if field is not None and field.type is type(None):
        return InvalidRequest(f"'{param}' is not supported.", param=param, code="unsupported_parameter")
    if field is not None and (choices := _choices(field.type)):
        reason = f"{reason}; it takes {' or '.join(choices)}"
    return InvalidRequest(f"Invalid value for '{param}': {reason}.", param=param or None)


def _choices(type_: Any) -> list[str]:
    """The values of a `Literal`, also of one that may be null."""
    values = [value for part in (type_, *get_args(type_)) for value in get_args(part)]
    return [str(value) for value in values if isinstance(value, str | int)]


def page_of(items: list[Any], query: PageQuery) -> dict[str, Any]:
    """One page of what is given oldest first, as the standard lists things. Raises `InvalidRequest` for `after`."""
    ordered = items if query.order == "asc" else items[::-1]
    start = 0
    if query.after is not None:
        places = [index for index, item in enumerate(ordered) if item.id == query.after]
        if not places:
            raise InvalidRequest(f"'{query.after}' is not in this list.", param="after")
        start = places[0] + 1
    page = ordered[start : start + query.limit]
    return {
        "object": "list",
        "data": page,
        "has_more": start + query.limit < len(ordered),
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }

"""Parses the parameters of a body or a URL into validated structs, or refuses them by name."""

import mmap
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import anyio
import msgspec
from starlette.requests import Request

from codeact.errors import InvalidRequest
from sandbox_pool import json_size

__all__ = [
    "UnsupportedMediaType",
    "body_of",
    "checked",
    "decoded",
    "parameters_named",
    "read_body",
    "read_json",
    "read_parameters",
    "spooled_body",
]

T = TypeVar("T", bound=msgspec.Struct)

MOST_VALUES, DEEPEST = 100_000, 100
"""Limits for JSON that a client sends in one piece. A conversation of thousands of messages is within them."""

JSON_TYPE = re.compile(r"(application|text)/([\w.+-]{1,80}\+)?json")

REMEDIES = {
    "file_url": "This server fetches nothing: send 'file_data', or upload the file and send its 'file_id'.",
    "prompt": "This server stores no prompts: send 'instructions' and 'input'.",
}
"""What to send instead of a field that is not supported, by its name."""
_STEP = re.compile(r"\[[^\]]*\]|[^.\[\]]+")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]{1,200})`")
_PLACE = re.compile(r"\$\.?([^`]*)")


class UnsupportedMediaType(InvalidRequest):
    """The body has a type or an encoding that is not read here."""

    code = "unsupported_media_type"
    status = 415


async def read_json(request: Request, limit: int) -> Any:
    """Reads and decodes the body.

    Raises `InvalidRequest` if it is not JSON, or too large (413), without reading all of it; `UnsupportedMediaType` if
    the header says that it is something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and not JSON_TYPE.fullmatch(kind):
        raise UnsupportedMediaType(
            f"The body is '{kind[:100]}'; send JSON, with 'Content-Type: application/json'.", param="Content-Type"
        )
    body = await read_body(request, limit, "CODEACT_MAX_MESSAGE_BYTES")
    return decoded(body, "The body must be JSON")


async def body_of(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces. Raises `UnsupportedMediaType` if it is compressed."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaType(
            f"A body with 'Content-Encoding: {encoding[:100]}' is not read; send it as it is.", param="Content-Encoding"
        )
    async for piece in request.stream():
        yield piece


def decoded(text: bytes | str, demand: str) -> Any:
    """Decodes untrusted JSON. Raises `InvalidRequest`, also for invalid UTF-8 and too many values or levels."""
    try:
        json_size.check(
            text.encode(errors="replace") if isinstance(text, str) else text, most=MOST_VALUES, depth=DEEPEST
        )
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as reason:
        raise InvalidRequest(f"{demand}: {reason}.", code="invalid_json") from None


async def read_body(request: Request, limit: int, limit_name: str) -> bytes:
    """Reads the body. Raises `InvalidRequest` if it is too large (413), without reading all of it."""
    body = bytearray()
    async for chunk in body_of(request):
        body += chunk
        if len(body) > limit:
            raise _too_large(limit, limit_name)
    return bytes(body)


@asynccontextmanager
async def spooled_body(request: Request, limit: int, limit_name: str) -> AsyncIterator[memoryview]:
    """Reads a large body into a temporary file, outside of the server's memory. Raises the errors of `read_body`."""
    with tempfile.TemporaryFile() as file:
        size = 0
        async for chunk in body_of(request):
            size += len(chunk)
            if size > limit:
                raise _too_large(limit, limit_name)
            await anyio.to_thread.run_sync(file.write, chunk)
        file.flush()
        if not size:
            yield memoryview(b"")
            return
        # The mapping ends when nothing refers to it any more.
        yield memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _too_large(limit: int, limit_name: str) -> InvalidRequest:
    error = InvalidRequest(f"The body is over {limit} bytes ({limit_name}).", code="message_too_large")
    error.status = 413  # type: ignore[misc]
    return error


def read_parameters(request: Request, type_: type[T]) -> T:
    """Parses the query string as a `type_`. A list is a repeated parameter, also named `name[]`.

    Raises `InvalidRequest` for a parameter that is unknown, invalid, or repeated with another value.
    """
    kinds = {field.encode_name: str(field.type) for field in msgspec.structs.fields(type_)}
    lists = {name for name, kind in kinds.items() if "list" in kind}
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if value.lower() == "null" and "str" not in kinds.get(name, "str"):
            raise InvalidRequest(f"Invalid value for '{name}': '{value}'; leave it out instead.", param=name)
        if name.removesuffix("[]") in lists:
            values.setdefault(name.removesuffix("[]"), []).append(value)
        elif values.setdefault(name, value) != value:
            raise InvalidRequest(f"The parameter '{name}' is given twice.", param=name)
    return checked(values, type_, strict=False)


def checked(values: object, type_: type[T], *, strict: bool = True) -> T:
    """Converts decoded JSON (or texts, if not `strict`) to `type_`.

    Raises `InvalidRequest`, which says what is wrong and where.
    """
    fields = _names(type_)
    if not isinstance(values, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    for name in values:
        if name not in fields:
            known = ", ".join(fields) or "none"
            text = f"Unknown parameter: '{name}'. Known here: {known}."
            raise InvalidRequest(text, param=str(name), code="unknown_parameter")
    try:
        return msgspec.convert(values, type_, strict=strict)
    except msgspec.ValidationError as error:
        raise _explained(error, type_) from None
    except (ValueError, OverflowError) as error:  # a number that is not a valid time
        raise InvalidRequest(f"A value is out of range: {error}.") from None


@contextmanager
def parameters_named(names: Mapping[str, str]) -> Iterator[None]:
    """Lets errors from within name their parameters as another API does. `names` has that API's names by ours.

    What follows the name, such as `[0].text`, is left out: the other API counts its items in another way.
    """
    try:
        yield
    except InvalidRequest as error:
        ours = _STEP.match(error.param or "")
        if ours is not None and (theirs := names.get(ours[0])) is not None:
            error.param = theirs
            error.message = error.message.replace(f"'{ours[0]}'", f"'{theirs}'")
        raise


@cache
def _names(type_: type[msgspec.Struct]) -> tuple[str, ...]:
    """The names of its fields in JSON. Cached, because reading annotations takes longer than reading a body."""
    return tuple(field.encode_name for field in msgspec.structs.fields(type_))


def _explained(error: msgspec.ValidationError, type_: type[msgspec.Struct]) -> InvalidRequest:
    reason, _, place = str(error).partition(" - at `")
    path = _PLACE.match(place.removeprefix("key` in `"))
    param = path[1] if path else ""
    if not param and (missing := re.search(r"missing required field `(\w+)`", reason)):
        param = missing[1]
    if unknown := _UNKNOWN.match(reason):
        param = f"{param}.{unknown[1]}" if param else unknown[1]
        return InvalidRequest(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
    types = _types_at(type_, param)
    if types == [type(None)] and reason.startswith("Expected `null`"):
        remedy = REMEDIES.get(param.rpartition(".")[2], "Leave it out.")
        return InvalidRequest(f"'{param}' is not supported. {remedy}", param=param, code="unsupported_parameter")
    choices = [_as_json(value) for each in types if get_origin(each) is Literal for value in get_args(each)]
    if param.endswith("type") and reason.startswith("Invalid value "):
        choices = [tag for each in _types_at(type_, param[: -len(".type")]) if (tag := _tag(each)) is not None]
    if choices and reason.startswith(("Invalid enum", "Invalid value ")):
        reason = f"{reason}; it takes {' or '.join(dict.fromkeys(choices))}"
    return InvalidRequest(f"Invalid value for '{param}': {reason}.", param=param or None)


def _types_at(type_: Any, path: str) -> list[Any]:
    """The types that the place `path`, such as `tools[0].async`, may have, without null if there is another one.

    Of several structs that may be there, each that has the field counts.
    """
    types = [type_]
    for step in _STEP.findall(path[:1_000]):
        inner: list[Any] = []
        for each in types:
            if step.startswith("["):
                inner += get_args(each)[:1] if get_origin(each) is list else []
            elif isinstance(each, type) and issubclass(each, msgspec.Struct):
                inner += [field.type for field in msgspec.structs.fields(each) if field.encode_name == step]
        types = [part for each in inner for part in _parts(each)]
    return [each for each in types if each is not type(None)] or types


def _tag(type_: Any) -> str | None:
    tag = getattr(getattr(type_, "__struct_config__", None), "tag", None)
    return tag if isinstance(tag, str) else None


def _as_json(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _parts(type_: Any) -> list[Any]:
    """The members of a union, without annotations."""
    if get_origin(type_) is Annotated:
        return _parts(get_args(type_)[0])
    if get_origin(type_) in (Union, UnionType):
        return [part for each in get_args(type_) for part in _parts(each)]
    return [type_]

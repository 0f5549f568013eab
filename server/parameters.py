"""Parameters of a URL: a request enters, a struct with the checked values leaves, or an error by name."""

from typing import TypeVar

import msgspec
from starlette.requests import Request

from codeact.errors import InvalidRequest

__all__ = ["checked", "read_parameters"]

T = TypeVar("T", bound=msgspec.Struct)


def read_parameters(request: Request, type_: type[T]) -> T:
    """The query string as a `type_`. Raises `InvalidRequest` for what does not fit or comes twice."""
    pairs = request.query_params.multi_items()
    values = dict(pairs)
    for name, value in pairs:
        if values[name] != value:
            raise InvalidRequest(f"The parameter '{name}' is given twice.", param=name)
    return checked(values, type_, strict=False)


def checked(values: object, type_: type[T], *, strict: bool = True) -> T:
    """Decoded JSON, or texts if not `strict`, as a `type_`. Raises `InvalidRequest`, naming the parameter."""
    names = [field.encode_name for field in msgspec.structs.fields(type_)]
    if not isinstance(values, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    for name in values:
        if name not in names:
            raise InvalidRequest(f"Unknown parameter: '{name}'. Known here: {', '.join(names)}.", param=str(name))
    try:
        return msgspec.convert(values, type_, strict=strict)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        param = path.rstrip("`").split("[")[0].split(".")[0] or None
        raise InvalidRequest(f"Invalid value for '{param}': {reason}.", param=param) from None

"""Converts arguments and values of host functions between Python and the JSON that kernels exchange.

A value without a JSON form is sent as an object with two keys, `{"$codeact": kind, "value": …}`, in both directions
(`sandbox_pool/guest/kernel_calls.py` is the other side). Nothing changes silently: a value that cannot be sent raises
an error that names it.
"""

import base64
import dataclasses
import datetime
import decimal
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

__all__ = ["NotJson", "canonical", "decoded", "encoded", "hashed_arguments", "json_only"]

KIND, VALUE = "$codeact", "value"
INSTEAD = {
    "DataFrame": "return .to_dict('records') or .to_csv()",
    "Series": "return .tolist() or .to_dict()",
    "ndarray": "return .tolist()",
    "Image": "save it to an io.BytesIO and return its .getvalue()",
    "Figure": "save it to an io.BytesIO with .savefig() and return its .getvalue()",
    "datetime64": "return .astype('datetime64[us]').item()",
    "timedelta64": "return .astype('timedelta64[us]').item()",
    "NaTType": "return None",
    "NAType": "return None",
}
MOST_SORTED_CHARS = 50_000
MOST_ALIKE = 10
"""Values of one set, or keys of one dictionary, that may have the same hash."""


def _spread(values: list[Any]) -> list[Any]:
    """The values, unless many have the same hash: filling a set with them would take a time that is quadratic.

    Numbers with the same hash are easy to write, such as the multiples of 2**61 - 1. Raises `ValueError`.
    """
    alike = Counter(map(hash, values))
    if alike and max(alike.values()) > MOST_ALIKE:
        raise ValueError(f"over {MOST_ALIKE} values of a set, or keys of a dictionary, have the same hash")
    return values


def _dict(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    return dict(zip(_spread([key for key, _ in pairs]), [value for _, value in pairs], strict=True))


MADE: Mapping[str, Callable[[Any], Any]] = {
    "float": float,
    "tuple": tuple,
    "set": lambda values: set(_spread(values)),
    "frozenset": lambda values: frozenset(_spread(values)),
    "dict": _dict,
    "bytes": base64.b64decode,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda parts: datetime.timedelta(*parts),
    "Decimal": decimal.Decimal,
}
IN_JSON: Mapping[str, Callable[[Any], Any]] = {"tuple": list}
"""Kinds that JSON can express as something else: its only sequence is the array."""
NAMES = {"float": "a number that is not finite", "dict": "a dictionary whose keys are not all text", "bytes": "bytes"}
WORDS = {"dict": "pass text as keys", "bytes": "pass base64 text", "float": "pass None or text"}


class NotJson(ValueError):
    """A value that cannot be sent. The message says what it is and what to pass instead."""


def decoded(text: str) -> Any:
    """Decodes a kernel's JSON text to Python values. Raises `ValueError`, `TypeError`, `RecursionError`."""
    return json.loads(text, object_hook=lambda found: _made(found, MADE))


def json_only(text: str) -> Any:
    """Like `decoded`, for functions that know only JSON. Raises `NotJson` for values that JSON cannot express."""

    def hook(found: dict[str, Any]) -> Any:
        kind = str(found.get(KIND))
        if _is_marked(found) and kind not in IN_JSON:
            what, instead = NAMES.get(kind, f"a {kind}"), WORDS.get(kind, "pass text or a list")
            raise NotJson(f"{what} is among the arguments, which JSON cannot say; {instead}")
        return _made(found, IN_JSON)

    return json.loads(text, object_hook=hook)


def encoded(value: Any) -> Any:
    """Converts a value of the host to what `json.dumps` accepts; models and dataclasses become dictionaries.

    Raises `NotJson`, and `RecursionError` for a value that contains itself.
    """
    kind = type(value)
    if value is None or isinstance(value, bool | int | str):
        return _builtin(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {KIND: "float", VALUE: repr(float(value))}
    if isinstance(value, list):
        return [encoded(item) for item in value]
    if kind in (tuple, set, frozenset):
        return {KIND: kind.__name__, VALUE: [encoded(item) for item in value]}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and KIND not in value:
            return {_builtin(key): encoded(item) for key, item in value.items()}
        return {KIND: "dict", VALUE: [[encoded(key), encoded(item)] for key, item in value.items()]}
    if isinstance(value, bytes | bytearray | memoryview):
        return {KIND: "bytes", VALUE: base64.b64encode(value).decode()}
    if isinstance(value, BaseModel):
        return encoded({name: getattr(value, name) for name in type(value).model_fields} | (value.model_extra or {}))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return encoded({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    return _rare(value)


def _rare(value: Any) -> Any:
    kind = type(value)
    for base in kind.__mro__:
        if base.__name__ in INSTEAD:
            raise NotJson(f"a {base.__name__} cannot be sent to the sandbox; {INSTEAD[base.__name__]}")
    if kind.__module__.partition(".")[0] == "numpy" and hasattr(value, "item"):
        return encoded(value.item())
    if getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0):
        raise NotJson("a time with nanoseconds cannot be sent to the sandbox; return .floor('us')")
    if isinstance(value, datetime.datetime):
        return {KIND: "datetime", VALUE: value.isoformat()}
    if kind is datetime.date or kind is datetime.time:
        return {KIND: kind.__name__, VALUE: value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return {KIND: "timedelta", VALUE: [value.days, value.seconds, value.microseconds]}
    if kind is decimal.Decimal:
        return {KIND: "Decimal", VALUE: str(value)}
    try:
        jsonable = to_jsonable_python(value)
    except PydanticSerializationError as error:
        raise NotJson(f"it is what JSON cannot say: {error}") from None
    return encoded(jsonable)


def _builtin(value: Any) -> Any:
    """The plain value of an instance of a subclass, such as a member of an `Enum`."""
    if isinstance(value, str) and not _is_unicode(value):
        raise NotJson(
            "text with halves of characters cannot be sent; return bytes: .encode('utf-8', 'surrogateescape')"
        )
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_marked(found: dict[str, Any]) -> bool:
    return found.keys() == {KIND, VALUE} and str(found[KIND]) in MADE


def _made(found: dict[str, Any], makers: Mapping[str, Callable[[Any], Any]]) -> Any:
    return makers[str(found[KIND])](found[VALUE]) if _is_marked(found) else found


def canonical(arguments: str) -> str:
    """Returns the arguments of a call in a form in which equal ones are equal, whatever the order and the spacing."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def hashed_arguments(arguments: str) -> str:
    """Returns the SHA-256 of a call's arguments, whatever their order and spacing; of long ones as they are."""
    text = arguments if len(arguments) > MOST_SORTED_CHARS else canonical(arguments)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()

"""Validates values with JSON schemas from untrusted sources, in bounded time and without network access.

The library `jsonschema` (Draft 2020-12) does the checks. Checks that a hostile schema could make slow are skipped:
regular expressions (`pattern`, `patternProperties`), `unevaluatedItems` and `unevaluatedProperties`. References are
only resolved within the schema. A limit on the number of steps stops schemas whose alternatives multiply.
"""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from sandbox_pool import json_size

__all__ = ["InvalidSchema", "check_schema", "problem"]

MOST_VALUES, MOST_DEPTH = 5_000, 60
"""Limits for a schema."""
MOST_STEPS = 20_000
MESSAGE_CHARS = 500

_steps: ContextVar[int] = ContextVar("steps")

Checks = Callable[[Any, Any, Any, Any], Iterator[Any]]


class InvalidSchema(ValueError):
    """The schema is not a JSON schema, or cannot be checked within the limits; the message says which."""


class _TooManySteps(Exception):
    """The validation exceeded `MOST_STEPS`."""


def check_schema(schema: Any) -> None:
    """Raises `InvalidSchema` unless this is a JSON schema within the limits."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if not isinstance(schema, dict | bool):
        raise InvalidSchema("A JSON schema is an object.")
    try:
        json_size.check(json.dumps(schema).encode(), most=MOST_VALUES, depth=MOST_DEPTH)
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "".join(f"[{part!r}]" for part in error.absolute_path)
        raise InvalidSchema(f"The JSON schema is wrong at {where or 'its root'}: {_short(error.message)}") from None
    except (json_size.TooComplex, RecursionError) as error:
        raise InvalidSchema(f"The JSON schema is too complex: {error}") from None


def problem(schema: Any, value: Any) -> str | None:
    """What is wrong with the value, and where; None if it is valid. `schema` must have passed `check_schema`.

    Raises `InvalidSchema` if a reference cannot be resolved, or if the validation takes too many steps.
    """
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    token = _steps.set(MOST_STEPS)
    try:
        error = best_match(_validator()(schema, registry=Registry()).iter_errors(value))
    except _TooManySteps:
        raise InvalidSchema(f"The JSON schema takes more than {MOST_STEPS:,} steps for this value.") from None
    except Unresolvable as unresolved:
        raise InvalidSchema(f"The JSON schema refers to {unresolved.ref!r}, which it does not hold.") from None
    except RecursionError:
        raise InvalidSchema("The JSON schema refers to itself without end.") from None
    finally:
        _steps.reset(token)
    if error is None:
        return None
    where = "".join(f"[{part!r}]" for part in error.absolute_path)
    return f"at {where or 'its root'}: {_short(error.message)}"


@functools.cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator, validators

    own = {name: _counted(checks) for name, checks in Draft202012Validator.VALIDATORS.items()}
    own |= {"additionalProperties": _counted(_additional), "uniqueItems": _unique}
    left_out = ("pattern", "patternProperties", "unevaluatedItems", "unevaluatedProperties", "format")
    own |= dict.fromkeys(left_out, _nothing)
    return validators.extend(Draft202012Validator, own)


def _counted(checks: Checks) -> Checks:
    def counted(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        left = _steps.get()
        if left <= 0:
            raise _TooManySteps
        _steps.set(left - 1)
        yield from checks(validator, wanted, value, schema) or ()

    return counted


def _nothing(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
    return iter(())


def _additional(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not isinstance(value, dict):
        return
    known = schema.get("properties", {})
    extra = [name for name in value if name not in known]
    if isinstance(wanted, dict):
        for name in extra:
            yield from validator.descend(value[name], wanted, path=name)
    elif wanted is False and extra and "patternProperties" not in schema:
        yield ValidationError(f"{extra[0]!r} is not one of its properties")


def _unique(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if wanted and isinstance(value, list):
        texts = {json.dumps(item, sort_keys=True) for item in value}
        if len(texts) < len(value):
            yield ValidationError("its items are not unique")


def _short(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS else f"{text[:MESSAGE_CHARS]} …"

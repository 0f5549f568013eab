"""Python functions of the host as functions of the sandbox: callables enter, `Function`s that answer leave.

They run in the host's process, with what it may do and know; the code in the sandbox sees their signature,
their docstring and their values.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model
from pydantic_core import PydanticSerializationError, to_json

from codeact.errors import ConfigurationError
from codeact.tools import Function, FunctionError
from sandbox_pool.calls import VALUE_BYTES

__all__ = ["host_functions"]


def host_functions(callables: Iterable[Callable[..., Any]]) -> list[Function]:
    """One `Function` per callable, plain or async; arguments are checked against its annotations.

    A plain one runs in a worker thread. What it raises is raised in the sandbox as words. Raises
    `ConfigurationError` for a signature that named JSON arguments cannot express.
    """
    return [_function(callable_) for callable_ in callables]


def _function(callable_: Callable[..., Any]) -> Function:
    name = getattr(callable_, "__name__", type(callable_).__name__)
    arguments = _model(name, callable_)
    schema = arguments.model_json_schema()

    async def answer(given: dict[str, Any]) -> str:
        try:
            checked = arguments.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise FunctionError(f"{name}(): {where}: {first['msg']}") from None
        values = {field: getattr(checked, field) for field in checked.model_fields_set}
        try:
            if inspect.iscoroutinefunction(callable_):
                value = await callable_(**values)
            else:
                value = await anyio.to_thread.run_sync(partial(callable_, **values), abandon_on_cancel=True)
        except Exception as error:
            raise FunctionError(f"{name}(): {type(error).__name__}: {error}") from error
        return _text(name, value)

    return Function(name, inspect.getdoc(callable_) or "", schema, answer=answer)


def _model(name: str, callable_: Callable[..., Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(callable_, eval_str=True).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ConfigurationError(
                f"The function {name} cannot be offered to the model: '{parameter}' is no argument with a name."
            )
        annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
        fields[parameter.name] = (annotation, ... if parameter.default is parameter.empty else parameter.default)
    try:
        return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    except (PydanticUserError, NameError, TypeError) as error:
        raise ConfigurationError(
            f"The function {name} cannot be offered to the model: its signature has no JSON schema ({error})."
        ) from None


def _text(name: str, value: Any) -> str:
    try:
        text = to_json(value, inf_nan_mode="strings")
    except PydanticSerializationError as error:
        raise FunctionError(f"{name}() returned what JSON cannot say: {error}") from None
    if len(text) > VALUE_BYTES:
        raise FunctionError(f"{name}() returned over {VALUE_BYTES:,} bytes of JSON; return less, or a part.")
    return text.decode()

"""Makes Python functions of the host callable from the sandbox.

They run in the host's process, with all its permissions. The code in the sandbox sees only their signatures, docstrings
and values.
"""

import builtins
import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_type_hints

import anyio
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_jsonable_python

from codeact.errors import ConfigurationError
from codeact.tools.function import Function, FunctionError, Kind
from codeact.tools.toolbox import HIDDEN
from codeact.tools.values import NotJson, encoded
from sandbox_pool.calls import VALUE_BYTES

__all__ = ["Tool", "host_functions"]

RESULT = "return"
"""The key of the return value among the arguments. No argument can have this name, because it is a keyword."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function with another name or description: `Tool(lambda city: …, name="weather", description="…")`.

    `read_only` says that its calls change nothing, `destructive=False` that they destroy nothing; the rules of approval
    (`codeact.tools.approval`) read it.
    """

    function: Callable[..., Any]
    name: str | None = None
    description: str | None = None
    read_only: bool = False
    destructive: bool = True


class _Schemas(GenerateJsonSchema):
    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012


def host_functions(callables: Iterable[Callable[..., Any] | Tool]) -> list[Function]:
    """Makes one `Function` per callable, sync or async. Arguments are validated against its annotations.

    A sync callable runs in a worker thread. An exception that it raises is raised in the sandbox as its text. For a
    builtin of Python, such as `max`, code uses that of the kernel. Raises `ConfigurationError` for a callable without a
    usable name, or with types that have no JSON schema.
    """
    return [_function(each if isinstance(each, Tool) else Tool(each)) for each in callables]


def _function(tool: Tool) -> Function:
    callable_ = tool.function
    name = tool.name or _name_of(callable_)
    description = tool.description if tool.description is not None else _description_of(callable_)
    is_builtin = getattr(builtins, name, None) is callable_
    if not name.isidentifier() or (name in HIDDEN and not is_builtin):
        why = "would hide Python's own" if name in HIDDEN else "is no name in Python"
        raise ConfigurationError(f"A function named {name!r} {why}: give it another by Tool(function, name=…).")
    parameters = _parameters(callable_)
    adapters, schema, returns = _types(name, callable_, parameters)

    async def answer(call_arguments: dict[str, Any]) -> str:
        given = {key: _checked(name, key, adapters, value) for key, value in call_arguments.items()}
        missing = [key for key in schema["required"] if key not in given]
        if missing:
            raise FunctionError(f"{name}(): {missing[0]}: it is required.")
        call = partial(callable_, *_positional(parameters, given), **_named(parameters, given))
        try:
            if inspect.iscoroutinefunction(callable_):
                value = await call()
            else:
                value = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
        except FunctionError:
            raise
        except Exception as error:
            raise FunctionError(f"{name}(): {type(error).__name__}: {error}") from error
        return _text(name, value)

    plain = Kind.POSITIONAL_OR_KEYWORD
    kinds = {key: parameter.kind for key, parameter in parameters.items() if parameter.kind is not plain}
    return Function(
        name,
        description,
        schema,
        answer=answer,
        returns=returns,
        kinds=kinds,
        is_builtin=is_builtin,
        read_only=tool.read_only,
        destructive=tool.destructive,
    )


def _name_of(callable_: Any) -> str:
    while isinstance(callable_, functools.partial):
        callable_ = callable_.func
    return str(getattr(callable_, "__name__", type(callable_).__name__))


def _description_of(callable_: Any) -> str:
    while isinstance(callable_, functools.partial):
        callable_ = callable_.func
    return inspect.getdoc(callable_) or ""


def _parameters(callable_: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters; some builtins have no signature, so any arguments are accepted for them."""
    try:
        return inspect.signature(callable_).parameters
    except (ValueError, TypeError):
        return inspect.signature(lambda *args, **kwargs: None).parameters


def _types(
    name: str, callable_: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]
) -> tuple[dict[str, TypeAdapter[Any]], dict[str, Any], dict[str, Any] | None]:
    """The validator of each argument, the JSON schema of all arguments, and that of the value if it is annotated."""
    hints = _hints(name, callable_)
    try:
        adapters = {key: TypeAdapter(_annotation(parameter, hints)) for key, parameter in parameters.items()}
        wanted: list[Any] = [(key, "validation", adapter) for key, adapter in adapters.items()]
        properties, definitions = TypeAdapter.json_schemas(wanted, schema_generator=_Schemas)
    except (PydanticUserError, NameError, TypeError) as error:
        raise ConfigurationError(
            f"The function {name} cannot be offered to the model: its signature has no JSON schema ({error})."
        ) from None
    schema = {
        "type": "object",
        "properties": {
            key: properties[key, "validation"] | _default(parameter) for key, parameter in parameters.items()
        },
        "required": [key for key, parameter in parameters.items() if _is_required(parameter)],
        "$defs": definitions.get("$defs", {}),
    }
    return adapters, schema, _returns(hints.get(RESULT, inspect.Parameter.empty))


def _hints(name: str, callable_: Any) -> dict[str, Any]:
    while isinstance(callable_, functools.partial):
        callable_ = callable_.func
    typed = callable_
    if inspect.isclass(callable_):
        typed = callable_.__init__
    elif not (inspect.isroutine(callable_) or hasattr(callable_, "__wrapped__")):
        typed = type(callable_).__call__
    try:
        hints = get_type_hints(typed, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise ConfigurationError(
            f"The function {name} cannot be offered to the model: its annotations cannot be read ({error})."
        ) from None
    return hints if typed is callable_ or not inspect.isclass(callable_) else {**hints, RESULT: callable_}


def _annotation(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    annotation = hints.get(parameter.name, Any)
    if parameter.kind is Kind.VAR_POSITIONAL:
        return list[annotation]  # type: ignore[valid-type]
    if parameter.kind is Kind.VAR_KEYWORD:
        return dict[str, annotation]  # type: ignore[valid-type]
    return annotation


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (Kind.VAR_POSITIONAL, Kind.VAR_KEYWORD)


def _default(parameter: inspect.Parameter) -> dict[str, Any]:
    """For the reader only: if an argument is not passed, the function uses its own default."""
    if parameter.default is parameter.empty:
        return {}
    try:
        return {"default": to_jsonable_python(parameter.default)}
    except ValueError:
        return {}


def _returns(annotation: Any) -> dict[str, Any] | None:
    """The schema of the value; None if the annotation has none. Values are checked when they are sent."""
    if annotation is inspect.Parameter.empty:
        return None
    try:
        return TypeAdapter(annotation).json_schema(mode="serialization", schema_generator=_Schemas)
    except (PydanticUserError, NameError, TypeError):
        return None


def _checked(name: str, key: str, adapters: Mapping[str, TypeAdapter[Any]], value: Any) -> Any:
    if key not in adapters:
        raise FunctionError(f"{name}(): {key}: there is no such argument; it takes {', '.join(adapters) or 'none'}.")
    try:
        return adapters[key].validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (key, *first["loc"]))
        raise FunctionError(f"{name}(): {where}: {first['msg']}") from None


def _positional(parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> list[Any]:
    """The arguments to pass by position: positional-only ones, and those before `*args` if that has values."""
    many = next((key for key, one in parameters.items() if one.kind is Kind.VAR_POSITIONAL), None)
    last = Kind.POSITIONAL_OR_KEYWORD if many is not None and given.get(many) else Kind.POSITIONAL_ONLY
    found = [given[key] for key, one in parameters.items() if one.kind <= last and key in given]
    return [*found, *given.get(many, ())] if many is not None else found


def _named(parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    many = any(given.get(key) for key, one in parameters.items() if one.kind is Kind.VAR_POSITIONAL)
    kinds = {Kind.KEYWORD_ONLY} if many else {Kind.KEYWORD_ONLY, Kind.POSITIONAL_OR_KEYWORD}
    named = {key: given[key] for key, one in parameters.items() if one.kind in kinds and key in given}
    for key, one in parameters.items():
        if one.kind is Kind.VAR_KEYWORD:
            named |= given.get(key, {})
    return named


def _text(name: str, value: Any) -> str:
    try:
        text = json.dumps(encoded(value), ensure_ascii=False)
    except (NotJson, RecursionError) as error:
        raise FunctionError(f"{name}() returned no value for the sandbox: {error}") from None
    if len(text.encode(errors="replace")) > VALUE_BYTES:
        raise FunctionError(f"{name}() returned over {VALUE_BYTES:,} bytes of JSON; return less, or a part.")
    return text

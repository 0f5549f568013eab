"""`tool_search`, a search for functions that the client carries out.

Code calls the function `tool_search`; the client's answer has the definitions of functions. Code can call these at
once, in the same block, and later as long as the conversation contains the answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from codeact.errors import InvalidRequest
from codeact.events import FunctionCallOutput, Input, Item, ToolSearchOutput
from codeact.tools.function import Function
from codeact.tools.toolbox import MAX_ARGUMENTS_OF_ALL, MAX_FUNCTIONS, Toolbox, functions_of, value_of

__all__ = ["check_loaded", "loaded_functions", "names_of", "value_for_code", "with_loaded"]

NAMES_CHARS = 4_000
"""The limit for the names in a history."""


def check_loaded(outputs: Sequence[tuple[Sequence[Mapping[str, Any]], str]]) -> None:
    """Raises `InvalidRequest` if what searches have found cannot be functions.

    `outputs` has the tools that each search found, oldest first, and the parameter that the error is to name. Of many,
    only the newest are looked at: those that are loaded.
    """
    functions = arguments = 0
    for age, (tools, place) in enumerate(reversed(outputs)):
        functions += sum(1 for _ in _each(tools))
        arguments += sum(_arguments(tool) for *_, tool in _each(tools))
        if age and (functions > MAX_FUNCTIONS or arguments > MAX_ARGUMENTS_OF_ALL):
            return
        functions_of(tools, place)


def names_of(tools: Sequence[Any]) -> str:
    """A sentence for prompts that names what a search has found."""
    names = ", ".join(f"{namespace}.{name}" if namespace else name for namespace, _, name, _ in _each(tools))
    if len(names) > NAMES_CHARS:
        names = f"{names[:NAMES_CHARS]} …"
    return f"It found these functions: {names}." if names else "It found no functions."


def value_for_code(item: FunctionCallOutput) -> str:
    """What code gets for its call, as JSON text: for a search, the descriptions of the functions, and their source.

    Raises `FunctionError` if it is too large.
    """
    if not isinstance(item, ToolSearchOutput):
        return value_of(item.output)
    toolbox = Toolbox(loaded_functions([item]))
    found = {"text": toolbox.described() if toolbox else item.output, "source": toolbox.added_source}
    return value_of(msgspec.json.encode(found).decode())


def loaded_functions(items: Sequence[Input | Item | Any]) -> list[Function]:
    """The functions that the searches among these items have found: of two with the same name, the newer.

    They are as many as a request may have; older ones are left out beyond that. So are definitions that are not valid,
    which an imported conversation may have.
    """
    found: list[Function] = []
    paths: set[str] = set()
    tops: dict[str, bool] = {}
    seen: set[tuple[str, str]] = set()
    arguments = 0
    for item in reversed(items):
        if not isinstance(item, ToolSearchOutput):
            continue
        for namespace, about, name, tool in reversed([*_each(item.tools)]):
            if (namespace, name) in seen:
                continue
            seen.add((namespace, name))
            arguments += _arguments(tool)
            if len(seen) > MAX_FUNCTIONS or arguments > MAX_ARGUMENTS_OF_ALL:
                return found[::-1]
            function = _function(namespace, about, tool)
            if function is None or function.path in paths:
                continue
            # A function and a namespace cannot have the same name.
            if tops.setdefault(_top(function), _is_in(function)) is _is_in(function):
                paths.add(function.path)
                found.append(function)
    return found[::-1]


def with_loaded(toolbox: Toolbox, functions: Sequence[Function], *, strict: bool = False) -> Toolbox:
    """The functions of `toolbox`, and those that searches have found.

    Functions of `toolbox` win against functions of the same name. With `strict`, raises `InvalidRequest` if that is one
    that the client has not defined, or a namespace.
    """
    own = {function.path: function for function in toolbox.functions}
    tops = {_top(function): _is_in(function) for function in toolbox.functions}
    more: list[Function] = []
    for function in functions:
        known, hides = own.get(function.path), tops.get(_top(function), _is_in(function)) != _is_in(function)
        if known is None and not hides:
            more.append(function)
        elif strict and (known is None or known.answer is not None or known.is_own):
            raise InvalidRequest(
                f"A search has found '{function.path}', and another function or namespace of this request has that"
                " name; rename one.",
                param="input",
            )
    return Toolbox([*toolbox.functions, *more]) if more else toolbox


def _function(namespace: str, about: Any, tool: dict[str, Any]) -> Function | None:
    """The function of a definition, which may be in a namespace with this description; None if it is not valid."""
    if tool.get("type") not in ("function", "custom"):
        return None
    try:
        inside = {"type": "namespace", "name": namespace, "description": about, "tools": [tool]}
        [function] = functions_of([inside if namespace else tool])
    except (InvalidRequest, TypeError, KeyError, AttributeError):
        return None
    return function


def _top(function: Function) -> str:
    """The name under which code finds the function or its namespace."""
    return function.path.partition(".")[0]


def _is_in(function: Function) -> bool:
    """Whether the function is in a namespace."""
    return function.server is not None


def _arguments(tool: Mapping[str, Any]) -> int:
    """How many arguments the definition has."""
    parameters = tool.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    return len(properties) if isinstance(properties, dict) else 0


def _each(tools: Sequence[Any]) -> Iterator[tuple[str, Any, str, dict[str, Any]]]:
    """Yields of each function the namespace ("" for none) with its description, the name and the definition."""
    for tool in tools:
        if not isinstance(tool, dict):
            continue
        if tool.get("type") != "namespace":
            yield "", "", str(tool.get("name")), tool
            continue
        inner = tool.get("tools")
        for each in inner if isinstance(inner, list) else ():
            if isinstance(each, dict):
                yield str(tool.get("name")), tool.get("description"), str(each.get("name")), each

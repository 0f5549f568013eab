"""The functions outside of the sandbox that the code of one response may call, for the model and for the kernel.

A client's function tools, an operator's MCP servers and the functions of an `Agent` all become plain Python functions
in the kernel, with a signature and a docstring. `sandbox_pool.calls` transports the calls; the agent answers them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import msgspec

from codeact.errors import InvalidRequest
from codeact.tools.annotations import TypeNames
from codeact.tools.function import NAME_CHARS, TEXT, Function, FunctionError, Grammar, identifier
from codeact.tools.kernel_module import SEARCH, kernel_module, titled
from sandbox_pool.calls import VALUE_BYTES

__all__ = [
    "HIDDEN",
    "MAX_ARGUMENTS_OF_ALL",
    "MAX_FUNCTIONS",
    "PATCH",
    "SHELL",
    "Toolbox",
    "check_schema",
    "functions_of",
    "value_of",
]

MAX_FUNCTIONS, MAX_ARGUMENTS_OF_ALL = 256, 2_500
"""Of one request. Each argument costs some 25 µs of the event loop, since its name is made an identifier."""
MAX_ARGUMENTS = 100
PROMPT_CHARS = 12_000
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
CUSTOM = {"type": "object", "properties": {TEXT: {"type": "string"}}, "required": [TEXT]}
"""The schema of a custom function's arguments."""
SHELL = Function(
    "shell",
    "Runs shell commands in your sandbox, one after the other, and prints their output while they run. The value is a"
    " list with `stdout`, `stderr` and `exit_code` of each.",
    {
        "type": "object",
        "properties": {
            "commands": {"type": "array", "items": {"type": "string"}},
            "timeout_ms": {"type": "integer", "description": "The time of each command. Without it, the block's."},
            "max_output_length": {"type": "integer", "description": "Characters of output of each command."},
        },
        "required": ["commands"],
    },
    returns={"type": "array"},
    is_own=True,
    is_shell=True,
)
"""The tool `shell` in the sandbox."""
CLIENT_SHELL = Function(
    "shell",
    "Has the user's own machine run shell commands, one after the other, and returns a list with `stdout`, `stderr` and"
    " `exit_code` of each; `exit_code` is None if its time was over.",
    SHELL.parameters,
    returns={"type": "array"},
    client_shell="shell",
)
LOCAL_SHELL = Function(
    "local_shell",
    "Has the user's own machine run one command, a list of the program and its arguments, and returns what it printed.",
    {
        "type": "object",
        "properties": {
            "command": {"type": "array", "items": {"type": "string"}},
            "working_directory": {"type": "string"},
            "timeout_ms": {"type": "integer"},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["command"],
    },
    client_shell="local_shell",
)
"""The tools of shells that the client has."""
PATCH = Function(
    "apply_patch",
    "Creates, changes or deletes files below your working directory. `patch` is an operation, a list of them, or the"
    " text of a patch (`*** Begin Patch`, `*** Update File: PATH`, …). A diff has lines that begin with a space"
    " (context), `-` or `+`; `@@ LINE` begins a section after that line of the file. A patch that does not fit raises"
    " an exception that says why, and leaves the file as it was. The value is a list with a sentence on each file.",
    {
        "type": "object",
        "properties": {
            "patch": {
                "description": "`{'type': 'update_file', 'path': 'a.py', 'diff': '@@\\n-old\\n+new'}`; `create_file`"
                " has a diff of `+` lines, and `delete_file` none."
            }
        },
        "required": ["patch"],
    },
    returns={"type": "array", "items": {"type": "string"}},
    is_own=True,
    is_patch=True,
)
"""The tool `apply_patch` in the sandbox."""
LOADS = "The value describes the functions that it has found; your code can call them at once."
HIDDEN = frozenset(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__) | {"In", "Out"}
"""Python's own names, which code must be able to rely on."""


class Toolbox:
    """The functions of one response. Raises `InvalidRequest` if two of them would have the same name in Python."""

    def __init__(self, functions: Sequence[Function] = ()) -> None:
        self._functions = {function.path if function.server else function.name: function for function in functions}
        paths: dict[str, str] = {}
        servers = {identifier(function.server) for function in functions if function.server is not None}
        for index, function in enumerate(functions):
            clash = paths.get(function.path) or (function.path if function.path in servers else None)
            if clash is not None:
                raise InvalidRequest(
                    f"The functions '{clash}' and '{function.name}' would have the same name in Python,"
                    f" {function.path}; rename one.",
                    param=f"tools[{index}].name",
                )
            paths[function.path] = function.name
        self._paths = {*paths, *servers}

    @cached_property
    def _types(self) -> TypeNames:
        return TypeNames({path.partition(".")[0] for path in self._paths} | HIDDEN | {SEARCH})

    @cached_property
    def _titles(self) -> list[str]:
        return [titled(function, self._types) for function in self._functions.values()]

    @cached_property
    def _full(self) -> str:
        both = zip(self._titles, self._functions.values(), strict=True)
        parts = [f"{title}\n{_indented(function)}" for title, function in both]
        return "\n\n".join([*self._definitions(), *self._namespaces(), *parts])

    def _namespaces(self) -> list[str]:
        """What is said of namespaces."""
        about = {identifier(each.server): each.about for each in self._functions.values() if each.server and each.about}
        return [f"{name}: {text.strip()}" for name, text in about.items()]

    def _definitions(self) -> list[str]:
        """The definitions of the types that the signatures mention."""
        return ["\n".join(self._types.definitions())] if self._titles and self._types.fields else []

    @cached_property
    def source(self) -> str:
        """Code that defines the functions in the kernel; empty if there are none."""
        return kernel_module([*self._functions.values()], self._types, searchable=self._is_searchable) if self else ""

    @property
    def added_source(self) -> str:
        """Code that adds the functions to those that the kernel has."""
        functions = [*self._functions.values()]
        return kernel_module(functions, self._types, adds=True) if functions else ""

    @property
    def _is_searchable(self) -> bool:
        return len(self._full) > PROMPT_CHARS and SEARCH not in self

    @property
    def functions(self) -> list[Function]:
        return [*self._functions.values()]

    def __bool__(self) -> bool:
        return bool(self._functions)

    def get(self, name: str) -> Function | None:
        """Finds a function by the name in a call."""
        return self._functions.get(name)

    def __contains__(self, name: str) -> bool:
        """Whether code has a function, or the functions of a server, under this name."""
        return name in self._paths

    def joined_by(self, function: Function) -> "Toolbox":
        """These functions and one more, unless one of them has its name already."""
        return self if function.path in self else Toolbox([*self._functions.values(), function])

    def described(self) -> str:
        """The description for the model: full docstrings, or only signatures, or only names, whichever fits.

        No function is left out.
        """
        if len(self._full) <= PROMPT_CHARS:
            return self._full
        search = f"{SEARCH}('words') finds functions by what they do, " if self._is_searchable else ""
        signatures = "\n\n".join([*self._definitions(), "\n".join(self._titles)])
        shown = signatures if len(signatures) <= PROMPT_CHARS else self._names()
        return f"{shown}\n\n{search}help(name) prints what one of them does."

    def _names(self) -> str:
        groups: dict[str, list[str]] = {}
        for function in self._functions.values():
            groups.setdefault(identifier(function.server) if function.server else "", []).append(function.path)
        lines = [f"{f'Of {group}' if group else 'Plain'}: {', '.join(paths)}" for group, paths in groups.items()]
        return "\n".join(lines)


def functions_of(tools: Sequence[Mapping[str, Any]], place: str = "tools") -> list[Function]:
    """Makes functions of the function and custom tools in a request (JSON), also of those in namespaces.

    Ignores other tools. Raises `InvalidRequest`, which names the tool that is wrong, below `place`, and why.
    """
    functions: list[Function] = []
    arguments = 0

    def add(made: list[Function]) -> None:
        nonlocal arguments
        functions.extend(made)
        arguments += sum(len(function.parameters.get("properties") or ()) for function in made)
        if len(functions) > MAX_FUNCTIONS:
            raise InvalidRequest(f"These are more functions than {MAX_FUNCTIONS}.", param=place)
        if arguments > MAX_ARGUMENTS_OF_ALL:
            raise InvalidRequest(
                f"These functions have more than {MAX_ARGUMENTS_OF_ALL:,} arguments, the most of one request.",
                param=place,
            )

    for index, tool in enumerate(tools):
        if tool.get("type") != "namespace":
            add(_function_of(tool, f"{place}[{index}]", None))
            continue
        namespace = _name_of(tool, f"{place}[{index}]", "namespace")
        about = tool.get("description") or ""
        if not isinstance(about, str):
            raise InvalidRequest("A namespace's description is text.", param=f"{place}[{index}].description")
        for at, inner in enumerate(tool.get("tools") or ()):
            made = _function_of(inner, f"{place}[{index}].tools[{at}]", namespace)
            add([replace(function, about=about) for function in made])
    return functions


def _function_of(tool: Mapping[str, Any], param: str, namespace: str | None) -> list[Function]:
    if tool.get("type") == "shell":
        return [CLIENT_SHELL if (tool.get("environment") or {}).get("type") == "local" else SHELL]
    if tool.get("type") == "local_shell":
        return [LOCAL_SHELL]
    if tool.get("type") == "apply_patch":
        return [PATCH]
    if tool.get("type") == "tool_search" and tool.get("execution") == "client":
        return [_search_of(tool, param)]
    if tool.get("type") not in ("function", "custom"):
        return []
    name, description = _name_of(tool, param, "function"), tool.get("description") or ""
    if not isinstance(description, str):
        raise InvalidRequest("A function's description is text.", param=f"{param}.description")
    if tool["type"] == "custom":
        form = tool.get("format") or {}
        grammar = Grammar(form["syntax"], form["definition"]) if form.get("type") == "grammar" else None
        return [Function(name, description, CUSTOM, server=namespace, is_custom=True, grammar=grammar)]
    parameters = tool.get("parameters") or {"type": "object", "properties": {}}
    check_schema(parameters, f"{param}.parameters")
    returns = tool.get("output_schema")
    if returns is not None and not isinstance(returns, dict):
        raise InvalidRequest("A function's output schema is a JSON schema.", param=f"{param}.output_schema")
    strict = tool.get("strict") is True
    return [Function(name, description, parameters, server=namespace, returns=returns, strict=strict)]


def _search_of(tool: Mapping[str, Any], param: str) -> Function:
    """The function by which code has the client search for functions."""
    parameters = tool.get("parameters") or {
        "type": "object",
        "properties": {"query": {"type": "string"}},
        "required": ["query"],
    }
    check_schema(parameters, f"{param}.parameters")
    description = tool.get("description") or "Has the user's side search for further functions."
    return Function("tool_search", f"{description} {LOADS}", parameters, returns={"type": "string"}, is_search=True)


def _name_of(tool: Mapping[str, Any], param: str, kind: str) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not NAME.match(name):
        raise InvalidRequest(
            f"A {kind}'s name has 1 to 64 letters, digits, underscores and dashes.", param=f"{param}.name"
        )
    if identifier(name) in HIDDEN:
        raise InvalidRequest(f"A {kind} named '{name}' would hide Python's own; rename it.", param=f"{param}.name")
    return name


def check_schema(schema: Any, param: str) -> None:
    """Raises `InvalidRequest` unless the schema describes named arguments that have different names in Python."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise InvalidRequest("A function's parameters must be a JSON schema of type 'object'.", param=param)
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, dict) or len(properties) > MAX_ARGUMENTS:
        raise InvalidRequest(
            f"'properties' must be an object with at most {MAX_ARGUMENTS} arguments.", param=f"{param}.properties"
        )
    if not isinstance(required, list) or not all(name in properties for name in required if isinstance(name, str)):
        raise InvalidRequest("'required' must be a list of names in 'properties'.", param=f"{param}.required")
    names: dict[str, str] = {}
    for name in properties:
        if len(name) > NAME_CHARS:
            raise InvalidRequest(
                f"An argument's name has at most {NAME_CHARS} characters.", param=f"{param}.properties"
            )
        clash = names.setdefault(identifier(name), name)
        if clash != name:
            raise InvalidRequest(
                f"The arguments '{clash}' and '{name}' would have the same name in Python.", param=f"{param}.properties"
            )


def value_of(output: str) -> str:
    """Converts a client's answer to a call to JSON text: valid JSON stays as it is, anything else becomes a string.

    Raises `FunctionError` if it is too large.
    """
    if len(output.encode()) > VALUE_BYTES:
        raise FunctionError(f"The function's value is over {VALUE_BYTES:,} bytes; return less, or a file.")
    try:
        msgspec.json.decode(output, type=msgspec.Raw)  # Validates it without creating objects.
    except (ValueError, RecursionError):
        return json.dumps(output)
    return output


def _indented(function: Function) -> str:
    return "\n".join(f"    {line}" for line in function.docstring().splitlines())

"""Functions outside of the sandbox, as the model's code calls them: JSON schemas enter, Python and checks leave.

A client's function tools, an operator's MCP servers and the functions of an `Agent` all become plain Python
functions in the kernel, with a signature and a docstring. What calls them is the kernel's business
(`sandbox_pool.calls`), who answers is the agent's.
"""

import json
import keyword
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codeact.errors import CodeActError, InvalidRequest
from sandbox_pool.calls import VALUE_BYTES

__all__ = ["HIDDEN", "Function", "FunctionError", "Toolbox", "check_schema", "functions_of", "value_of"]

MAX_FUNCTIONS = 256
MAX_ARGUMENTS = 100
MAX_LITERALS = 30
PROMPT_CHARS = 12_000
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
HIDDEN = frozenset(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__) | {"In", "Out"}
"""Names that code relies on to mean what they mean in Python."""

TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "object": "dict"}

Answer = Callable[[dict[str, Any]], Awaitable[str]]
"""Takes checked arguments; the function's value as JSON text. Raises `FunctionError`."""


class FunctionError(CodeActError):
    """A function gave no value; the code that called it gets the message as an exception."""

    code = "function_error"


@dataclass(frozen=True, slots=True)
class Function:
    """`name` is what calls and the wire say; `server` the MCP server that it belongs to.

    Without `answer` it is the client's: a call of it ends the response, and the next request brings the value.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    server: str | None = None
    answer: Answer | None = field(default=None, compare=False)

    @property
    def path(self) -> str:
        """How code names it: `search`, or `github.create_issue`."""
        name = _identifier(self.name)
        return f"{_identifier(self.server)}.{name}" if self.server is not None else name

    def arguments(self, text: str) -> dict[str, Any]:
        """The arguments of a call. Raises `FunctionError`; whether they fit the schema is for the function to say."""
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FunctionError(f"{self.path}(): the arguments are no JSON: {error}") from None
        if not isinstance(given, dict):
            raise FunctionError(f"{self.path}(): the arguments must be a JSON object.")
        return given

    def signature(self) -> str:
        """`search(query: str, limit: int = ...)`; `...` stands for an argument that may be left out."""
        properties, required = self._properties()
        order = sorted(properties, key=lambda name: name not in required)
        parts = []
        for name in order:
            default = "" if name in required else " = ..."
            parts.append(f"{_identifier(name)}: {_annotation(properties[name])}{default}")
        return f"{_identifier(self.name)}({', '.join(parts)})"

    def docstring(self) -> str:
        properties, _ = self._properties()
        lines = [self.description.strip() or "No description."]
        described = [(name, str(schema.get("description", ""))) for name, schema in properties.items() if schema]
        lines += [f"{_identifier(name)}: {text.strip()}" for name, text in described if text.strip()]
        return "\n".join(lines)

    def source(self) -> str:
        """The function as Python. Nothing of a schema becomes code but what was checked to be a name."""
        properties, _ = self._properties()
        given = ", ".join(f"{name!r}: {_identifier(name)}" for name in properties)
        call_name = self.path if self.server is not None else self.name
        call = f"_call_outside({call_name!r}, {{{given}}})"
        return f"def {self.signature()} -> Any:\n    {self.docstring()!r}\n    return {call}\n"

    def _properties(self) -> tuple[dict[str, dict[str, Any]], list[str]]:
        properties = self.parameters.get("properties") or {}
        shown = {name: schema if isinstance(schema, dict) else {} for name, schema in properties.items()}
        return shown, list(self.parameters.get("required") or ())


class Toolbox:
    """The functions of one response. Raises `InvalidRequest` where two of them have one name in Python."""

    def __init__(self, functions: Sequence[Function] = ()) -> None:
        self._functions = {function.path if function.server else function.name: function for function in functions}
        paths: dict[str, str] = {}
        servers = {_identifier(function.server) for function in functions if function.server is not None}
        for index, function in enumerate(functions):
            clash = paths.get(function.path) or (function.path if function.path in servers else None)
            if clash is not None:
                raise InvalidRequest(
                    f"The functions '{clash}' and '{function.name}' would have the same name in Python,"
                    f" {function.path}; rename one.",
                    param=f"tools[{index}].name",
                )
            paths[function.path] = function.name
        self.source = _module(self._functions.values()) if functions else ""

    def __bool__(self) -> bool:
        return bool(self._functions)

    def get(self, name: str) -> Function | None:
        """By the name that a call has."""
        return self._functions.get(name)

    def described(self) -> str:
        """What the model reads about them; only their signatures where the whole would be too long."""
        full = "\n\n".join(f"{_title(function)}\n{_indented(function)}" for function in self._functions.values())
        if len(full) <= PROMPT_CHARS:
            return full
        short = "\n".join(_title(function) for function in self._functions.values())
        return f"{short[:PROMPT_CHARS]}\n\nhelp(name) prints what one of them does."


def functions_of(tools: Sequence[Mapping[str, Any]]) -> list[Function]:
    """The function tools of a request, as JSON; other tools are passed over.

    Raises `InvalidRequest`, naming the one that cannot be expressed and why.
    """
    functions = []
    for index, tool in enumerate(tools):
        if tool.get("type") != "function":
            continue
        param = f"tools[{index}]"
        name, description = tool.get("name"), tool.get("description") or ""
        parameters = tool.get("parameters") or {"type": "object", "properties": {}}
        if not isinstance(name, str) or not NAME.match(name):
            raise InvalidRequest(
                "A function's name has 1 to 64 letters, digits, underscores and dashes.", param=f"{param}.name"
            )
        if _identifier(name) in HIDDEN:
            raise InvalidRequest(
                f"A function named '{name}' would hide Python's own; rename it.", param=f"{param}.name"
            )
        if not isinstance(description, str):
            raise InvalidRequest("A function's description is text.", param=f"{param}.description")
        check_schema(parameters, f"{param}.parameters")
        functions.append(Function(name, description, parameters))
    if len(functions) > MAX_FUNCTIONS:
        raise InvalidRequest(f"{len(functions)} functions are too many; at most {MAX_FUNCTIONS}.", param="tools")
    return functions


def check_schema(schema: Any, param: str) -> None:
    """Raises `InvalidRequest` for what describes no named arguments, or two of one name in Python."""
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
        clash = names.setdefault(_identifier(name), name)
        if clash != name:
            raise InvalidRequest(
                f"The arguments '{clash}' and '{name}' would have the same name in Python.", param=f"{param}.properties"
            )


def value_of(output: str) -> str:
    """What a client answered for a call, as JSON text: JSON stands for itself, anything else for a string.

    Raises `FunctionError` where it is too large.
    """
    if len(output.encode()) > VALUE_BYTES:
        raise FunctionError(f"The function's value is over {VALUE_BYTES:,} bytes; return less, or a file.")
    try:
        json.loads(output, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return json.dumps(output)
    return output


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _identifier(name: str) -> str:
    """`name` as Python can say it: dashes become underscores, a keyword gets one at its end."""
    text = unicodedata.normalize("NFKC", name).replace("-", "_")
    if not text.isidentifier():
        text = re.sub(r"[^A-Za-z0-9_]", "_", text)
        text = text if text.isidentifier() else f"_{text}"
    return f"{text}_" if keyword.iskeyword(text) else text


def _annotation(schema: Any, depth: int = 4) -> str:
    """The schema's type in Python, as far as a reader is helped by it."""
    if not isinstance(schema, dict) or depth == 0:
        return "Any"
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list) and 0 < len(values) <= MAX_LITERALS and all(isinstance(v, str | int) for v in values):
        return f"Literal[{', '.join(map(repr, values))}]"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(choices, list):
        return _union(choices, depth)
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return _union([{**schema, "type": kind} for kind in kinds], depth)
    if kinds == "array":
        return f"list[{_annotation(schema.get('items'), depth - 1)}]"
    return TYPES.get(str(kinds), "Any")


def _union(choices: list[Any], depth: int) -> str:
    names = dict.fromkeys(_annotation(choice, depth - 1) for choice in choices[:MAX_LITERALS])
    return " | ".join(names) or "Any"


def _title(function: Function) -> str:
    server = f"{_identifier(function.server)}." if function.server is not None else ""
    return f"{server}{function.signature()}"


def _indented(function: Function) -> str:
    return "\n".join(f"    {line}" for line in function.docstring().splitlines())


def _module(functions: Iterable[Function]) -> str:
    """Code that puts the functions into the user's namespace, in the place of those it put there before."""
    plain = [function for function in functions if function.server is None]
    servers: dict[str, list[Function]] = {}
    for function in functions:
        if function.server is not None:
            servers.setdefault(_identifier(function.server), []).append(function)
    parts = [
        "from __future__ import annotations",
        "from typing import Any, Literal",
        "from codeact_calls import CallError, call",
        "def _call_outside(name, given):",
        "    return call(name, {key: value for key, value in given.items() if value is not ...})",
        *(function.source() for function in plain),
    ]
    for server, members in servers.items():
        parts.append(f"class {server}:\n    {f'Functions of the MCP server {server}.'!r}")
        for member in members:
            body = "".join(f"    {line}\n" for line in member.source().splitlines())
            parts.append(f"    @staticmethod\n{body}")
    names = [_identifier(function.name) for function in plain] + list(servers)
    source = "\n".join(parts)
    return (
        "import sys, types\n"
        "space = get_ipython().user_ns\n"
        "old = sys.modules.get('codeact_functions')\n"
        "for name in getattr(old, 'NAMES', ()):\n"
        "    if space.get(name) is getattr(old, name):\n"
        "        del space[name]\n"
        "module = sys.modules['codeact_functions'] = types.ModuleType('codeact_functions')\n"
        f"exec(compile({source!r}, '<codeact_functions>', 'exec'), module.__dict__)\n"
        f"module.NAMES = {names!r}\n"
        "space.update((name, getattr(module, name)) for name in module.NAMES)\n"
        "space['CallError'] = module.CallError\n"
    )

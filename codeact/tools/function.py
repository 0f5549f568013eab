"""A function outside of the sandbox, as the model's code sees it: its name, arguments, value, and who answers its
calls.
"""

import inspect
import json
import keyword
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from codeact.errors import CodeActError
from codeact.json_schemas import InvalidSchema, check_schema, problem
from codeact.tools.annotations import TypeNames
from codeact.tools.values import NotJson, decoded, json_only
from sandbox_pool import json_size

__all__ = [
    "HOST",
    "NAME_CHARS",
    "TEXT",
    "Answer",
    "Function",
    "FunctionError",
    "Grammar",
    "Kind",
    "identifier",
    "path_of",
]

HOST = "host"
"""The `server_label` of functions of this process. No server of functions may have this name."""
TEXT = "input"
"""The only argument of a custom function."""
NAME_CHARS = 128
"""The limit for the name of an argument or of an MCP server's function.

It also bounds the cost of normalising Unicode.
"""
NAMES_CACHED = 4_096
ARGUMENTS_NODES, ARGUMENTS_DEPTH = 50_000, 100
DEFAULT_CHARS = 60

Kind = inspect._ParameterKind
Answer = Callable[[dict[str, Any]], Awaitable[str]]
"""Takes the checked arguments and returns the function's value as JSON text. Raises `FunctionError`."""


class FunctionError(CodeActError):
    """A function failed. The code that called it gets the message as an exception."""

    code = "function_error"


@dataclass(frozen=True, slots=True)
class Grammar:
    """The format of a custom function's text: a `definition` in the syntax `lark` or `regex`."""

    syntax: str
    definition: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function that code can call. `name` is its name in calls and on the wire; `server` the MCP server that has it.

    `parameters` and `returns` are JSON schemas. `kinds` contains the arguments that are not plain ones, such as
    `*args`. `is_builtin`: the kernel's Python already has a function of this name. Without `answer`, it is a function
    of the client: a call ends the response, and the client's next request contains the value. `server` is then the
    namespace that the client gave it. `gives_way`: it does not replace a variable of the user's code that has its
    name. `read_only` and `destructive` are what its maker says of its calls, with the defaults of the Model Context
    Protocol. With `approval`, a request demands that calls are approved. `is_own`: the server itself offers it, and its
    calls need no approval. `is_custom`: its calls have plain text on the wire, the argument `TEXT`, which must match
    `grammar`. `is_shell`: it runs in the kernel, and its calls say where commands begin and end;
    `is_patch`: likewise, and they say which file is changed. `client_shell`: the client runs commands,
    and the calls have the form of this tool on the wire. `is_search`: the client searches for functions, which code can
    call then. `strict`: the client gets only calls whose arguments fit the schema `parameters`.
    `about` describes the namespace.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    server: str | None = None
    answer: Answer | None = field(default=None, compare=False)
    returns: Mapping[str, Any] | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    is_builtin: bool = False
    gives_way: bool = False
    read_only: bool = False
    destructive: bool = True
    approval: Literal["always"] | None = None
    is_own: bool = False
    is_custom: bool = False
    is_shell: bool = False
    is_patch: bool = False
    client_shell: Literal["shell", "local_shell"] | None = None
    is_search: bool = False
    strict: bool = False
    about: str = ""
    grammar: Grammar | None = None

    @property
    def path(self) -> str:
        """Its name in code: `search`, or `github.create_issue`."""
        return path_of(self.server, self.name)

    @property
    def is_native(self) -> bool:
        """Whether its values can be any Python values, such as dates and sets, instead of JSON only."""
        return self.answer is not None and self.server is None

    @staticmethod
    def text_of(arguments: str) -> str:
        """The text in the arguments of a call of a custom function."""
        return str(json.loads(arguments).get(TEXT, ""))

    def arguments(self, text: str) -> dict[str, Any]:
        """Decodes the arguments of a call: to Python values for a function of the host, otherwise to plain JSON.

        Raises `FunctionError`. Whether they match the schema is checked by the function itself.
        """
        try:
            json_size.check(text.encode(), most=ARGUMENTS_NODES, depth=ARGUMENTS_DEPTH)
            arguments = decoded(text) if self.is_native else json_only(text)
        except NotJson as error:
            raise FunctionError(f"{self.path}(): {error}.") from None
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise FunctionError(f"{self.path}(): the arguments are not valid JSON: {error}") from None
        if not isinstance(arguments, dict):
            raise FunctionError(f"{self.path}(): the arguments must be a JSON object.")
        return arguments

    def check_strict(self, arguments: Mapping[str, Any]) -> None:
        """Raises `FunctionError` unless the arguments fit the schema; `codeact.json_schemas` says what is not checked.

        It takes bounded time, but more than an event loop should.
        """
        try:
            check_schema(self.parameters)
            wrong = problem(self.parameters, arguments)
        except InvalidSchema as error:
            raise FunctionError(f"{self.path}(): its arguments cannot be checked. {error}") from None
        if wrong is not None:
            raise FunctionError(f"{self.path}(): the arguments do not fit its schema, {wrong}")

    def signature(self, types: TypeNames | None = None, default: Callable[[str], str] = str) -> str:
        """`search(query: str, limit: int = 10) -> list[str]`; `...` stands for an unknown default.

        `types` collects the object types that it mentions. `default` formats a default value, given its Python
        notation.
        """
        types = TypeNames() if types is None else types
        annotate = types.of_function(self.path, self.is_native)
        parts: list[str] = []
        before: Kind | None = None
        for name, schema, kind, required in self.ordered():
            if before is Kind.POSITIONAL_ONLY and kind is not before:
                parts.append("/")
            if kind is Kind.KEYWORD_ONLY and before not in (Kind.VAR_POSITIONAL, Kind.KEYWORD_ONLY):
                parts.append("*")
            before = kind
            stars = {Kind.VAR_POSITIONAL: "*", Kind.VAR_KEYWORD: "**"}.get(kind, "")
            if stars:
                inner = schema.get("items" if kind is Kind.VAR_POSITIONAL else "additionalProperties")
                schema, required = (inner if isinstance(inner, dict) else {}), True
            annotation = annotate(schema, self.parameters, name)
            end = "" if required else f" = {default(_shown_default(schema))}"
            parts.append(f"{stars}{identifier(name)}: {annotation}{end}")
        if before is Kind.POSITIONAL_ONLY:
            parts.append("/")
        value = "" if self.returns is None else f" -> {annotate(self.returns, self.returns, f'{self.name} result')}"
        return f"{identifier(self.name)}({', '.join(parts)}){value}"

    def docstring(self) -> str:
        lines = [self.description.strip() or "No description."]
        described = [(name, str(schema.get("description", ""))) for name, schema, _, _ in self.ordered() if schema]
        lines += [f"{identifier(name)}: {text.strip()}" for name, text in described if text.strip()]
        if self.grammar is not None:
            lines.append(f"The text has this format ({self.grammar.syntax} grammar):")
            lines.append(self.grammar.definition.strip())
        return "\n".join(lines)

    def ordered(self) -> list[tuple[str, dict[str, Any], Kind, bool]]:
        """The arguments in the order that Python requires: name, schema, kind, and whether it is required."""
        properties = self.parameters.get("properties") or {}
        required = {name for name in self.parameters.get("required") or () if isinstance(name, str)}
        found = [
            (
                name,
                schema if isinstance(schema, dict) else {},
                self.kinds.get(name, Kind.POSITIONAL_OR_KEYWORD),
                name in required,
            )
            for name, schema in properties.items()
        ]
        return sorted(found, key=lambda one: (one[2], not one[3] and one[2] <= Kind.POSITIONAL_OR_KEYWORD))


def path_of(server: str | None, name: str) -> str:
    """The name in code of a function, which may belong to an MCP server."""
    return identifier(name) if server is None else f"{identifier(server)}.{identifier(name)}"


def identifier(name: str) -> str:
    """Converts `name` to a Python identifier: dashes become underscores, and a keyword gets a trailing underscore."""
    return _identifier(name[:NAME_CHARS])


@lru_cache(NAMES_CACHED)
def _identifier(name: str) -> str:
    text = unicodedata.normalize("NFKC", _shortened(name))[:NAME_CHARS].replace("-", "_")
    if not text.isidentifier():
        text = re.sub(r"[^A-Za-z0-9_]", "_", text)
        text = text if text.isidentifier() else f"_{text}"
    return f"{text}_" if keyword.iskeyword(text) else text


def _shortened(name: str) -> str:
    """Returns the beginning of `name` that fills an identifier; NFKC can make 18 characters of one."""
    if name.isascii():
        return name
    length = 0
    for at, letter in enumerate(name, 1):
        if (length := length + len(unicodedata.normalize("NFKC", letter))) >= NAME_CHARS:
            return name[:at]
    return name


def _shown_default(schema: Mapping[str, Any]) -> str:
    value = schema.get("default", ...)
    if value is None or isinstance(value, bool | float) or value in ([], {}):
        return repr(value)
    if isinstance(value, str) and len(value) <= DEFAULT_CHARS:
        return repr(value)
    if isinstance(value, int) and value.bit_length() < 100:
        return repr(value)
    return "..."

"""A function outside of the sandbox, as the model's code sees it: name, arguments, value, and who answers its calls."""

import inspect
import keyword
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeact.errors import CodeActError
from codeact.tools.annotations import TypeNames
from codeact.tools.values import NotJson, decoded, json_only
from sandbox_pool import json_size

__all__ = ["NAME_CHARS", "Answer", "Function", "FunctionError", "Kind", "identifier"]

NAME_CHARS = 128
"""Of an argument's name, or one of an MCP server's functions. Also keeps what Unicode makes of it short work."""
ARGUMENTS_NODES, ARGUMENTS_DEPTH = 50_000, 100
DEFAULT_CHARS = 60

Kind = inspect._ParameterKind
Answer = Callable[[dict[str, Any]], Awaitable[str]]
"""Takes checked arguments; the function's value as JSON text. Raises `FunctionError`."""


class FunctionError(CodeActError):
    """A function gave no value; the code that called it gets the message as an exception."""

    code = "function_error"


@dataclass(frozen=True, slots=True)
class Function:
    """`name` is what calls and the wire say; `server` the MCP server that it belongs to.

    `parameters` and `returns` are JSON schemas; `kinds` says of arguments by name which are not plain ones, such as
    `*args`. `is_builtin`: the kernel's Python has it by that name. Without `answer` the function is the client's: a
    call of it ends the response, and the next request brings the value.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    server: str | None = None
    answer: Answer | None = field(default=None, compare=False)
    returns: Mapping[str, Any] | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    is_builtin: bool = False

    @property
    def path(self) -> str:
        """How code names it: `search`, or `github.create_issue`."""
        name = identifier(self.name)
        return f"{identifier(self.server)}.{name}" if self.server is not None else name

    @property
    def is_native(self) -> bool:
        """Whether its values are Python's, with dates and sets, and not only JSON's."""
        return self.answer is not None and self.server is None

    def arguments(self, text: str) -> dict[str, Any]:
        """The arguments of a call: for a function of the host's as the code gave them, else as JSON has them.

        Raises `FunctionError`; whether they fit the schema is for the function to say.
        """
        try:
            json_size.check(text.encode(), most=ARGUMENTS_NODES, depth=ARGUMENTS_DEPTH)
            arguments = decoded(text) if self.is_native else json_only(text)
        except NotJson as error:
            raise FunctionError(f"{self.path}(): {error}.") from None
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise FunctionError(f"{self.path}(): the arguments are no JSON: {error}") from None
        if not isinstance(arguments, dict):
            raise FunctionError(f"{self.path}(): the arguments must be a JSON object.")
        return arguments

    def signature(self, types: TypeNames | None = None, default: Callable[[str], str] = str) -> str:
        """`search(query: str, limit: int = 10) -> list[str]`; `...` stands for a default that is not known.

        `types` collects the objects that it names; `default` writes a default, given how Python shows it.
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
        return "\n".join(lines)

    def ordered(self) -> list[tuple[str, dict[str, Any], Kind, bool]]:
        """The arguments in Python's order: name, schema, kind, and whether a call must give it."""
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


def identifier(name: str) -> str:
    """`name` as Python can say it: dashes become underscores, a keyword gets one at its end."""
    text = unicodedata.normalize("NFKC", name[:NAME_CHARS]).replace("-", "_")
    if not text.isidentifier():
        text = re.sub(r"[^A-Za-z0-9_]", "_", text)
        text = text if text.isidentifier() else f"_{text}"
    return f"{text}_" if keyword.iskeyword(text) else text


def _shown_default(schema: Mapping[str, Any]) -> str:
    value = schema.get("default", ...)
    if value is None or isinstance(value, bool | float) or value in ([], {}):
        return repr(value)
    if isinstance(value, str) and len(value) <= DEFAULT_CHARS:
        return repr(value)
    if isinstance(value, int) and value.bit_length() < 100:
        return repr(value)
    return "..."

"""The tools of a request whose calls the client answers: functions, custom tools, and namespaces of both."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.errors import InvalidRequest

__all__ = [
    "CustomTool",
    "FunctionTool",
    "LoadedTool",
    "NamespaceTool",
    "ProgrammaticTool",
    "ToolSearchTool",
    "check_callers",
]

Callers = list[Literal["direct", "programmatic"]]


class FunctionTool(msgspec.Struct, tag="function", forbid_unknown_fields=True):
    """A function of the client: the model's code in the sandbox calls it, and the client's next request answers it.

    `defer_loading` asks for what happens anyway: when the descriptions of all functions are long, the prompt has only
    signatures or names, and code finds the rest with `search_tools()` and `help()`.
    """

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    strict: bool | None = None
    allowed_callers: Callers | None = None
    defer_loading: bool | None = None
    is_async: Literal[False] | None = msgspec.field(default=None, name="async")


class TextFormat(msgspec.Struct, tag="text", forbid_unknown_fields=True):
    """Any text."""


class GrammarFormat(msgspec.Struct, tag="grammar", forbid_unknown_fields=True):
    """Text that matches a grammar. The text is checked when code calls the tool, before the client gets the call."""

    syntax: Literal["lark", "regex"]
    definition: Annotated[str, Meta(min_length=1, max_length=50_000)]


class CustomTool(msgspec.Struct, tag="custom", forbid_unknown_fields=True):
    """A tool of the client that takes plain text: a function of one argument for code."""

    name: str
    description: str | None = None
    format: TextFormat | GrammarFormat | None = None
    allowed_callers: Callers | None = None
    defer_loading: bool | None = None


class NamespaceTool(msgspec.Struct, tag="namespace", forbid_unknown_fields=True):
    """Functions of the client that code finds under one name: `crm.find_customer(…)`."""

    name: str
    tools: Annotated[list[FunctionTool | CustomTool], Meta(max_length=1_000)]
    description: str | None = None


class ToolSearchTool(msgspec.Struct, tag="tool_search", forbid_unknown_fields=True):
    """Search for functions. Code has one as `search_tools()` when their descriptions do not fit into the prompt.

    With the `execution` `client`, code also has `tool_search()`, which the client answers: with functions that code can
    call from then on. `description` and `parameters` (a JSON schema) are those of this function.
    """

    execution: Literal["server", "client"] | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None


LoadedTool = FunctionTool | CustomTool | NamespaceTool
"""What a client's search for tools can find."""


class ProgrammaticTool(msgspec.Struct, tag="programmatic_tool_calling", forbid_unknown_fields=True):
    """Code calls functions, which is how this server always calls them."""


def check_callers(callers: Callers | None, place: str) -> None:
    """Raises `InvalidRequest`, which names `place`, for a tool that code may not call."""
    if callers and "programmatic" not in callers:
        raise InvalidRequest(
            "Only code calls functions here; add 'programmatic' to 'allowed_callers'.", param=f"{place}.allowed_callers"
        )

"""Calls of tools that clients send back with a history they keep themselves, and how a model is told of them."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

__all__ = [
    "CustomCallItem",
    "CustomOutputItem",
    "McpCallItem",
    "McpListItem",
    "SearchCallItem",
    "SearchOutputItem",
    "ShellCallItem",
    "ShellOutputItem",
    "texts_of",
]


class _Text(msgspec.Struct, tag="input_text"):
    text: str


class McpCallItem(msgspec.Struct, tag="mcp_call"):
    """A call of an MCP tool or a function of the host, sent back. What code of ours called, its output shows."""

    server_label: str
    name: str
    arguments: str = ""
    output: str | None = None
    error: Any = None


class McpListItem(msgspec.Struct, tag="mcp_list_tools"):
    """The tools that an earlier answer had, sent back. Models are told those of now."""


class CustomCallItem(msgspec.Struct, tag="custom_tool_call"):
    """A call of a function that takes plain text, sent back."""

    call_id: str
    name: str
    input: str = ""


class CustomOutputItem(msgspec.Struct, tag="custom_tool_call_output"):
    """Its value."""

    call_id: str
    output: str | list[_Text]


class ShellCallItem(msgspec.Struct, tag="shell_call"):
    """Commands that an earlier answer, or another server's, gave a shell, sent back."""

    action: dict[str, Any]


class ShellOutputItem(msgspec.Struct, tag="shell_call_output"):
    """What the commands printed."""

    output: list[dict[str, Any]]


class SearchCallItem(msgspec.Struct, tag="tool_search_call"):
    """A search for tools, sent back. Models are told the tools of now."""


class SearchOutputItem(msgspec.Struct, tag="tool_search_output"):
    """What it found."""


def texts_of(item: McpCallItem | ShellCallItem | ShellOutputItem) -> Iterator[tuple[Literal["assistant", "user"], str]]:
    """Who says what, where no code of ours shows the call."""
    match item:
        case McpCallItem(server, name, arguments, output, error):
            yield "assistant", f"{server}.{name}({arguments})"
            yield "user", f"{server}.{name}() returned:\n{output if output is not None else _json(error)}"
        case ShellCallItem(action):
            yield "assistant", f"shell({_json(action)})"
        case ShellOutputItem(output=printed):
            yield "user", f"shell() returned:\n{_json(printed)}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

"""Tool calls in a history that a client stores and sends back, and their description for the model."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

__all__ = [
    "CustomCallItem",
    "McpCallItem",
    "McpListItem",
    "PatchCallItem",
    "PatchOutputItem",
    "SearchCallItem",
    "SearchOutputItem",
    "ShellCallItem",
    "ShellOutputItem",
    "texts_of",
]


class McpCallItem(msgspec.Struct, tag="mcp_call"):
    """A call of an MCP tool or a host function. If code of this server made it, the code's output already shows it."""

    server_label: str
    name: str
    arguments: str = ""
    output: str | None = None
    error: Any = None


class McpListItem(msgspec.Struct, tag="mcp_list_tools"):
    """The tools of an earlier answer. The prompt lists the current ones instead."""


class CustomCallItem(msgspec.Struct, tag="custom_tool_call"):
    """A call of a function with plain text as input."""

    call_id: str
    name: str
    input: str = ""


class ShellCallItem(msgspec.Struct, tag="shell_call"):
    """Shell commands of an earlier answer, perhaps of another server."""

    action: dict[str, Any]


class ShellOutputItem(msgspec.Struct, tag="shell_call_output"):
    """The output of shell commands."""

    output: list[dict[str, Any]]


class PatchCallItem(msgspec.Struct, tag="apply_patch_call"):
    """A change of a file in an earlier answer, perhaps of another server."""

    operation: dict[str, Any]


class PatchOutputItem(msgspec.Struct, tag="apply_patch_call_output"):
    """How a change of a file went."""

    status: str = "completed"
    output: str | None = None


class SearchCallItem(msgspec.Struct, tag="tool_search_call"):
    """A search for tools. The prompt lists the current tools instead."""


class SearchOutputItem(msgspec.Struct, tag="tool_search_output"):
    """The result of a search for tools."""


def texts_of(
    item: McpCallItem | ShellCallItem | ShellOutputItem | PatchCallItem | PatchOutputItem,
) -> Iterator[tuple[Literal["assistant", "developer"], str]]:
    """Yields messages, as role and text, that describe a call which no code item in the history contains."""
    match item:
        case McpCallItem(server, name, arguments, output, error):
            yield "assistant", f"{server}.{name}({arguments})"
            yield "developer", f"{server}.{name}() returned:\n{output if output is not None else _json(error)}"
        case ShellCallItem(action):
            yield "assistant", f"shell({_json(action)})"
        case ShellOutputItem(output=printed):
            yield "developer", f"shell() returned:\n{_json(printed)}"
        case PatchCallItem(operation):
            yield "assistant", f"apply_patch({_json(operation)})"
        case PatchOutputItem(status, said):
            yield "developer", f"apply_patch() {status}:\n{said or ''}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

"""Tool calls in a history that a client stores and sends back, and their description for the model."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from codeact.errors import InvalidRequest
from codeact.events import ToolSearchOutput
from codeact.ids import new_id
from codeact.runs.client_tools import LoadedTool, NamespaceTool, check_callers
from codeact.storable import not_storable
from codeact.tools.client_search import names_of

__all__ = [
    "CustomCallItem",
    "LocalShellCallItem",
    "LocalShellOutputItem",
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
    call_id: str = ""
    environment: dict[str, Any] | None = None

    @property
    def is_local(self) -> bool:
        """Whether the client runs them."""
        return (self.environment or {}).get("type") == "local"


class ShellOutputItem(msgspec.Struct, tag="shell_call_output"):
    """The output of shell commands: of a container, or what the client's own shell printed for code that waits."""

    output: list[dict[str, Any]]
    call_id: str = ""

    @property
    def value(self) -> str:
        """What code gets, as JSON: `stdout`, `stderr` and `exit_code` of each command."""
        results = []
        for each in self.output:
            outcome = each.get("outcome")
            exit_code = outcome.get("exit_code") if isinstance(outcome, dict) else None
            results.append({"stdout": each.get("stdout", ""), "stderr": each.get("stderr", ""), "exit_code": exit_code})
        return _json(results)


class LocalShellCallItem(msgspec.Struct, tag="local_shell_call"):
    """A command that the client was asked to run."""

    call_id: str
    action: dict[str, Any]


class LocalShellOutputItem(msgspec.Struct, tag="local_shell_call_output"):
    """What a command of the client printed. Clients give the call's `call_id` as `id`, or beside it."""

    output: str
    id: str = ""
    call_id: str | None = None


class PatchCallItem(msgspec.Struct, tag="apply_patch_call"):
    """A change of a file in an earlier answer, perhaps of another server."""

    operation: dict[str, Any]


class PatchOutputItem(msgspec.Struct, tag="apply_patch_call_output"):
    """How a change of a file went."""

    status: str = "completed"
    output: str | None = None


class SearchCallItem(msgspec.Struct, tag="tool_search_call"):
    """A search for tools in an earlier answer. If another server carried it out, the prompt lists the tools instead."""

    arguments: Any = None
    call_id: str | None = None
    execution: Literal["server", "client"] | None = None


class SearchOutputItem(msgspec.Struct, tag="tool_search_output"):
    """The result of a search for tools. If the client carried it out, code can call these functions from now on.

    Those that a server found are among the request's tools anyway.
    """

    tools: list[Any] = []
    call_id: str | None = None
    execution: Literal["server", "client"] | None = None

    @property
    def is_of_client(self) -> bool:
        return self.execution == "client" or (self.execution is None and self.call_id is not None)

    def loaded(self, place: str) -> ToolSearchOutput:
        """What is stored. Raises `InvalidRequest`, which names the parameter below `place`.

        `codeact.tools.client_search.check_loaded` says whether the tools can be functions.
        """
        if self.call_id is None:
            raise InvalidRequest(
                f"'{place}.call_id' is missing: it is that of the 'tool_search_call'.", param=f"{place}.call_id"
            )
        try:
            tools = msgspec.convert(self.tools, list[LoadedTool])
        except msgspec.ValidationError as error:
            raise InvalidRequest(
                f"Invalid value for '{place}.tools': {error}. A search finds tools of the types 'function', 'custom'"
                " and 'namespace'.",
                param=f"{place}.tools",
            ) from None
        for at, tool in enumerate(tools):
            for each in tool.tools if isinstance(tool, NamespaceTool) else [tool]:
                check_callers(each.allowed_callers, f"{place}.tools[{at}]")
        if (problem := not_storable(self.tools)) is not None:
            raise InvalidRequest(f"'{place}.tools' cannot be stored: {problem}.", param=f"{place}.tools")
        return ToolSearchOutput(id=new_id("tso"), call_id=self.call_id, output=names_of(self.tools), tools=self.tools)


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

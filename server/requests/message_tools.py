"""The tools of a request of the Messages API: functions of the client, and code execution."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.runs.client_tools import FunctionTool

__all__ = ["CacheControl", "CustomTool", "MessagesTool", "functions_of_messages"]

Caller = Literal[
    "direct",
    "code_execution_20250522",
    "code_execution_20250825",
    "code_execution_20260120",
    "code_execution_20260521",
]

BASH = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "description": "The command to run. Required unless `restart` is set."},
        "restart": {"type": "boolean", "description": "Starts the shell anew."},
    },
}
EDITOR = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "enum": ["view", "str_replace", "create", "insert"]},
        "path": {"type": "string"},
        "view_range": {"type": "array", "items": {"type": "integer"}, "description": "First and last line of `view`."},
        "old_str": {"type": "string", "description": "What `str_replace` replaces; it must be in the file once."},
        "new_str": {"type": "string"},
        "file_text": {"type": "string", "description": "The content for `create`."},
        "insert_line": {"type": "integer", "description": "The line after which `insert` adds `insert_text`."},
        "insert_text": {"type": "string"},
    },
    "required": ["command", "path"],
}
"""The arguments of the tools whose schemas are part of the API."""


class CacheControl(msgspec.Struct, forbid_unknown_fields=True):
    """The server marks prompts for providers' caches by itself."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class CustomTool(msgspec.Struct, tag="custom", forbid_unknown_fields=True):
    """A tool of the client, which the model's code calls as a function."""

    name: Annotated[str, Meta(max_length=200)]
    input_schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None
    input_examples: None = None
    eager_input_streaming: bool | None = None
    defer_loading: Literal[False] | None = None
    allowed_callers: list[Caller] | None = None
    cache_control: CacheControl | None = None


class _CodeTool(msgspec.Struct, forbid_unknown_fields=True):
    """Code execution, which is always on."""

    name: Literal["code_execution"] = "code_execution"
    strict: bool | None = None
    defer_loading: Literal[False] | None = None
    allowed_callers: list[Caller] | None = None
    cache_control: CacheControl | None = None


class CodeTool20250522(_CodeTool, tag="code_execution_20250522", forbid_unknown_fields=True):
    pass


class CodeTool20250825(_CodeTool, tag="code_execution_20250825", forbid_unknown_fields=True):
    pass


class CodeTool20260120(_CodeTool, tag="code_execution_20260120", forbid_unknown_fields=True):
    pass


class CodeTool20260521(_CodeTool, tag="code_execution_20260521", forbid_unknown_fields=True):
    pass


class _ClientTool(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A tool that the client runs, with arguments that the API knows. Code calls it as a function."""

    strict: bool | None = None
    input_examples: None = None
    defer_loading: Literal[False] | None = None
    allowed_callers: list[Caller] | None = None
    cache_control: CacheControl | None = None


class BashTool(_ClientTool, tag="bash_20250124", kw_only=True, forbid_unknown_fields=True):
    name: Literal["bash"]


class _Editor(_ClientTool, kw_only=True, forbid_unknown_fields=True):
    name: Literal["str_replace_based_edit_tool"]


class Editor20250124(_ClientTool, tag="text_editor_20250124", kw_only=True, forbid_unknown_fields=True):
    name: Literal["str_replace_editor"]


class Editor20250429(_Editor, tag="text_editor_20250429", kw_only=True, forbid_unknown_fields=True):
    pass


class Editor20250728(_Editor, tag="text_editor_20250728", kw_only=True, forbid_unknown_fields=True):
    max_characters: Annotated[int, Meta(ge=1)] | None = None


MessagesTool = (
    CustomTool
    | CodeTool20250522
    | CodeTool20250825
    | CodeTool20260120
    | CodeTool20260521
    | BashTool
    | Editor20250124
    | Editor20250429
    | Editor20250728
)


def functions_of_messages(tools: list[MessagesTool] | None) -> list[FunctionTool]:
    """The tools that the client runs, as functions for code."""
    found = []
    for tool in tools or ():
        match tool:
            case CustomTool():
                found.append(
                    FunctionTool(
                        name=tool.name, description=tool.description, parameters=tool.input_schema, strict=tool.strict
                    )
                )
            case BashTool():
                text = "Runs a command in the user's own shell, which keeps its state, and returns what it printed."
                found.append(FunctionTool(name=tool.name, description=text, parameters=BASH, strict=tool.strict))
            case Editor20250124() | Editor20250429() | Editor20250728():
                text = "Views, creates and changes files of the user, who runs the commands."
                found.append(FunctionTool(name=tool.name, description=text, parameters=EDITOR, strict=tool.strict))
    return found

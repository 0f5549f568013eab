"""The object forms of a request's `tool_choice`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["Choice"]


class CodeChoice(msgspec.Struct, tag="code_interpreter", forbid_unknown_fields=True):
    """Code must run before the answer. In a list of allowed tools: code may run."""


class FunctionChoice(msgspec.Struct, tag="function", forbid_unknown_fields=True):
    """Code must call this client function before the answer. In a list of allowed tools: it may call it."""

    name: Annotated[str, Meta(max_length=200)]


class CustomChoice(msgspec.Struct, tag="custom", forbid_unknown_fields=True):
    """As `FunctionChoice`, for a custom tool."""

    name: Annotated[str, Meta(max_length=200)]


class ShellChoice(msgspec.Struct, tag="shell", forbid_unknown_fields=True):
    """Code must run a shell command before the answer. In a list of allowed tools: it may."""


class LocalShellChoice(msgspec.Struct, tag="local_shell", forbid_unknown_fields=True):
    """As `ShellChoice`, for the tool `local_shell`."""


class PatchChoice(msgspec.Struct, tag="apply_patch", forbid_unknown_fields=True):
    """Code must change a file by a patch before the answer. In a list of allowed tools: it may."""


class AllowedTools(msgspec.Struct, tag="allowed_tools", forbid_unknown_fields=True):
    """Code may call only these of the client's functions. With `required`, code must run."""

    mode: Literal["auto", "required"]
    tools: Annotated[
        list[CodeChoice | FunctionChoice | CustomChoice | ShellChoice | LocalShellChoice | PatchChoice],
        Meta(max_length=1_000),
    ]


Choice = FunctionChoice | CustomChoice | CodeChoice | ShellChoice | LocalShellChoice | PatchChoice | AllowedTools

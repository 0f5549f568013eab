"""The forms of a request's `tool_choice` that are objects."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["AllowedTools", "CodeChoice", "FunctionChoice"]


class CodeChoice(msgspec.Struct, tag="code_interpreter", forbid_unknown_fields=True):
    """Code has to run before the answer; in a list of allowed tools: code may run."""


class FunctionChoice(msgspec.Struct, tag="function", forbid_unknown_fields=True):
    """Code has to call this function of the client's before the answer; in a list of allowed tools: it may."""

    name: Annotated[str, Meta(max_length=200)]


class AllowedTools(msgspec.Struct, tag="allowed_tools", forbid_unknown_fields=True):
    """Code may call no other function of the client's than these; with `required`, code has to run."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[CodeChoice | FunctionChoice], Meta(max_length=1_000)]

"""Reads a request's `tool_choice`: whether code must, may or must not run, and which functions it may call.

Only code calls functions, so a request that demands a function demands code that calls it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codeact.errors import InvalidRequest

__all__ = ["ToolChoice", "choice_of", "searches"]


NAMED = ("function", "custom")
"""The types of tools that a choice can name."""
OWN = ("shell", "local_shell", "apply_patch")
"""The types of tools whose type is the name of their function."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """The parsed choice. `must_call` is the function that code must call; `tools` are the request's allowed tools."""

    may_act: bool = True
    must_act: bool = False
    must_call: str | None = None
    tools: Sequence[dict[str, Any]] = ()


def choice_of(choice: str | dict[str, Any], tools: Sequence[dict[str, Any]]) -> ToolChoice:
    """Parses `tool_choice`. Raises `InvalidRequest` if it names a function that is not among the request's tools."""
    names = {_name(tool) for tool in tools if tool["type"] in (*NAMED, *OWN)}
    match choice:
        case "none":
            return ToolChoice(may_act=False)
        case "required" | {"type": "code_interpreter"}:
            return ToolChoice(must_act=True, tools=tools)
        case {"type": "function" | "custom", "name": str(name)}:
            _check({name}, names)
            return ToolChoice(must_act=True, must_call=name, tools=tools)
        case {"type": "shell" | "local_shell" | "apply_patch" as name}:
            _check({name}, names)
            return ToolChoice(must_act=True, must_call=name, tools=tools)
        case {"type": "allowed_tools", "mode": mode, "tools": list(allowed)}:
            chosen = {_name(tool) for tool in allowed if tool["type"] in (*NAMED, *OWN)}
            _check(chosen, names)
            left = [tool for tool in tools if _is_allowed(tool, chosen)]
            return ToolChoice(must_act=mode == "required", may_act=bool(allowed), tools=left)
    return ToolChoice(tools=tools)


def _is_allowed(tool: dict[str, Any], chosen: set[str]) -> bool:
    """Whether a request that allows the functions `chosen` has this tool. A search by the client would find others."""
    if tool["type"] in (*NAMED, *OWN, "namespace"):
        return _name(tool) in chosen
    return not searches([tool])


def searches(tools: Sequence[dict[str, Any]]) -> bool:
    """Whether the client searches for tools."""
    return any(tool["type"] == "tool_search" and tool.get("execution") == "client" for tool in tools)


def _name(tool: dict[str, Any]) -> str:
    name: str = tool["type"] if tool["type"] in OWN else tool["name"]
    return name


def _check(chosen: set[str], names: set[str]) -> None:
    if unknown := sorted(chosen - names):
        raise InvalidRequest(f"'tool_choice' names '{unknown[0]}', which is not in 'tools'.", param="tool_choice")

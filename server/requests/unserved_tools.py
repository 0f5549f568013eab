"""Tools of the Responses API that this server does not have: they are refused by name, or left out with a notice."""

from collections.abc import Iterator
from typing import Any

from codeact.errors import InvalidRequest
from codeact.events import Notice

__all__ = ["OPTIONAL", "UNSERVED", "without_optional"]

OPTIONAL = "codeact:optional"
"""The field of a tool by which a client says that it can do without it."""

UNSERVED = frozenset(
    {
        "computer",
        "computer_use_preview",
        "file_search",
        "image_generation",
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    }
)


def without_optional(body: Any, *, drops: bool) -> tuple[Any, list[Notice]]:
    """Returns a request's body without the tools that are optional and not served, and a notice about them.

    With `drops` all tools are optional. Raises `InvalidRequest` for a tool that is not served and not optional. What
    else is wrong with the body is left to others.
    """
    if not isinstance(body, dict) or not isinstance(body.get("tools"), list):
        return body, []
    left_out: list[str] = []
    tools = list(_served(body["tools"], left_out, drops=drops))
    if not left_out:
        return body | {"tools": tools}, []
    named = ", ".join(f"'{name}'" for name in dict.fromkeys(left_out))
    return body | {"tools": tools}, [Notice("tool_left_out", f"This server has no tool of the type {named}.")]


def _served(tools: list[Any], left_out: list[str], *, drops: bool) -> Iterator[Any]:
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            yield tool
            continue
        optional = tool.get(OPTIONAL, False)
        if not isinstance(optional, bool):
            raise InvalidRequest(f"'{OPTIONAL}' is true or false.", param=f"tools[{index}].{OPTIONAL}")
        kind = tool.get("type")
        if not isinstance(kind, str) or kind not in UNSERVED:
            yield {name: value for name, value in tool.items() if name != OPTIONAL}
        elif optional or drops:
            left_out.append(kind)
        else:
            raise InvalidRequest(
                f"This server has no tool of the type '{kind}'. Leave it out, or add \"{OPTIONAL}\": true to it to be"
                " answered without it.",
                param=f"tools[{index}].type",
                code="unsupported_tool",
            )

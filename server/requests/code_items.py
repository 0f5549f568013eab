"""Says which requests get items of code: a client that parses answers by Open Responses' schema fails at them."""

from collections.abc import Collection
from typing import Any, Literal

import msgspec

__all__ = ["CodeItems", "gets_code"]

ASKING = frozenset({"codeact:events", "code_interpreter_call.outputs"})
"""The values of `include` that ask for items of code."""

CodeItems = Literal["auto", "always", "asked"]


def gets_code(setting: CodeItems, tools: Collection[Any], include: Collection[str] | None, *, store: bool) -> bool:
    """Whether the request with these tools and this `include` gets items of code.

    `always`: every request. `asked`: only one that names the tool `code_interpreter`, its outputs or our own events.
    `auto`: also one without tools, or with a tool that runs here, and one with `store: false`, since its client alone
    keeps the code. So none are for a client whose only tools are its functions, as in Open Responses.
    """
    if setting == "always" or not ASKING.isdisjoint(include or ()):
        return True
    kinds = {tool.get("type") if isinstance(tool, dict) else None for tool in msgspec.to_builtins(list(tools))}
    return "code_interpreter" in kinds or (setting == "auto" and (kinds != {"function"} or not store))

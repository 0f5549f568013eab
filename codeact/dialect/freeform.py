"""The dialect `freeform`: the model sends code as the plain text input of a `custom` tool of the Responses API."""

from codeact.dialect.base import Name
from codeact.dialect.history import FUNCTION, Calls
from codeact.dialect.tool_call import DESCRIPTION, ToolCalls
from codeact.model import Tool

__all__ = ["Freeform"]


class Freeform(ToolCalls):
    """See `Dialect`."""

    name: Name = "freeform"
    tools: tuple[Tool, ...] = (Tool(FUNCTION, f"{DESCRIPTION} The input is the source itself."),)
    _calls: Calls = "custom"

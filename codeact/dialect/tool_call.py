"""The dialect `tool_call`: the model sends code as a JSON argument, by its provider's native function calling."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

from codeact.dialect.base import Entry, Name
from codeact.dialect.calls import CallsReader
from codeact.dialect.history import FUNCTION, Calls, rendered
from codeact.dialect.prompt import CALL_FORM, system_prompt
from codeact.environment import Environment
from codeact.model import ChatMessage, Tool

__all__ = ["DESCRIPTION", "ToolCalls"]

DESCRIPTION = (
    "Runs Python in the conversation's IPython kernel, which keeps variables, imports and files between calls. Returns"
    " what was printed, the value of the last expression, what was displayed, or the traceback."
)
_PARAMETERS = {
    "type": "object",
    "properties": {"code": {"type": "string", "description": "Python source, with real line breaks."}},
    "required": ["code"],
    "additionalProperties": False,
}


class ToolCalls:
    """See `Dialect`."""

    name: Name = "tool_call"
    stop: tuple[str, ...] = ()
    form = CALL_FORM
    shows_images = True
    tools: tuple[Tool, ...] = (Tool(FUNCTION, DESCRIPTION, _PARAMETERS),)
    _calls: Calls = "function"

    def instructions(
        self, environment: Environment, *, today: date, instructions: str | None = None, functions: str = ""
    ) -> str:
        """See `Dialect.instructions`."""
        return system_prompt(environment, today=today, instructions=instructions, functions=functions, calls=True)

    def messages(
        self, items: Sequence[Entry], *, system: str, model: str, images: Mapping[str, str] | None = None
    ) -> list[ChatMessage]:
        """See `Dialect.messages`."""
        return rendered(items, system=system, model=model, calls=self._calls, images=images)

    def reader(self, *, fences: bool, thinks: Callable[[], bool]) -> CallsReader:
        """See `Dialect.reader`. Markdown fences in the text are always prose."""
        return CallsReader(thinks=thinks, custom=self._calls == "custom")

"""Calls that sandboxed code makes to functions outside of the sandbox: reads them, and bounds how many there are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

__all__ = ["MAX_OPEN", "VALUE_BYTES", "Call", "CallBudget", "defining", "to_call"]

ARGUMENTS_BYTES = 1_000_000
VALUE_BYTES = 4_000_000
MAX_OPEN = 64
"""So many calls of one execution can wait for their values at once."""

MODULE = "codeact_calls"


class Call(msgspec.Struct, frozen=True):
    """`arguments` is the JSON text of an object, as the code in the sandbox gave it: nothing of it is checked."""

    call_id: str
    name: str
    arguments: str


_call = msgspec.json.Decoder(Call)


def to_call(content: bytes) -> Call:
    """The content of a `codeact_call` message. Raises `ValueError` or `msgspec.MsgspecError`."""
    call = _call.decode(content)
    if len(call.arguments) > ARGUMENTS_BYTES or len(call.call_id) > 64 or len(call.name) > 128:
        raise ValueError("a call is too large")
    return call


@dataclass(slots=True)
class CallBudget:
    """What one piece of code may still call for: `calls`, and bytes of arguments and values.

    `exceeded` names the limit that was passed; whoever holds the code ends it then. `waited_s` is how long the code has
    waited for functions that this process answers.
    """

    calls: int
    call_bytes: int
    exceeded: Literal["calls", "call_bytes"] | None = None
    waited_s: float = 0.0

    def take(self, size_bytes: int, *, calls: int = 0) -> bool:
        """Counts a call's arguments or its value; False where that is too much."""
        self.calls -= calls
        self.call_bytes -= size_bytes
        if self.exceeded is None and (self.calls < 0 or self.call_bytes < 0):
            self.exceeded = "calls" if self.calls < 0 else "call_bytes"
        return self.exceeded is None


def defining(source: str) -> str:
    """Code that runs `source` beside the user's names, after giving the kernel the module `codeact_calls`."""
    module = (Path(__file__).parent / "guest" / "kernel_calls.py").read_text("utf-8")
    whole = (
        "import sys, types\n"
        f"if {MODULE!r} not in sys.modules:\n"
        f"    module = types.ModuleType({MODULE!r})\n"
        f"    exec(compile({module!r}, '<{MODULE}>', 'exec'), module.__dict__)\n"
        f"    sys.modules[{MODULE!r}] = module\n"
        f"{source}"
    )
    return f"exec({whole!r}, {{'get_ipython': get_ipython}})"

"""Reads the calls that sandboxed code makes to functions outside of the sandbox, and bounds their number and size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

__all__ = ["MAX_OPEN", "VALUE_BYTES", "Call", "CallBudget", "defining", "to_call"]

ARGUMENTS_BYTES = 1_000_000
VALUE_BYTES = 4_000_000
MAX_OPEN = 64
"""The maximum number of calls of one execution that may wait for their values at the same time."""

MODULE = "codeact_calls"


class Call(msgspec.Struct, frozen=True):
    """A call of an outside function. `arguments` is the unchecked JSON text that the code in the sandbox sent."""

    call_id: str
    name: str
    arguments: str


_call = msgspec.json.Decoder(Call)


def to_call(content: bytes) -> Call:
    """Decodes a `codeact_call` message. Raises `ValueError` or `msgspec.MsgspecError` for an invalid one."""
    call = _call.decode(content)
    if len(call.arguments) > ARGUMENTS_BYTES or len(call.call_id) > 64 or len(call.name) > 128:
        raise ValueError("a call is too large")
    return call


@dataclass(slots=True)
class CallBudget:
    """How many calls, and bytes of arguments and values, one piece of code has left.

    `exceeded` names the limit that the code has passed; the execution then stops the code. `waited_s` is how long the
    code has waited for functions that this process answers.
    """

    calls: int
    call_bytes: int
    exceeded: Literal["calls", "call_bytes"] | None = None
    waited_s: float = 0.0

    def take(self, size_bytes: int, *, calls: int = 0) -> bool:
        """Subtracts a call's arguments or its value. Returns False when the budget is exceeded."""
        self.calls -= calls
        self.call_bytes -= size_bytes
        if self.exceeded is None and (self.calls < 0 or self.call_bytes < 0):
            self.exceeded = "calls" if self.calls < 0 else "call_bytes"
        return self.exceeded is None


def defining(source: str) -> str:
    """Returns code that installs the module `codeact_calls` in the kernel and runs `source` in its own namespace."""
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

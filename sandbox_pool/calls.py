"""Calls that code in a sandbox makes to functions outside of it: a kernel's message enters, a `Call` leaves."""

from pathlib import Path

import msgspec

__all__ = ["MAX_OPEN", "VALUE_BYTES", "Call", "defining", "to_call"]

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


def defining(source: str) -> str:
    """Code that runs `source` beside the user's names, after giving the kernel the module `codeact_calls`."""
    module = (Path(__file__).parent / "kernel_calls.py").read_text("utf-8")
    whole = (
        "import sys, types\n"
        f"if {MODULE!r} not in sys.modules:\n"
        f"    module = types.ModuleType({MODULE!r})\n"
        f"    exec(compile({module!r}, '<{MODULE}>', 'exec'), module.__dict__)\n"
        f"    sys.modules[{MODULE!r}] = module\n"
        f"{source}"
    )
    return f"exec({whole!r}, {{'get_ipython': get_ipython}})"

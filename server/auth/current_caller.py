"""The caller of the current task: set by the middleware, and inherited by the tasks that it starts."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codeact.server.auth.caller import Caller

__all__ = ["CurrentCaller", "asking", "begin_asking"]


@dataclass(slots=True)
class CurrentCaller:
    """One request or one socket. `recorded`: the operation has written its own audit entry, so the route need not."""

    address: str = ""
    caller: "Caller | None" = None
    recorded: bool = False


_asking: ContextVar[CurrentCaller | None] = ContextVar("asking", default=None)


def begin_asking(address: str) -> None:
    """Starts a request or a socket that comes from this address."""
    _asking.set(CurrentCaller(address))


def asking() -> CurrentCaller:
    """The request or socket that this task serves; an empty one where it serves none."""
    return _asking.get() or CurrentCaller()

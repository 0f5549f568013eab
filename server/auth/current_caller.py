"""The caller of the current task. The middleware sets it; tasks that it starts inherit it."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codeact.server.auth.caller import Caller

__all__ = ["CurrentCaller", "begin_request", "current_request"]


@dataclass(slots=True)
class CurrentCaller:
    """One request or socket. `recorded`: the operation has written its own audit entry, so the middleware need not."""

    address: str = ""
    caller: "Caller | None" = None
    recorded: bool = False


_current: ContextVar[CurrentCaller | None] = ContextVar("current_request", default=None)


def begin_request(address: str) -> None:
    """Begins a request or a socket from this address."""
    _current.set(CurrentCaller(address))


def current_request() -> CurrentCaller:
    """The request or socket that this task serves; an empty one if none."""
    return _current.get() or CurrentCaller()

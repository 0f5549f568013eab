"""A deadline and our own errors for whatever asks the database: an async method enters, the guarded one leaves."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["operation"]

OPERATION_TIMEOUT_S = 8.0


class HasUri(Protocol):
    """What errors need to name the database without its secrets."""

    _uri: str


P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=HasUri)


def operation(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Ends within 8 s, in the result or in one of our errors.

    Where the connection breaks it runs once more, since what a lost connection did is unknown: every write
    of the store may therefore be repeated.
    """

    @functools.wraps(method)
    async def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        import pymongo
        from pymongo.errors import AutoReconnect

        from codeact.store.failures import FOREIGN, explain

        with pymongo.timeout(OPERATION_TIMEOUT_S):
            try:
                try:
                    return await method(self, *args, **kwargs)
                except AutoReconnect:
                    return await method(self, *args, **kwargs)
            except FOREIGN as error:
                raise explain(error, self._uri) from error

    return guarded

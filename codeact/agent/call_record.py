"""Records the calls of one execution, so that its code can run again if it waits and its kernel is lost meanwhile."""

from codeact import events as e
from codeact.tools.values import hashed_arguments
from sandbox_pool.calls import Call

__all__ = ["CallRecord"]

MOST_CALLS, MOST_CODE_CHARS, MOST_ERROR_CHARS = 1_000, 200_000, 10_000
"""A block with more calls or more code cannot run again. The most calls are those that a block may make by default."""


class CallRecord:
    """The calls of an execution within one response. `state` is the id of the state in which the block began."""

    def __init__(self, state: str) -> None:
        self.state = state
        self._calls: list[e.MadeCall] = []
        self._by_id: dict[str, e.MadeCall] = {}
        self._side_by_side = self._is_too_long = False

    def made(self, call: Call, *, is_beside: bool) -> None:
        """Adds a call. `is_beside`: others of the same code have no result yet."""
        if len(self._calls) >= MOST_CALLS:
            self._is_too_long = True
            return
        self._side_by_side = self._side_by_side or is_beside
        made = self._by_id[call.call_id] = e.MadeCall(call.name, hashed_arguments(call.arguments))
        self._calls.append(made)

    def got(self, call: Call, *, got: str | None = None, error: str | None = None) -> None:
        """Notes what has the call's result, or its error. Calls of earlier responses are ignored."""
        if (made := self._by_id.get(call.call_id)) is not None:
            made.got, made.error = got, error
            self._is_too_long = self._is_too_long or len(error or "") > MOST_ERROR_CHARS

    def restart(self, code: str | None, *, statements: bool, expires_at: int) -> e.Restart | None:
        """Returns what the block's item stores; None if it is too long to run again.

        `code` is what began to run in this response; None if an earlier item of the block has it.
        """
        if self._is_too_long or len(code or "") > MOST_CODE_CHARS:
            return None
        restart = e.Restart(calls=self._calls, side_by_side=self._side_by_side, expires_at=expires_at)
        if code is not None:
            restart.state, restart.code, restart.statements = self.state, code, statements
        return restart

"""Emits the items and events of shell commands that code runs in its sandbox.

The kernel says where commands begin and end; the text that the code prints between is the command's output.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from codeact import events as e
from codeact.ids import new_id
from codeact.tools.function import FunctionError
from sandbox_pool.outputs import Output, Stream

__all__ = ["ShellItems"]

MOST_COMMANDS = 100
MOST_CHARS = 2_000_000
"""How much output of one call its item keeps. All of it is in the events, and in the output of the code."""


class ShellItems:
    """The shell calls of one response, of which at most one is open. `add` adds an item and returns its index."""

    def __init__(self, emit: Callable[[e.Event], Awaitable[None]], add: Callable[[e.Item], Awaitable[int]]) -> None:
        self._emit = emit
        self._add = add
        self._open: tuple[int, e.ShellCallOutput] | None = None
        self._commands = 0
        self._texts: dict[str, list[str]] = {}
        self._chars = 0

    def resume(self, index: int, item: e.ShellCallOutput) -> None:
        """Registers an item that another process left open."""
        self._open = (index, item)

    async def take(self, arguments: dict[str, Any], container_id: str) -> None:
        """Handles what the kernel says: commands begin, one has ended, all have ended. Raises `FunctionError`."""
        match arguments:
            case {"commands": list(commands)} if all(isinstance(command, str) for command in commands):
                await self._begin(commands, arguments, container_id)
            case {"exit_code": int() | None as code} if self._open is not None and _is_exit_code(code):
                index, item = self._open
                if item.output[-1].outcome is not None:
                    raise FunctionError("All commands of this shell() have ended.")
                self._fill(item.output[-1])
                outcome = e.ShellTimeout() if code is None else e.ShellExit(code)
                item.output[-1].outcome = outcome
                await self._done(index, item)
                if len(item.output) < self._commands:
                    item.output.append(e.ShellOutput())
            case {"ended": True} if self._open is not None:
                await self.close()
            case _:
                raise FunctionError("shell() takes a list of commands.")

    async def output(self, output: Output) -> None:
        """Adds a live output of the code to the open command, if it is text."""
        if self._open is None or not isinstance(output, Stream):
            return
        index, item = self._open
        at = len(item.output) - 1
        kept = output.text[: MOST_CHARS - self._chars]
        self._chars += len(kept)
        self._texts.setdefault(output.name, []).append(kept)
        delta: dict[str, str] = {output.name: output.text}
        await self._emit(e.ShellOutputDelta(item_id=item.id, output_index=index, command_index=at, delta=delta))

    async def close(self) -> None:
        """Closes the open call. A command that has not ended is incomplete."""
        if self._open is None:
            return
        (index, item), self._open = self._open, None
        self._fill(item.output[-1])
        finished = [one for one in item.output if one.outcome is not None]
        item.status = "completed" if len(finished) == self._commands else "incomplete"
        for one in item.output:
            one.outcome = one.outcome or e.ShellTimeout()
        await self._emit(e.OutputItemDone(output_index=index, item=item))

    async def _begin(self, commands: list[str], arguments: dict[str, Any], container_id: str) -> None:
        if self._open is not None:
            raise FunctionError("shell() runs already, in another thread.")
        if not 1 <= len(commands) <= MOST_COMMANDS:
            raise FunctionError(f"shell() takes 1 to {MOST_COMMANDS} commands.")
        timeout, length = (arguments.get(name) for name in ("timeout_ms", "max_output_length"))
        if not all(value is None or (isinstance(value, int) and 0 < value < 2**31) for value in (timeout, length)):
            raise FunctionError("timeout_ms and max_output_length are positive numbers.")
        call_id = new_id("call")
        call = e.ShellCall(
            id=new_id("sh"),
            call_id=call_id,
            action=e.ShellAction(commands, timeout, length),
            environment=e.ShellContainer(container_id),
            status="completed",
        )
        at = await self._add(call)
        await self._emit(e.OutputItemDone(output_index=at, item=call))
        item = e.ShellCallOutput(id=new_id("sho"), call_id=call_id, max_output_length=length, output=[e.ShellOutput()])
        self._commands, self._chars, self._texts = len(commands), 0, {}
        self._open = (await self._add(item), item)

    def _fill(self, command: e.ShellOutput) -> None:
        """Gives the open command what it has printed."""
        texts, self._texts = self._texts, {}
        command.stdout += "".join(texts.get("stdout", ()))
        command.stderr += "".join(texts.get("stderr", ()))

    async def _done(self, index: int, item: e.ShellCallOutput) -> None:
        at = len(item.output) - 1
        await self._emit(
            e.ShellOutputDone(item_id=item.id, output_index=index, command_index=at, output=[item.output[-1]])
        )


def _is_exit_code(code: int | None) -> bool:
    """Whether the number can be stored: it has at most 32 bits. None stands for a command that took too long."""
    return code is None or -(2**31) <= code < 2**31

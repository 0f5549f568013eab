"""Runs the statements of a block in the sandbox while the model writes the next ones.

`Reply` passes the code on as it comes; `CodeRunner` takes the running block over when the model has written it.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import anyio
from anyio.abc import TaskGroup

from codeact.agent.code_execution import CodeExecution
from codeact.dialect.statements import Statements
from codeact.model import ModelEvent

__all__ = ["EagerCode", "Unfinished"]

STOP_DEADLINE_S = 10.0
CHECKED_CHARS = 200_000
"""How much code the approval's rules read again for each statement, before the rest of the block waits for its end."""
_LINE_END = re.compile(r"\r\n?|\n")

Open = Callable[[Sequence[str], Callable[[int], int]], Awaitable[CodeExecution]]
"""Starts a block with its first statements. The function returns the number of the last line of so many statements."""
Close = Callable[["Unfinished", str | None], Awaitable[None]]
"""Writes the observation of a block that was stopped, with a note for the model, and closes its item."""


class Unfinished:
    """A block of code that has begun to run. `execution` runs it; `statements` are what has been given to it.

    `is_over`: it has ended, by an error or by `exit()`, before its last statements were given. `is_cut`: the model was
    stopped for that.
    """

    def __init__(self, execution: CodeExecution, statements: Sequence[str]) -> None:
        self.execution = execution
        self.statements = list(statements)
        self.is_over = self.is_cut = False
        self._goes_on = True
        self._ended = False
        self._done = anyio.Event()
        self.writing = anyio.CancelScope()

    async def follow(self) -> None:
        """Passes the outputs on, until the code ends or waits for the client. Stops the model at an early end."""
        try:
            self._ended = await self.execution.run_to_pause()
        finally:
            self._done.set()
            self.execution.told.set()
        if self._ended and self._goes_on:
            self.is_over = True
            self.writing.cancel()

    def end(self, statements: Sequence[str]) -> None:
        """Gives the last statements."""
        self._goes_on = False
        self.statements += statements
        self.execution.execution.write(statements, ended=True)

    @property
    def text(self) -> str:
        """All statements that have been given to it."""
        return "".join(self.statements)

    @property
    def begun(self) -> str:
        """The statements that have run, and the one that runs or has failed."""
        return "".join(self.statements[: self.execution.execution.ran + 1])

    async def idle(self) -> bool:
        """Waits until all statements have run. Returns False if the code waits for the client, or has ended."""
        while not self._done.is_set() and not self.execution.execution.is_idle:
            await self.execution.told.wait()
        return not self._done.is_set()

    async def stop(self) -> None:
        """Stops the code, and waits for that."""
        self._goes_on = False
        await self.execution.execution.aclose()
        await self._done.wait()

    async def wait(self) -> bool:
        """Returns True once the code has ended, False if it waits for the client."""
        await self._done.wait()
        return self._ended


class EagerCode:
    """The block that the model writes. Without `tasks`, nothing runs before it is complete.

    `open_block` starts it, `close` ends it if it was stopped. `asks` returns whether code must wait for approval; None:
    nothing ever does.
    """

    def __init__(self, open_block: Open, close: Close, asks: Callable[[str], Awaitable[bool]] | None) -> None:
        self.tasks: TaskGroup | None = None
        self.running: Unfinished | None = None
        self._open_block = open_block
        self._close = close
        self._asks = asks
        self._begun = False

    # ---- while the model writes ----------------------------------------------------------------------

    def begin(self) -> None:
        """Begins a block, of which nothing runs yet."""
        self._begun = self.tasks is not None
        self.running = None
        self._statements = Statements()
        self._kept: list[str] = []  # Complete statements that wait for the end of the block.
        self._waits = False
        self._lines = [0]
        self._code: list[str] = []
        self._ahead = ""
        self._checked: list[str] = []
        self._left_chars = CHECKED_CHARS

    async def feed(self, text: str, held: str) -> None:
        """Runs the statements that `text` completes. `held` is the line end after it, which may yet be dropped.

        Raises what starting the block raises.
        """
        if not self._begun or (not text and (self._ahead or not held)):
            return
        self._code.append(text)
        fresh = text.removeprefix(self._ahead) if text else ""
        self._ahead = held
        self._kept += self._statements.feed(fresh + self._ahead)
        ready = [] if self._waits else await self._approved()
        if not ready:
            return
        self._count_lines(ready)
        if self.running is None:
            assert self.tasks is not None
            self.running = Unfinished(await self._open_block(ready, self._line_of), ready)
            self.tasks.start_soon(self.running.follow)
        else:
            self.running.statements += ready
            self.running.execution.execution.write(ready)

    async def next_of(self, events: AsyncGenerator[ModelEvent, None]) -> ModelEvent | None:
        """Returns the next event of the model; None at its end, or when the code has ended before its text has."""
        if self.running is None:
            return await anext(events, None)
        if not self.is_over:
            with anyio.CancelScope() as self.running.writing:
                return await anext(events, None)
        self.running.is_cut = True
        return None

    @property
    def is_over(self) -> bool:
        """Whether the block has ended although the model still writes it."""
        return self.running is not None and self.running.is_over

    @property
    def code(self) -> str:
        """What the model has written of the block."""
        return "".join(self._code)

    # ---- when the model has written it ---------------------------------------------------------------

    def take(self, code: str) -> tuple[Unfinished, list[str]] | None:
        """Returns the running block, and the statements of its complete code that have not been given to it.

        Call `finished` after its end; until then `give_up` stops it. Returns None if nothing runs yet.
        """
        self._begun = False
        if self.running is None:
            return None
        self._kept += self._statements.feed(code[len(self.code) :].removeprefix(self._ahead))
        rest = [each for each in (*self._kept, self._statements.rest) if each]
        self._count_lines(rest)
        most = len(_LINE_END.findall(code.rstrip())) + 1
        self._lines = [min(line, most) for line in self._lines]
        return self.running, rest

    def finished(self) -> None:
        """Forgets the block that has been taken: it has ended, or waits for the client."""
        self.running = None

    async def give_up(self, note: str | None = None) -> bool:
        """Stops the running block, and closes its item with what it has done. Returns False if nothing runs.

        `note` tells the model why. The block is stopped even if this call is cancelled.
        """
        running, self.running = self.running, None
        self._begun = False
        if running is None:
            return False
        with anyio.move_on_after(STOP_DEADLINE_S, shield=True):
            await running.stop()
            await self._close(running, note)
        return True

    def _count_lines(self, statements: Sequence[str]) -> None:
        for statement in statements:  # The last one may have no line end.
            ends = len(_LINE_END.findall(statement))
            self._lines.append(self._lines[-1] + ends + (not statement.endswith(("\n", "\r"))))

    def _line_of(self, ran: int) -> int:
        return self._lines[min(ran, len(self._lines) - 1)]

    async def _approved(self) -> list[str]:
        """Takes the statements that may run, up to the first that must wait for approval."""
        ready, self._kept = self._kept, []
        if self._asks is None:
            return ready
        for place, statement in enumerate(ready):
            self._checked.append(statement)
            code = "".join(self._checked)
            self._left_chars -= len(code)
            if self._left_chars < 0 or await self._asks(code):
                self._waits = True
                self._kept = ready[place:]
                return ready[:place]
        return ready

"""Runs a block of code statement by statement while its text still arrives.

The first statements come with the request to execute, the others in messages `codeact_source` on the control channel.
The kernel sends `codeact_progress` whenever it begins a statement that prints, and before it waits for more text.
`kernel_main.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import asyncio
import contextvars
import inspect
import linecache
import os
import re
import signal
import sys
import threading
import time
from collections import deque
from typing import Any

from kernel_streams import LiveStream  # type: ignore[import-not-found]

__all__ = ["OpenBlock", "Sources"]

TELL_S = 0.02
MOST_LINES = 3_000
"""After so many lines the rest runs as a whole: each statement is parsed with as many line ends before it."""
CHECKED_CHARS = 1_000_000
"""How much text is compiled again to check a `global` or a `__future__`, before the rest runs as a whole."""
OWN_TEXT = re.compile(r"In|_ih|_i{1,3}|_i\d+")
"""Names of the block's own text: a statement with such a name waits for the whole text."""
HISTORY_MAGIC = re.compile(r"run_(?:line|cell)_magic\('(?:hist|history|macro|notebook|recall|rep|rerun|save)'")
MAY_AWAIT = re.compile(r"\b(?:await|async)\b")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Sources:
    """The text that has arrived for blocks, by the ids of their requests. The control thread adds it."""

    def __init__(self):
        self._news = threading.Condition()
        self._parts: dict[str, Any] = {}

    def add(self, request_id, statements, ended):
        """Adds text. A little later this thread tells which statement runs, so that the main thread need not.

        Telling takes as long as many a statement does.
        """
        with self._news:
            self._parts.setdefault(request_id, deque()).append((statements, ended))
            self._news.notify_all()
        loop = asyncio.get_running_loop()
        loop.call_later(TELL_S, OpenBlock.tell_late, loop)

    def wake(self):
        with self._news:
            self._news.notify_all()

    def has(self, request_id):
        """Whether there is text that the block has not taken."""
        return bool(self._parts.get(request_id))

    def begin(self, request_id):
        """Forgets the text of earlier blocks."""
        with self._news:
            self._parts = {request_id: self._parts.get(request_id, deque())}

    def take(self, request_id, *, wait, stopped):
        """Returns the next part, or None if there is none: never if `wait` is set, unless `stopped()`."""
        __tracebackhide__ = True
        with self._news:
            parts = self._parts[request_id]
            while wait and not parts and not stopped():
                self._news.wait()
            return parts.popleft() if parts else None


class OpenBlock:
    """One block whose text still arrives. `code` is its first statement, `more` are those that came with it."""

    current: Any = None

    def __init__(self, kernel, code, more):
        self._kernel = kernel
        self._shell = kernel.shell
        self._parent = kernel.get_parent("shell")
        self._id = self._parent["msg_id"]
        self._raw = [code, *more]
        self._waiting: Any = deque(more)
        self._upcoming: Any = None
        self._ended = False
        self._ran = 0
        self._count = 1
        self._got = 1 + len(more)
        self._begun = 0
        self._due = self._is_timed = self._has_waited = False
        self._told: Any = None
        # The sending thread tells, too, after a while: no output may overtake its message. It is reentrant, since
        # handlers of signals may print within it.
        self._telling = threading.RLock()
        self._told_at = 0.0
        self._line = 0
        self._text: list[str] = []
        self._checked_chars = 0
        self._checks = False
        self._in_task = False
        kernel.sources.begin(self._id)

    # ---- text ----------------------------------------------------------------------------------------

    def first(self):
        """Returns the code to run first. If IPython would read a single line otherwise, waits for the whole text."""
        code = self._raw[0]
        if not self._shell.is_rewritten(code):
            return code
        while not self._ended and not self._kernel.stop_requested:
            self._take(wait=True)
        self._count += len(self._waiting)
        self._waiting.clear()
        return "".join(self._raw)

    def wait_for_end(self):
        """Waits until all of the text has arrived."""
        __tracebackhide__ = True
        while not self._ended and not self._kernel.stop_requested:
            self._take(wait=True)
        self._store()

    def _take(self, *, wait):
        __tracebackhide__ = True
        part = self._kernel.sources.take(self._id, wait=False, stopped=self._is_stopped)
        if part is None and wait:
            self._tell(runs=False)
            part = self._kernel.sources.take(self._id, wait=True, stopped=self._is_stopped)
            self._has_waited = True
        if part is not None:
            statements, self._ended = part[0], part[1]
            self._raw += statements
            self._waiting += statements
            self._got += len(statements)

    def _is_stopped(self):
        return self._kernel.stop_requested

    def _store(self):
        """Makes the whole text known as IPython's input, as if it had been there from the beginning."""
        history, count = self._shell.history_manager, self._shell.execution_count - 1
        raw = "".join(self._raw)
        if history.input_hist_raw:
            history.input_hist_raw[-1] = history._i00 = raw
            history.input_hist_parsed[-1] = "".join(self._text).rstrip("\n")
            if f"_i{count}" in self._shell.user_ns:
                self._shell.user_ns[f"_i{count}"] = raw

    # ---- running -------------------------------------------------------------------------------------

    async def run(self, run_nodes, nodes, cell_name, compiler, result):
        """Runs `nodes` and then all that arrives. Returns whether an exception occurred. See `run_ast_nodes`."""
        self._run_nodes, self._cell_name, self._compiler, self._result = run_nodes, cell_name, compiler, result
        entry: Any = linecache.cache[cell_name]  # The code may remove it.
        self._shown_lines: list[str] = entry[2]
        self._text = list(self._shown_lines)
        self._line = len(self._text)
        self._upcoming = nodes
        self._checks = self._is_checked(nodes)
        self._has_waited = False  # `tell_late` does not know a block before it runs.
        OpenBlock.current = self
        try:
            failed = await self._go_on()
            if failed is None:
                failed = self._run_in_task()
            return failed
        finally:
            OpenBlock.current = None
            if self._told is None or self._told["runs"] or self._told["ran"] < self._ran:
                self._tell(runs=False)
            self._store()

    def _run_in_task(self):
        """Goes on in a task of its own, as a block with `await` runs; the kernel's loop runs inside of this call."""
        __tracebackhide__ = True
        loop = asyncio.get_running_loop()
        self._in_task = True
        task = asyncio.ensure_future(self._go_on())
        self._kernel.awaiting_cell = task
        signal.signal(signal.SIGINT, self._shell.canceller(task))
        try:
            return loop.run_until_complete(task)
        finally:
            self._kernel.awaiting_cell = None
            signal.signal(signal.SIGINT, signal.default_int_handler)

    async def _go_on(self):
        """Runs statements to the end: returns whether one failed, or None before one that awaits, outside of a task."""
        while (nodes := self._peek()) is not None:
            if isinstance(nodes, SyntaxError | ValueError | OverflowError | TypeError | MemoryError | RecursionError):
                self._show(nodes)
                return True
            if not self._ended and self._looks_at_text(nodes):
                self._wait_between()
            if not self._in_task and self._awaits(nodes):
                return None
            self._upcoming = None
            self._begin()
            for place, node in enumerate(nodes, start=1):
                if await self._run_node(node, is_last=place == len(nodes)):
                    return True
            self._end()
        if self._in_task:
            # A block with `await` ends like this, too: tasks that it has just begun do their first step.
            await asyncio.sleep(0)
            self._kernel.left_context = contextvars.copy_context()
        return False

    async def _run_node(self, node, *, is_last):
        if not is_last or not isinstance(node, ast.Expr):
            return await self._run_nodes([node], self._cell_name, "none", self._compiler, self._result)
        shown = sys.displayhook

        def show(value):
            __tracebackhide__ = True
            # The value of the last expression is shown, so it must be known whether this is the last. Values of other
            # code, which this expression runs, are shown in any case.
            is_own = sys._getframe(1).f_code.co_filename == self._cell_name
            if is_own and (value is None or self._peek_after() is not None):
                return
            shown(value)

        sys.displayhook = show
        try:
            return await self._run_nodes([node], self._cell_name, "last", self._compiler, self._result)
        finally:
            if sys.displayhook is show:
                sys.displayhook = shown

    def _peek_after(self):
        """Waits for the statement after the one that runs."""
        __tracebackhide__ = True
        self._end()
        return self._peek()

    def _peek(self):
        """Returns the nodes of the next statement, the error of its text, or None at the end of the block."""
        __tracebackhide__ = True
        while self._upcoming is None:
            while not self._waiting:
                if self._ended:
                    self._store()
                    return None
                self._wait_between(once=True)
            if self._line > MOST_LINES or self._checked_chars > CHECKED_CHARS:
                self._wait_between()
                statement = "".join(self._waiting)
                self._count += len(self._waiting)
                self._waiting.clear()
            else:
                statement = self._waiting.popleft()
                self._count += 1
            self._upcoming = self._parsed(statement) or None
            if self._upcoming is None:
                self._ran = self._count
        return self._upcoming

    def _wait_between(self, *, once=False):
        """Waits for more text, or for all of it."""
        __tracebackhide__ = True
        if self._kernel.stop_requested:
            raise KeyboardInterrupt
        if once:
            self._take(wait=True)
        else:
            self.wait_for_end()
        if self._kernel.stop_requested:
            raise KeyboardInterrupt

    def _parsed(self, statement):
        try:
            source = self._shell.transform_statement(statement)
            lines = source.splitlines(keepends=True)
            before = self._line
            self._line += len(lines)
            self._text += lines
            self._shown_lines.extend(line.rstrip("\r\n") + "\n" for line in lines)
            tree = self._compiler.ast_parse("\n" * before + source, filename=self._cell_name)
            tree = self._shell.transform_ast(tree)
            self._checks = self._checks or self._is_checked(tree.body)
            if self._checks:
                text = "".join(self._text)
                self._checked_chars += len(text)
                self._compiler.ast_parse(text, filename=self._cell_name)
        except (SyntaxError, ValueError, OverflowError, TypeError, MemoryError, RecursionError) as error:
            return error
        return tree.body

    def _show(self, error):
        """Shows an error of the text itself."""
        self._result.error_before_exec = error
        try:
            raise error
        except IndentationError:
            self._shell.showindentationerror()
        except Exception:
            self._shell.showsyntaxerror()

    # ---- what a statement needs ----------------------------------------------------------------------

    def _looks_at_text(self, nodes):
        for node in nodes:
            for each in ast.walk(node):
                if isinstance(each, ast.Name) and OWN_TEXT.fullmatch(each.id):
                    return True
        return bool(HISTORY_MAGIC.search("".join(self._text[nodes[0].lineno - 1 : nodes[-1].end_lineno])))

    def _awaits(self, nodes):
        if not MAY_AWAIT.search("".join(self._text[nodes[0].lineno - 1 : nodes[-1].end_lineno])):
            return False
        tree = ast.Module(nodes, [])
        code = compile(tree, self._cell_name, "exec", self._compiler.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
        return bool(code.co_flags & inspect.CO_COROUTINE)

    def _is_checked(self, nodes):
        """Whether only the text before it tells if a statement is valid: `global` and imports from `__future__`."""
        for node in nodes:
            if isinstance(node, ast.Global) or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
                return True
            if not isinstance(node, FUNCTIONS) and self._is_checked(
                [each for each in ast.iter_child_nodes(node) if not isinstance(each, ast.expr)]
            ):
                return True
        return False

    # ---- progress ------------------------------------------------------------------------------------

    def _begin(self):
        self._begun = self._count
        self._due = True
        if self._has_waited:
            self._has_waited = False  # Its text has just come: `tell_late` follows.
        elif time.monotonic() - self._told_at > TELL_S:
            self._tell(runs=True)
        elif not self._is_timed:
            self._is_timed = True
            self._kernel.iopub_thread.schedule(self._time)

    def _time(self):
        """Sees to it that a statement which prints nothing for a while is told, too. Runs in the sending thread."""
        self._kernel.iopub_thread.io_loop.call_later(TELL_S, self._timed)

    def _timed(self):
        self._is_timed = False
        if OpenBlock.current is self:
            self.before_output()

    @classmethod
    def tell_late(cls, loop):
        """Tells which statement runs, some time after text has come. Runs in the control thread, whose loop this is."""
        block = cls.current
        if block is None:
            return
        is_told = block._told is not None and block._told["runs"]
        if block._due:
            block.before_output()
        elif not is_told and (block._ran < block._got or block._kernel.sources.has(block._id)):
            loop.call_later(TELL_S, cls.tell_late, loop)  # It has not begun yet.

    def _end(self):
        _flush()
        self._due = False
        self._ran = self._begun

    def before_output(self):
        """Tells which statement runs before its first output leaves. Any thread may call it."""
        self._tell(runs=True, if_due=True)

    def _tell(self, *, runs, if_due=False):
        if LiveStream.in_child:
            return
        if not runs:
            _flush()
        with self._telling:
            if if_due and not self._due:
                return
            self._due = False
            self._told_at = time.monotonic()
            kernel = self._kernel
            content = {"ran": self._ran, "runs": runs, "got": self._got}
            if content == self._told:
                return
            self._told = content
            kernel.session.send(kernel.iopub_socket, "codeact_progress", content, parent=self._parent)


def _flush():
    for stream in LiveStream.streams:
        stream.pump()
        if stream._flush_pending:
            stream.flush()


def _before_fork():
    """Waits for the whole text before a fork: the child runs it, too, and nobody could send it the rest."""
    block = OpenBlock.current
    # In the child of another thread nothing of the block goes on.
    if block is not None and not LiveStream.in_child and threading.current_thread() is threading.main_thread():
        block.wait_for_end()


os.register_at_fork(before=_before_fork)

"""IPython's shell, changed where an agent's code should run differently from a notebook.

`kernel_main.py` imports it inside of a sandbox.
"""

# This module overrides untyped methods of ipykernel:
# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import asyncio
import codeop
import contextlib
import contextvars
import os
import re
import signal
import socket
import sys
from typing import Any

from ipykernel.compiler import XCachingCompiler
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core import interactiveshell
from IPython.core.autocall import ZMQExitAutocall
from kernel_commands import run_command  # type: ignore[import-not-found]
from kernel_memory import DisplayHook  # type: ignore[import-not-found]
from kernel_source import SourceTransformer, is_python  # type: ignore[import-not-found]
from kernel_streams import LiveStream  # type: ignore[import-not-found]
from kernel_text import ERROR_CHARS, encodable, shortened, words  # type: ignore[import-not-found]
from traitlets import default

__all__ = ["Shell", "WholeCellCompiler", "has_network"]

PIP = re.compile(r"\bpip3?\s+(install|download)\b")
NO_NETWORK = "This sandbox has no network: nothing can be downloaded. `%pip list` shows what is installed."


class WholeCellCompiler(XCachingCompiler):
    """Compiles the whole cell before its first statement runs, so that nothing runs if there is a syntax error."""

    block: Any = None
    """The number of the block that is named next, if its text still arrives."""

    def __init__(self) -> None:
        super().__init__()
        # This flag is for interactive prompts; with it, Python 3.13 would raise `_IncompleteInputError`.
        self.flags &= ~codeop.PyCF_ALLOW_INCOMPLETE_INPUT  # type: ignore[attr-defined]

    def get_code_name(self, raw_code, code, number):
        """Names code by its text. Of a block whose text still arrives, others may begin with the same statement."""
        block, self.block = self.block, None
        return super().get_code_name(raw_code if block is None else f"{block} {raw_code}", code, number)

    def ast_parse(self, source, filename="<unknown>", symbol="exec"):
        tree: Any = super().ast_parse(source, filename, symbol)
        compile(tree, filename, symbol, self.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        return tree


class Leave(ZMQExitAutocall):
    """Makes `exit()` end the block, as `sys.exit()` does, instead of the kernel with all its variables."""

    def __call__(self, code=None):
        raise SystemExit(code)


class Shell(ZMQInteractiveShell):
    displayhook_class = DisplayHook
    code_error = None
    open_block = None
    block_run = None

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.input_transformer_manager = SourceTransformer()

    @default("exiter")
    def _default_exiter(self):
        return Leave(self)

    def transform_cell(self, raw_cell):
        cell = self.input_transformer_manager.transform_cell(raw_cell)
        # Let IPython transform a single name again, which may be a magic.
        return super().transform_cell(raw_cell) if cell.strip().isidentifier() or not is_python(cell) else cell

    def _tee(self, channel):
        """Does nothing: IPython would keep everything that is printed, and there is no history of outputs."""
        return contextlib.nullcontext()

    def is_rewritten(self, code):
        """Whether IPython would rewrite the code if it were the whole block: a single line may be a magic's name."""
        lines = code.strip().splitlines()
        if len(lines) != 1:
            return False
        with self.builtin_trap:
            prefilter: Any = self.prefilter_manager
            return prefilter.prefilter_lines(lines[0]) != lines[0]

    def transform_statement(self, statement):
        """Turns one statement of a block, but not the first one, into Python."""
        if is_python(statement):
            return statement if statement.endswith("\n") else f"{statement}\n"
        # What IPython looks for at the beginning of a block is not at the beginning of this one.
        before = "pass\n"
        return self.input_transformer_manager.transform_cell(before + statement).removeprefix(before)

    canceller = staticmethod(lambda task: _canceller(task))

    async def run_ast_nodes(self, nodelist, cell_name, interactivity="last_expr", compiler=compile, result=None):
        # Only from here on does an interrupt raise an exception: elsewhere the kernel would fail to send its reply.
        cell = self.kernel.awaiting_cell
        handler = signal.default_int_handler if cell is None else _canceller(cell)
        saved_handler = signal.signal(signal.SIGINT, handler)
        block, self.open_block = self.open_block, None
        run = super().run_ast_nodes
        outer, self.block_run = self.block_run, None if self.kernel.silent else self.kernel.ran.add(cell_name)
        try:
            self.kernel.cleanup.begin()
            if self.kernel.stop_requested:
                nodelist = ast.parse("raise KeyboardInterrupt").body
            elif block is not None:
                try:
                    return self._ended(await block.run(run, nodelist, cell_name, compiler, result))
                except KeyboardInterrupt:  # It came between two statements.
                    nodelist = ast.parse("raise KeyboardInterrupt").body
            return self._ended(await run(nodelist, cell_name, interactivity, compiler, result))
        finally:
            self.block_run = outer
            if LiveStream.in_child:
                _end_child(self.code_error)
            self.kernel.cleanup.end()
            signal.signal(signal.SIGINT, saved_handler)
            if cell is not None:
                self.kernel.left_context = contextvars.copy_context()

    def _ended(self, failed):
        if self.block_run is not None:
            self.block_run.is_whole = not failed
        return failed

    async def run_code(self, code_obj, result=None, *, async_=False):
        run = self.block_run
        failed = await super().run_code(code_obj, result, async_=async_)
        if run is not None and not failed:
            run.ran += 1
        for name in ("stdout", "stderr"):
            # IPython needs these attributes, which the code may have deleted.
            setattr(sys, name, getattr(sys, name, None))
        error = self.code_error = result.error_in_exec if result is not None else None
        if isinstance(error, SystemExit) and not error.code:
            result.error_in_exec = None
        elif error is not None and words(error) != _text(error):
            # IPython could not write the reply, since converting the error to text fails.
            result.error_in_exec = type(type(error).__name__, (Exception,), {})(words(error))
        return failed

    def showtraceback(self, *args, **kwargs):
        error = sys.exc_info()[1]
        if not (isinstance(error, SystemExit) and not error.code and kwargs.get("exception_only")):
            super().showtraceback(*args, **kwargs)

    def ask_exit(self):
        raise SystemExit

    def enable_matplotlib(self, gui=None):
        """Enables the inline backend, whatever the code asks for."""
        return super().enable_matplotlib("inline")

    def _showtraceback(self, etype, evalue, stb):
        if etype is SystemExit:
            stb = [f"SystemExit: {words(evalue)}"]
        text = "\n".join(stb)
        if LiveStream.in_child:
            # For a `SystemExit`, Python prints only its text, if it has one.
            shown = text if etype is not SystemExit else evalue.code if isinstance(evalue.code, str) else ""
            LiveStream.streams[-1].write(f"{shown}\n" if shown else "")
            return
        stb = [encodable(line) for line in stb] if len(text) <= ERROR_CHARS else [shortened(text)]
        super()._showtraceback(etype, shortened(words(evalue)), stb)

    def system(self, cmd):
        __tracebackhide__ = True
        command = self.var_expand(cmd, depth=1)
        status = self.user_ns["_exit_code"] = run_command(command)
        if PIP.search(command) and status and not has_network():
            print(NO_NETWORK, file=sys.stderr)  # noqa: T201


def _canceller(cell):
    """Returns a signal handler for a cell with `await`: it cancels the cell's task, or raises if the cell computes."""
    loop = asyncio.get_running_loop()

    def cancel(number, frame):
        if asyncio.current_task(loop) is cell:
            raise KeyboardInterrupt
        # ipykernel's own handler does not wake the loop, so that it would react only at its next event.
        loop.call_soon_threadsafe(cell.cancel)

    return cancel


def _end_child(error):
    """Ends a forked process at the end of the block, with the exit status that Python would use."""
    status = 0 if error is None else 1
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    for stream in LiveStream.streams:
        stream.flush()
    os._exit(status & 0xFF)


def _text(error):
    try:
        return str(error)
    except Exception:
        return None


def has_network():
    """A pod has an interface where its cluster's policies let nothing pass; its first process knows. A sandbox with a
    proxy of its own has no interface.
    """
    closed = os.environ.get("CODEACT_NETWORK") == "none"
    connected = any(name != "lo" for _, name in socket.if_nameindex()) or "HTTPS_PROXY" in os.environ
    return connected and not closed


# Suppress IPython's advice on how to leave IPython.
warn = vars(interactiveshell)["warn"]
vars(interactiveshell)["warn"] = lambda text, *args, **kwargs: text.startswith("To exit") or warn(text, *args, **kwargs)

"""What `codeact serve` says at the terminal: the parts enter as they settle, a few lines with reasons leave."""

import os
import shutil
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
from rich.console import Console
from rich.text import Text

from sandbox_pool.errors import SandboxError
from server.parts import Part
from server.state import State

__all__ = ["announce"]

WARM_WITHIN_S = 60.0


async def announce(state: State, console: Console, *, address: str, started: float) -> None:
    """Prints the address at once, then each part when it has settled, then how to go on."""
    console.print(Text.assemble(("codeact ", "bold"), (version("codeact"), "dim"), f"  {address}\n"))
    parts: list[Part[Any]] = [state.models, state.pool, state.store]
    for part in parts:
        part.on_progress = partial(_progress, console, part.name)
    for part in parts:
        await part.settled()
        _show(part, console)
    problem = await _pool_problem(state) if all(part.state == "ready" for part in parts) else "see above."
    if problem is None:
        console.print(
            f"\nReady in {time.monotonic() - started:.1f} s. Open {address}, or in a second terminal:\n"
            f'  [cyan]{_command()} run "What is the 100th Fibonacci number?"[/cyan]\n'
            "Ctrl-C stops the server.",
            highlight=False,
        )
    else:
        text = Text.assemble(("\nNot ready: ", "red"), f"{problem} The server goes on; Ctrl-C stops it.")
        console.print(text, soft_wrap=True)


async def _pool_problem(state: State) -> str | None:
    """What keeps the pool from its minimum; None once it has that."""
    try:
        with anyio.fail_after(WARM_WITHIN_S):
            await (await state.pool.get()).ready()
    except TimeoutError:
        return f"no warm sandbox after {WARM_WITHIN_S:.0f} s."
    except SandboxError as error:
        return error.message
    return None


def _command() -> str:
    """How this program was called, or by its name alone where that finds it."""
    called = sys.argv[0]
    if Path(called).name != "codeact":
        return "codeact"
    found = shutil.which("codeact")
    return "codeact" if found and os.path.samefile(found, called) else called


def _progress(console: Console, name: str, line: str) -> None:
    console.print(Text(f"  {name:9} {line}", style="dim"))


def _show(part: Part[Any], console: Console) -> None:
    name = f"  {part.name:9} "
    if part.opened is None:
        console.print(Text.assemble((name, "bold"), (str(part.error), "red")), soft_wrap=True)
        return
    console.print(Text.assemble((name, "bold"), part.opened.summary), soft_wrap=True)
    indent = " " * len(name)
    console.print(Text(f"{indent}{part.opened.why}", style="dim"), soft_wrap=True)
    for hint in part.opened.hints:
        console.print(Text(f"{indent}{hint}", style="yellow"), soft_wrap=True)

"""`codeact chat`: reads questions at a prompt, and shows the answers while they stream."""

import contextlib
import sys
from functools import partial

from anyio.from_thread import BlockingPortal, start_blocking_portal
from rich.console import Console
from rich.text import Text

from codeact.agent.approvals import Asked
from codeact.cli.approving import ask_about, judge_at_terminal, waiting_in
from codeact.cli.commands.conversation import INTERRUPTED, AskOptions, ask, open_conversation
from codeact.cli.controls import TerminalText
from codeact.cli.terminal import Renderer
from codeact.errors import CodeActError
from codeact.settings import Settings
from sandbox_pool.errors import SandboxError

__all__ = ["chat"]

PROMPT = "\n› "
HELP = """\
Type a question and press Enter.
  /new     begins a new conversation, with a sandbox of its own
  /help    shows this
Ctrl-C stops an answer, Ctrl-D leaves."""


def chat(settings: Settings, options: AskOptions, *, url: str | None, local: bool) -> int:
    """Runs the prompt until Ctrl-D, or until a second Ctrl-C while an answer is being stopped.

    Returns the exit code: 0 or 130. After an error of one answer, shows the error and the next prompt. Raises what
    `open_conversation` raises.
    """
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (`input` then has line editing and a history)

    faces = Console(), Console(stderr=True)
    try:
        with start_blocking_portal() as portal:
            while _converse(portal, settings, options, *faces, url=url, local=local):
                pass
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _converse(
    portal: BlockingPortal,
    settings: Settings,
    options: AskOptions,
    console: Console,
    diagnostics: Console,
    *,
    url: str | None,
    local: bool,
) -> bool:
    """Holds one conversation; returns whether the user wants to begin another one."""

    def report(line: str, style: str = "dim") -> None:
        diagnostics.print(Text(TerminalText(colours=False).feed(line), style), soft_wrap=True)

    renderer = Renderer(console, diagnostics)
    known: dict[str, Asked] = {}

    def read(prompt: str) -> str:
        renderer.break_off()
        return input(prompt)

    judge = judge_at_terminal(read, partial(report, style="yellow"))
    opening = open_conversation(settings, options, url=url, local=local, report=report, judge=judge)
    with portal.wrap_async_context_manager(opening) as conversation:
        summary, warnings = portal.call(conversation.describe)
        report(summary)
        for warning in warnings:
            report(warning, "yellow")
        report("Ctrl-C stops an answer, Ctrl-D leaves, /help tells more.")
        while True:
            try:
                question = input(PROMPT if sys.stdin.isatty() else "").strip()
            except EOFError:
                console.print()
                return False
            except KeyboardInterrupt:
                continue
            match question:
                case "":
                    continue
                case "/new":
                    return True
                case "/help":
                    report(HELP)
                    continue
            console.print()
            try:
                response = ask(portal, conversation, question, renderer.show)
                while waiting := waiting_in(response, known):
                    decisions = ask_about(waiting, input, partial(report, style="yellow"))
                    if not decisions:
                        report("It waits. Another question withdraws it.", "yellow")
                        break
                    console.print()
                    response = ask(portal, conversation, decisions, renderer.show)
            except (CodeActError, SandboxError) as error:
                renderer.break_off()
                report(error.message, "red")
                continue
            if response is None:
                renderer.break_off()
                report("Stopped.", "yellow")

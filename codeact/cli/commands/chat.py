"""`codeact chat`: asks what is typed at a prompt, and shows the answers while they stream."""

import contextlib
import sys

from anyio.from_thread import BlockingPortal, start_blocking_portal
from rich.console import Console
from rich.text import Text

from codeact.cli.commands.conversation import INTERRUPTED, Wishes, ask, open_conversation
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


def chat(settings: Settings, wishes: Wishes, *, url: str | None, local: bool) -> int:
    """Asks until Ctrl-D (0) or a second Ctrl-C while an answer is being stopped (130).

    An error of one answer is shown and the prompt comes back. Raises what `open_conversation` raises.
    """
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (`input` then edits lines and remembers them)

    faces = Console(), Console(stderr=True)
    try:
        with start_blocking_portal() as portal:
            while _converse(portal, settings, wishes, *faces, url=url, local=local):
                pass
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _converse(
    portal: BlockingPortal,
    settings: Settings,
    wishes: Wishes,
    console: Console,
    diagnostics: Console,
    *,
    url: str | None,
    local: bool,
) -> bool:
    """One conversation; whether another one is wanted."""

    def say(line: str, style: str = "dim") -> None:
        diagnostics.print(Text(TerminalText(colours=False).feed(line), style), soft_wrap=True)

    renderer = Renderer(console, diagnostics)
    opening = open_conversation(settings, wishes, url=url, local=local, say=say)
    with portal.wrap_async_context_manager(opening) as conversation:
        summary, warnings = portal.call(conversation.describe)
        say(summary)
        for warning in warnings:
            say(warning, "yellow")
        say("Ctrl-C stops an answer, Ctrl-D leaves, /help tells more.")
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
                    say(HELP)
                    continue
            console.print()
            try:
                response = ask(portal, conversation, question, renderer.show)
            except (CodeActError, SandboxError) as error:
                renderer.break_off()
                say(error.message, "red")
                continue
            if response is None:
                renderer.break_off()
                say("Stopped.", "yellow")

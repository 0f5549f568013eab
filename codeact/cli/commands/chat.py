"""`codeact chat`: reads questions at a prompt, and shows the answers while they stream."""

import contextlib
import re
import sys
from collections.abc import Callable
from functools import partial

from anyio.from_thread import BlockingPortal, start_blocking_portal
from rich.console import Console
from rich.text import Text

from codeact.agent.approvals import Asked
from codeact.cli.approving import ask_about, judge_at_terminal, waiting_in
from codeact.cli.commands.conversation import INTERRUPTED, AskOptions, Conversation, ask, open_conversation
from codeact.cli.commands.listing import last_response_of
from codeact.cli.controls import TerminalText
from codeact.cli.pictures import Pictures
from codeact.cli.terminal import Renderer
from codeact.errors import CodeActError
from codeact.settings import Settings
from sandbox_pool.errors import SandboxError

__all__ = ["chat"]

PROMPT = "\n› "
COMMAND = re.compile(r"/[a-z]+")
HELP = """\
Type a question and press Enter.
  /new     begins a new conversation, with a sandbox of its own
  /id      shows the conversation's id
  /help    shows this
Ctrl-C stops an answer, Ctrl-D leaves."""


def chat(
    settings: Settings, options: AskOptions, *, url: str | None, local: bool, continues: bool | str = False
) -> int:
    """Runs the prompt until Ctrl-D, or until a second Ctrl-C while an answer is being stopped.

    `continues`: goes on with the conversation of this id, or with the newest one. Returns the exit code: 0 or 130.
    After an error of one answer, shows the error and the next prompt. Raises what `open_conversation` raises.
    """
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (`input` then has line editing and a history)

    faces = Console(), Console(stderr=True)
    try:
        with start_blocking_portal() as portal:
            last_id: str | None = None
            if continues:
                wanted = continues if isinstance(continues, str) else None
                conversation_id, last_id = portal.call(last_response_of, settings, url, wanted)
                faces[1].print(Text(f"Continuing {conversation_id}.", "dim"), soft_wrap=True)
            while _converse(portal, settings, options, *faces, url=url, local=local, last_id=last_id):
                last_id = None
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
    last_id: str | None,
) -> bool:
    """Holds one conversation; returns whether the user wants to begin another one."""

    def report(line: str, style: str = "dim") -> None:
        diagnostics.print(Text(TerminalText(colours=False).feed(line), style), soft_wrap=True)

    renderer = Renderer(console, diagnostics, Pictures(settings.data_dir / "pictures"))
    known: dict[str, Asked] = {}

    def read(prompt: str) -> str:
        renderer.break_off()
        return input(prompt)

    judge = judge_at_terminal(read, partial(report, style="yellow"))
    opening = open_conversation(settings, options, url=url, local=local, report=report, judge=judge, last_id=last_id)
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
                _say_how_to_continue(conversation, report)
                return False
            except KeyboardInterrupt:
                continue
            match question:
                case "":
                    continue
                case "/new":
                    _say_how_to_continue(conversation, report)
                    return True
                case "/help":
                    report(HELP)
                    continue
                case "/id":
                    report(conversation.id or "There is no id yet, or the conversation is not stored.")
                    continue
                case _ if COMMAND.fullmatch(question.split()[0]):
                    report(f"{question.split()[0]} is not a command. {HELP}", "yellow")
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


def _say_how_to_continue(conversation: Conversation, report: Callable[[str], None]) -> None:
    if conversation.id is not None:
        report(f"This was {conversation.id}. Continue it with: codeact chat --conversation {conversation.id}")

"""`codeact run`: answers one task, shows the answer while it streams, and returns an exit code."""

from anyio.from_thread import start_blocking_portal
from rich.console import Console
from rich.text import Text

from codeact.cli.commands.conversation import INTERRUPTED, AskOptions, ask, open_conversation
from codeact.cli.controls import TerminalText, print_json
from codeact.cli.pictures import Pictures
from codeact.cli.terminal import Renderer
from codeact.settings import Settings

__all__ = ["run"]


def run(settings: Settings, task: str, options: AskOptions, *, url: str | None, local: bool, as_json: bool) -> int:
    """Answers the task and returns the exit code: 0 completed, 1 failed or incomplete, 130 stopped by Ctrl-C.

    Raises what `open_conversation` raises.
    """
    diagnostics = Console(stderr=True)
    renderer = Renderer(Console(), diagnostics, Pictures(settings.data_dir / "pictures"))

    def report(line: str, style: str = "dim") -> None:
        diagnostics.print(Text(TerminalText(colours=False).feed(line), style), soft_wrap=True)

    try:
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(
                open_conversation(settings, options, url=url, local=local, report=report)
            ) as conversation,
        ):
            response = ask(portal, conversation, task, print_json if as_json else renderer.show)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        renderer.break_off()
    if response is None:
        report("Stopped.", "yellow")
    if response is None or response.status == "cancelled":
        return INTERRUPTED
    return 0 if response.status == "completed" else 1

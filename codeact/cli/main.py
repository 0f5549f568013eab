"""The command line: parses arguments and runs commands.

Each command imports its modules itself, so that `codeact --help` does not wait for packages that only a server needs.
"""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codeact.cli.evaluation import eval_
from codeact.errors import CodeActError, ConfigurationError

if TYPE_CHECKING:
    from codeact.cli.commands.conversation import AskOptions

__all__ = ["app", "main"]

app = typer.Typer(
    name="codeact",
    help="A self-hosted server for agents that act by writing Python, and its commands.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


keys = typer.Typer(help="Make, show and revoke API keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.command("eval")(eval_)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
store_app = typer.Typer(help="Maintain the database.", no_args_is_help=True)
app.add_typer(store_app, name="store")

RawEvents = Annotated[bool, typer.Option("--json", help="Print the raw events as JSON, one a line.")]
Url = Annotated[
    str | None,
    typer.Option("--url", help="The server. [default: CODEACT_URL, else where `codeact serve` would listen]"),
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="One of the server's models; with --local any litellm name, or demo.")
]
WithFiles = Annotated[
    list[Path] | None,
    typer.Option("--file", help="A file for the working directory; may be repeated.", exists=True, dir_okay=False),
]
Instructions = Annotated[str | None, typer.Option("--instructions", help="Instructions for the model.")]
MaxTurns = Annotated[
    int | None, typer.Option("--max-turns", min=1, help="Blocks of code for one answer. [default: the server's]")
]
ProfileName = Annotated[
    str | None,
    typer.Option("--profile", help="Ask with this profile of yours on the server; other options count more."),
]
IsLocal = Annotated[bool, typer.Option("--local", help="Run the agent in this process, without a server.")]


def _options(
    model: str | None,
    instructions: str | None,
    max_turns: int | None,
    file: list[Path] | None,
    profile: str | None,
    local: bool,
) -> "AskOptions":
    from codeact.cli.commands.conversation import AskOptions

    if local and profile is not None:
        raise typer.BadParameter("Profiles are kept by a server; leave --local or --profile out.")
    return AskOptions(model, instructions, max_turns, file or (), profile)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("codeact"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before any command."""


@app.command()
def run(
    task: Annotated[str, typer.Argument(help="What to do, in words; - reads it from standard input.")],
    url: Url = None,
    local: IsLocal = False,
    model: ModelName = None,
    file: WithFiles = None,
    instructions: Instructions = None,
    max_turns: MaxTurns = None,
    profile: ProfileName = None,
    as_json: RawEvents = False,
) -> None:
    """Answer one task, live, and exit: 0 completed, 1 not, 130 stopped by Ctrl-C."""
    from codeact.cli.commands.run import run as command
    from codeact.settings import Settings

    text = sys.stdin.read() if task == "-" else task
    if not text.strip():
        raise typer.BadParameter("The task is empty.")
    options = _options(model, instructions, max_turns, file, profile, local)
    raise typer.Exit(command(Settings.load(), text, options, url=url, local=local, as_json=as_json))


@app.command()
def chat(
    url: Url = None,
    local: IsLocal = False,
    model: ModelName = None,
    file: WithFiles = None,
    instructions: Instructions = None,
    max_turns: MaxTurns = None,
    profile: ProfileName = None,
    continue_: Annotated[bool, typer.Option("--continue", help="Go on with the newest conversation.")] = False,
    conversation: Annotated[
        str | None, typer.Option(help="Go on with the conversation of this id; `codeact list` shows them.")
    ] = None,
) -> None:
    """Talk with the agent at a prompt; its sandbox keeps variables and files from question to question."""
    from codeact.cli.commands.chat import chat as command
    from codeact.settings import Settings

    if local and (continue_ or conversation):
        raise typer.BadParameter("--local keeps no conversations; leave it out to continue one.")
    options = _options(model, instructions, max_turns, file, profile, local)
    going_on = conversation or continue_
    raise typer.Exit(command(Settings.load(), options, url=url, local=local, continues=going_on))


@app.command("list")
def list_(
    query: Annotated[str | None, typer.Argument(help="Words that the conversations contain.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="What waits for approval or for a client, in all conversations.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show the newest conversations, to continue, export or find one; or what waits for approval."""
    from codeact.cli.commands.listing import show_list, show_waiting
    from codeact.settings import Settings

    if waiting:
        show_waiting(Settings.load(), url=url, limit=limit, as_json=as_json)
        return
    show_list(Settings.load(), url=url, query=query, limit=limit, as_json=as_json)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. [default: 8000]")] = None,
    model: Annotated[str | None, typer.Option(help="A litellm name, or demo.")] = None,
    sandbox: Annotated[str | None, typer.Option(help="auto, docker, process, kubernetes, … [default: auto]")] = None,
    pool_min: Annotated[int | None, typer.Option(help="Sandboxes kept warm. [default: 2]")] = None,
    pool_max: Annotated[int | None, typer.Option(help="Sandboxes at most. [default: 16]")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The directory of the embedded database.")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes, on one address. [default: 1]")] = None,
) -> None:
    """Start the server with whatever this machine has: Docker or local sandboxes, your model or the demo."""
    from codeact.cli.commands.serve import serve as command
    from codeact.settings import Settings

    command(
        Settings.load(
            host=host,
            port=port,
            model=model,
            sandbox=sandbox,
            pool_min=pool_min,
            pool_max=pool_max,
            data_dir=data_dir,
            workers=workers,
        )
    )


@app.command()
def export(
    conversation_id: Annotated[str, typer.Argument(help="conv_…, as the list of conversations shows it.")],
    format_: Annotated[str, typer.Option("--format", help="ipynb, md or json.")] = "ipynb",
    output: Annotated[Path | None, typer.Option(help="The file to write. [default: standard output]")] = None,
    url: Url = None,
) -> None:
    """Save a conversation as a notebook, as Markdown, or whole, as JSON that can be imported."""
    from codeact.cli.commands.transfer import export as command
    from codeact.settings import Settings

    command(Settings.load(), conversation_id, format_=format_, output=output, url=url)


@app.command()
def verify(
    response_id: Annotated[str, typer.Argument(help="resp_…, as the answer or `codeact run --json` shows it.")],
    tolerance: Annotated[float, typer.Option(min=0, max=0.1, help="How much decimals may differ.")] = 1e-9,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Run an answer's code again, and exit: 0 the outputs are equal, 1 they differ or cannot be compared."""
    from codeact.cli.commands.verify import verify as command
    from codeact.settings import Settings

    raise typer.Exit(command(Settings.load(), response_id, url=url, tolerance=tolerance, as_json=as_json))


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="The JSON of an export.", exists=True, dir_okay=False)],
    url: Url = None,
) -> None:
    """Import an exported conversation and print the new conversation's id."""
    from codeact.cli.commands.transfer import import_ as command
    from codeact.settings import Settings

    command(Settings.load(), path, url=url)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check the model, the sandbox and the database, and print how to fix what is missing."""
    from codeact.cli.commands.doctor import doctor as command
    from codeact.settings import Settings

    raise typer.Exit(command(Settings.load(), as_json=as_json))


@app.command()
def dashboard(
    host: Annotated[
        str, typer.Option(help="Address to listen on. On any but loopback an operator signs in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8501,
    data_dir: Annotated[Path | None, typer.Option(help="The directory of the embedded database.")] = None,
) -> None:
    """Browse the history, figures and runs of all owners in the browser, beside a running server or without one."""
    from codeact.cli.commands.dashboard import dashboard as command
    from codeact.settings import Settings

    raise typer.Exit(command(Settings.load(data_dir=data_dir), host=host, port=port))


@keys.command("create")
def create_key(
    owner: Annotated[str, typer.Option(help="Whose key: nobody sees another owner's conversations.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    operator: Annotated[bool, typer.Option("--operator", help="May read every owner's history and audit log.")] = False,
    days: Annotated[int | None, typer.Option(min=1, help="Days until the key expires. [default: never]")] = None,
    responses_per_minute: Annotated[int | None, typer.Option(min=1, help="Overrides the setting.")] = None,
    concurrent_responses: Annotated[int | None, typer.Option(min=1, help="Overrides the setting.")] = None,
    tokens_per_day: Annotated[int | None, typer.Option(min=1, help="Overrides the setting.")] = None,
    stored_mb: Annotated[int | None, typer.Option(min=1, help="Overrides the setting.")] = None,
    as_json: Json = False,
) -> None:
    """Make an API key and print its secret, which cannot be shown again."""
    from codeact.cli.commands.keys import create
    from codeact.settings import Settings
    from codeact.store import OwnerLimits

    limits = OwnerLimits(responses_per_minute, concurrent_responses, tokens_per_day, stored_mb)
    create(Settings.load(), owner=owner, name=name, operator=operator, days=days, limits=limits, as_json=as_json)


@keys.command("list")
def list_keys(as_json: Json = False) -> None:
    """Show all keys: their owners, their limits, and which are revoked."""
    from codeact.cli.commands.keys import show
    from codeact.settings import Settings

    show(Settings.load(), as_json=as_json)


@keys.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="The key's id, as `codeact keys list` shows it.")]) -> None:
    """Revoke a key and every session made from it, at once, also on running servers."""
    from codeact.cli.commands.keys import revoke
    from codeact.settings import Settings

    revoke(Settings.load(), key_id)


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="hostile, latency, load, pool, server, …; a wrong name lists all.")],
    sandbox: Annotated[str, typer.Option(help="The backend to measure: process or docker.")] = "process",
    as_json: Json = False,
) -> None:
    """Measure this machine, from a checkout. Run one at a time, with nothing else going on."""
    from codeact.cli.commands.bench import bench as command

    command(name, sandbox, as_json=as_json)


@store_app.command()
def reindex() -> None:
    """Recompute the fields by which conversations are searched and filtered, from their responses."""
    from codeact.cli.commands.store import reindex as command
    from codeact.settings import Settings

    command(Settings.load())


def main() -> None:
    """The entry point. Prints our own errors in one line on stderr and exits with 1, or with 2 for a wrong setting."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except Exception as error:
        from rich.console import Console
        from rich.text import Text

        from codeact.cli.controls import TerminalText
        from sandbox_pool.errors import SandboxError

        if not isinstance(error, CodeActError | SandboxError):
            raise
        Console(stderr=True).print(Text(TerminalText(colours=False).feed(error.message), "red"), soft_wrap=True)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)

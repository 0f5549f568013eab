"""`codeact export` and `codeact import`: write a conversation to a file, and read it back."""

import sys
from pathlib import Path

import anyio
import msgspec
from rich.console import Console

from codeact.cli.commands.conversation import address_and_key
from codeact.cli.controls import TerminalText, escaped
from codeact.http_client import request
from codeact.settings import Settings

__all__ = ["export", "import_"]


class _Imported(msgspec.Struct):
    id: str


def export(settings: Settings, conversation_id: str, *, format_: str, output: Path | None, url: str | None) -> None:
    """Writes the export to the file `output`, or to standard output. Raises `ClientError`.

    A terminal gets it without what it would obey; a file or a pipe gets it as it is.
    """

    async def fetch() -> bytes:
        path = f"conversations/{conversation_id}/export"
        return await request(*address_and_key(settings, url), "GET", path, params={"format": format_})

    content = anyio.run(fetch)
    if output is not None:
        output.write_bytes(content)
    elif sys.stdout.isatty():
        text = content.decode(errors="replace")
        sys.stdout.write(TerminalText(colours=False).feed(text) if format_ == "md" else escaped(text))
    else:
        sys.stdout.buffer.write(content)


def import_(settings: Settings, path: Path, *, url: str | None) -> None:
    """Sends the file and prints the id of the new conversation. Raises `ClientError`."""

    content = path.read_bytes()

    async def send() -> bytes:
        return await request(*address_and_key(settings, url), "POST", "conversations/import", content=content)

    Console().print(msgspec.json.decode(anyio.run(send), type=_Imported).id, highlight=False)

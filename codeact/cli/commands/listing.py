"""`codeact list`: the newest conversations, what waits in them, and which one `codeact chat --continue` takes."""

import json
from datetime import datetime
from typing import Any
from urllib.parse import quote

import anyio
from rich.console import Console
from rich.text import Text

from codeact.cli.commands.conversation import address_and_key
from codeact.cli.controls import TerminalText, print_json
from codeact.errors import CodeActError
from codeact.http_client import request
from codeact.settings import Settings

__all__ = ["last_response_of", "show_list", "show_waiting"]

PREVIEW_CHARS = 80


def show_list(settings: Settings, *, url: str | None, query: str | None, limit: int, as_json: bool) -> None:
    """Prints the newest conversations of this key's owner. Raises what `codeact.http_client.request` raises."""
    found = anyio.run(_conversations, settings, url, query, limit)
    console = Console(soft_wrap=True)
    if as_json:
        print_json(found)
        return
    for one in found:
        summary = one["codeact:summary"]
        active = datetime.fromtimestamp(summary["updated_at"]).astimezone().strftime("%Y-%m-%d %H:%M")
        title = TerminalText(colours=False).feed(summary["title"])
        console.print(Text.assemble((one["id"], "bold"), f"  {active}  {title}"))
    if found:
        console.print(
            "codeact chat --conversation ID continues one of them, --continue the newest.", style="dim", highlight=False
        )
    else:
        console.print("Nothing there yet.", style="dim")


def show_waiting(settings: Settings, *, url: str | None, limit: int, as_json: bool) -> None:
    """Prints what waits for approval, and clients' functions that wait for values, newest first.

    Raises what `codeact.http_client.request` raises.
    """
    found = anyio.run(_waiting, settings, url, limit)
    console = Console(soft_wrap=True)
    if as_json:
        print_json(found)
        return
    for one in found:
        until = datetime.fromtimestamp(one["expires_at"]).astimezone().strftime("%Y-%m-%d %H:%M")
        what = TerminalText(colours=False).feed(" ".join(f"{one['name']}: {one['preview']}".split())[:PREVIEW_CHARS])
        of_client = "  (waits for a value of its client)" if one.get("kind") == "function" else ""
        console.print(Text.assemble((one["conversation_id"], "bold"), f"  until {until}  {what}{of_client}"))
    if any(one.get("kind") != "function" for one in found):
        console.print("The chat page of the conversation has the buttons to approve.", style="dim", highlight=False)
    elif found:
        console.print(
            "A client sends the value, with the next request of its conversation.", style="dim", highlight=False
        )
    else:
        console.print("Nothing waits.", style="dim")


async def _waiting(settings: Settings, url: str | None, limit: int) -> list[dict[str, Any]]:
    found = await _get(settings, url, "approvals", params={"limit": str(limit)})
    return list(found["data"])


async def last_response_of(settings: Settings, url: str | None, conversation_id: str | None) -> tuple[str, str | None]:
    """The conversation's id, and that of its latest response, from which it goes on; without an id, of the newest one.

    Raises `CodeActError` if there is none.
    """
    if conversation_id is None:
        newest = await _conversations(settings, url, None, 20)
        if not newest:
            raise CodeActError("There is no conversation to continue. `codeact chat` begins one.")
        conversation = newest[0]
    else:
        conversation = await _get(settings, url, f"conversations/{quote(conversation_id, safe='')}")
    last: str | None = conversation["codeact:summary"]["last_response_id"]
    return str(conversation["id"]), last


async def _conversations(settings: Settings, url: str | None, query: str | None, limit: int) -> list[dict[str, Any]]:
    params = {"limit": str(limit)} | ({"query": query} if query else {})
    found = await _get(settings, url, "conversations", params=params)
    # A page that was only opened has made a conversation too.
    return [one for one in found["data"] if one["codeact:summary"]["title"] is not None]


async def _get(settings: Settings, url: str | None, path: str, **options: Any) -> Any:
    address, api_key = address_and_key(settings, url)
    return json.loads(await request(address, api_key, "GET", path, **options))

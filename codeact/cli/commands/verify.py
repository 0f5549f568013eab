"""`codeact verify`: lets a server run a stored answer's code again, and says whether the outputs are equal."""

import anyio
from rich.console import Console
from rich.text import Text

from codeact.cli.commands.conversation import address_and_key
from codeact.cli.controls import TerminalText, print_json
from codeact.events.certificates import Certificate
from codeact.http_client import verify as verify_answer
from codeact.settings import Settings

__all__ = ["verify"]


def verify(settings: Settings, response_id: str, *, url: str | None, tolerance: float, as_json: bool) -> int:
    """Prints the result; returns 0 if the outputs are equal, else 1. Raises `ClientError`."""
    address, api_key = address_and_key(settings, url)
    console, errors = Console(soft_wrap=True, highlight=False), Console(stderr=True)

    async def run() -> Certificate:
        with errors.status("The code is being run again.") as status:
            return await verify_answer(
                response_id,
                url=address,
                api_key=api_key,
                tolerance=tolerance,
                progress=lambda block, blocks: status.update(f"Running block {block} of {blocks} again."),
            )

    found = anyio.run(run)
    if as_json:
        print_json(found)
    elif found.result == "equal":
        console.print(f"Equal: {found.outputs} outputs of {found.blocks} blocks of code.")
    else:
        _show_differences(found, console)
    return 0 if found.result == "equal" else 1


def _show_differences(found: Certificate, console: Console) -> None:
    for difference in found.differences:
        place = f"block {difference.block}" + (f", output {difference.output}" if difference.output else "")
        where = f"in an earlier answer, {place}" if difference.earlier else place
        console.print(Text.assemble(("Differs: ", "bold"), f"{where} ({difference.item_id})"))
        for name, text in (("recorded", difference.expected), ("run again", difference.found)):
            console.print(Text(f"  {name}: {TerminalText(colours=False).feed(text)!r}"))

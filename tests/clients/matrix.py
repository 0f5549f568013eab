"""The table of docs/clients.md, from what the clients' tests have shown: python -m tests.clients.matrix [DIRECTORY]

A test calls `proved` when its client has done everything. `tests/clients/results/` has a JSON file for each client: its
version, what was run, and what does not work. `make test-clients` writes them, if all of these tests pass, and renders
the table; `make test-chat-pages` does so for chat pages of others, which are too large for everybody. In `make test`
each call checks that the committed file says the same.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "clients.md"
RECORD = "TEST_CLIENTS_RECORD"
"""The environment variable that names a directory for new results."""
CHAT_PAGES = ("librechat", "open-webui")
"""How the names of results begin that only `make test-chat-pages` writes."""
BEGIN, END = "<!-- The table is rendered by `make test-clients`. -->\n", "<!-- End of the table. -->\n"


def proved(client: str, version: str, ran: Sequence[str], *, lacks: str = "") -> None:
    """States that this version of the client has run all of this. Fails if the committed result says something else."""
    result = {"client": client, "version": version, "ran": list(ran), "lacks": lacks, "result": "passed"}
    name = re.sub(r"[^a-z0-9]+", "-", client.lower()).strip("-") + ".json"
    if record := os.environ.get(RECORD):
        (Path(record) / name).write_text(json.dumps(result, indent=2) + "\n", "utf-8")
        return
    committed = json.loads((RESULTS / name).read_text("utf-8"))
    assert committed == result, "another version, or something else was run; `make test-clients` records it"


def table() -> str:
    """The table of the committed results, as Markdown."""
    results = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    rows = ["| client | version | what was run | what does not work |", "|---|---|---|---|"]
    rows += [
        f"| {one['client']} | {one['version']} | {', '.join(one['ran'])} | {one['lacks'] or 'nothing known'} |"
        for one in results
    ]
    return "\n".join(rows) + "\n"


def rendered(page: str) -> str:
    """The page with the table of the committed results between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, "the marker before the table is missing"
    assert end, "the marker after the table is missing"
    return before + begin + "\n" + table() + "\n" + end + after


def main() -> None:
    if len(sys.argv) > 1:
        new = list(Path(sys.argv[1]).glob("*.json"))
        renewed = {path.name.startswith(CHAT_PAGES) for path in new}
        for old in RESULTS.glob("*.json"):
            if old.name.startswith(CHAT_PAGES) in renewed:
                old.unlink()
        for path in new:
            shutil.copy(path, RESULTS)
    PAGE.write_text(rendered(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()

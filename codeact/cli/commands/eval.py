"""`codeact eval`: runs an evaluation with live progress, prints its report, and compares two runs."""

import json
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from codeact.cli.controls import print_json
from codeact.errors import ConfigurationError
from codeact.evals.record import Attempt, Plan, ordered, read_attempts, read_plan
from codeact.evals.report import Row, by_tag, difference_as_json, report_as_json, rows
from codeact.evals.report_html import html_report
from codeact.evals.runner import Options, evaluate
from codeact.evals.statistics import Difference, difference
from codeact.evals.task import Task
from codeact.settings import Settings

__all__ = ["HTML", "chosen", "compare", "draft", "report", "run"]

HTML = "report.html"
SHOWN_RUNNING = 8
INTERRUPTED = 130


def chosen(tasks: Sequence[Task], *, names: Sequence[str], tags: Sequence[str], limit: int | None) -> list[Task]:
    """Returns the tasks whose id matches one of the patterns, that have one of the tags; at most `limit`.

    Raises `ConfigurationError` if there is none.
    """
    found = [task for task in tasks if not names or any(fnmatchcase(task.id, name) for name in names)]
    found = [task for task in found if not tags or task.tags & set(tags)][:limit]
    if not found:
        raise ConfigurationError("No task of the suite has such an id or tag.")
    return found


def run(suite: str, tasks: Sequence[Task], options: Options, directory: Path, *, as_json: bool) -> int:
    """Runs the evaluation and prints its report. Returns 0, or 130 if Ctrl-C stopped it: the same call then continues.

    Raises what `evaluate` raises.
    """
    console = Console(stderr=True)
    shown = _Progress(console)
    try:
        with shown:
            anyio.run(evaluate, suite, tasks, options, directory, shown.show)
    except KeyboardInterrupt:
        console.print(Text(f"Stopped. The same command continues: the results so far are in {directory}.", "yellow"))
        return INTERRUPTED
    report(directory, as_json=as_json)
    return 0


class _Progress:
    """On a terminal a live line for each running attempt, else a line for each that has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None
        self._printed: int | None = None
        self._began = time.monotonic()

    def __enter__(self) -> "_Progress":
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, plan: Plan, done: Sequence[Attempt], running: Sequence[str]) -> None:
        if self._live is None:
            if self._printed is None:  # What an earlier call has made was shown then.
                self._printed = len(done)
            for number, one in enumerate(done[self._printed :], self._printed + 1):
                self._console.print(f"{number}/{plan.size} {_line(one)}", markup=False, highlight=False, soft_wrap=True)
            self._printed = len(done)
            return
        passed = sum(one.passed for one in done)
        tokens, cost = sum(one.tokens for one in done), sum(one.cost_usd or 0 for one in done)
        head = Text(f"{passed} solved of {len(done)}, {plan.size} in all; {tokens:,} tokens", "bold")
        head.append(f", {cost:.4f} USD" if cost else "", "bold")
        head.append(f"; {time.monotonic() - self._began:.0f} s", "dim")
        lines = [Text(f"  {name}", "dim", no_wrap=True, overflow="ellipsis") for name in running[:SHOWN_RUNNING]]
        if len(running) > SHOWN_RUNNING:
            lines.append(Text(f"  and {len(running) - SHOWN_RUNNING} more", "dim"))
        bar = Table.grid()
        bar.add_row(ProgressBar(total=plan.size, completed=len(done), width=60))
        self._live.update(Group(head, bar, *lines))


def _line(attempt: Attempt) -> str:
    end = "solved" if attempt.passed else attempt.failure or "wrong"
    return f"{end:16} {attempt.task} · {attempt.setup.label}  {attempt.total_s:.1f} s"


def report(directory: Path, *, as_json: bool) -> None:
    """Prints the report of a directory's results, and writes it as HTML. Raises `ConfigurationError`."""
    plan = read_plan(directory)
    attempts = ordered(plan, read_attempts(directory))
    page = directory / HTML
    with page.open("w", encoding="utf-8") as file:
        file.writelines(html_report(plan, attempts))
    if as_json:
        _print_json(report_as_json(plan, attempts))
        return
    console = Console()
    setups = rows(attempts)
    console.print(_table("setup", setups))
    console.print(_times(setups))
    if tagged := by_tag(attempts):
        console.print(_table("tag", tagged))
    _print_failures(console, setups)
    if retries := sum(row.retries for row in setups):
        console.print(Text(f"The infrastructure spoilt {retries} further attempts, which were made again."))
    for label, left in plan.not_asked.items():
        console.print(Text(f"{label} was not asked {len(left)} of the tasks, which do not suit it."))
    if plan.stopped:
        console.print(Text(f"Stopped by {plan.stopped}. {len(attempts)} of {plan.size} attempts were made.", "yellow"))
    console.print(Text(f"Transcripts: {page}", "dim"), soft_wrap=True)


def _print_failures(console: Console, found: Sequence[Row]) -> None:
    for row in found:
        if row.failures:
            kinds = ", ".join(f"{count} {kind}" for kind, count in row.failures.items())
            console.print(Text(f"Failures of {row.name}: {kinds}"), soft_wrap=True)


def _table(first: str, found: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first, overflow="fold")
    for head in ("solved", "95 %", "blocks", "tokens in /\ncached / out", "cost", "time"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in found:
        low, high = row.share.bounds
        table.add_row(
            Text(row.name),
            f"{row.share.passed}/{row.share.total}",
            f"{low:.0%}–{high:.0%}",
            "–" if row.blocks is None else f"{row.blocks:.1f}",
            f"{row.input_tokens:,} / {row.cached_tokens:,} / {row.output_tokens:,}",
            "–" if row.cost_usd is None else f"{row.cost_usd:.4f}",
            "–" if row.total_s is None else f"{row.total_s:.1f} s",
        )
    return table


def _times(found: Sequence[Row]) -> Table:
    """The parts of the first answers' ledgers, as medians."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("setup", overflow="fold")
    for head in ("sandbox", "first token", "code", "first output", "whole"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in found:
        parts = (row.sandbox_wait_s, row.first_token_s, row.code_detected_s, row.first_output_s, row.total_s)
        table.add_row(Text(row.name), *("–" if part is None else f"{part:.2f} s" for part in parts))
    return table


def compare(first: Path, second: Path, *, as_json: bool) -> None:
    """Prints what changed from the first run to the second, and whether it is more than noise.

    Raises `ConfigurationError` if one of the directories has no results, or they have no task in common.
    """
    one, two = ((read_plan(directory), read_attempts(directory))[1] for directory in (first, second))
    found = difference(one, two)
    if not found.first.total:
        raise ConfigurationError("The two runs have no task in common.")
    if as_json:
        _print_json(difference_as_json(found))
        return
    _print_difference(found, first, second)


def _print_difference(found: Difference, first: Path, second: Path) -> None:
    console = Console()
    for name, directory in (("first", first), ("second", second)):
        console.print(f"{name}: {directory}", highlight=False, markup=False, soft_wrap=True)
    both = [Row("first", found.before), Row("second", found.after)]
    console.print(_table("run", both))
    _print_failures(console, both)
    for title, style, tasks in (("Won", "green", found.won), ("Lost", "red", found.lost)):
        if tasks:
            console.print(Text(f"{title}: {', '.join(tasks)}", style))
    if found.note:
        console.print(Text(found.note, "yellow"))
    meaning = "This may be chance" if found.is_noise else "This is more than chance"
    console.print(
        Text(f"{meaning}: p = {found.p:.3f} (exact sign test over {len(found.won) + len(found.lost)} tasks).")
    )


def draft(settings: Settings, exports: Sequence[Path], *, thumbs_down: bool) -> None:
    """Prints drafts of tasks, one a line: for each exported conversation, and for each answer with a thumb down.

    Raises `InvalidRequest` for a file that is no export, and `StoreUnavailable`.
    """
    anyio.run(_draft, settings, exports, thumbs_down)


async def _draft(settings: Settings, exports: Sequence[Path], thumbs_down: bool) -> None:
    from codeact.evals.forms.conversations import exported_drafts

    for path in exports:
        for one in await exported_drafts(path):
            print_json(one)
    if thumbs_down:
        await _draft_from_store(settings)


async def _draft_from_store(settings: Settings) -> None:
    from codeact.errors import NotFound
    from codeact.evals.forms.conversations import draft as drafted
    from codeact.store import open_store

    async with open_store(settings) as store:
        before = None
        while found := await store.sharing.latest_feedback(owner=None, limit=100, before=before):
            before = found[-1].created_at, found[-1].response_id
            for one in found:
                if one.rating != "down":
                    continue
                try:
                    thread = await store.thread(one.response_id, owner=one.owner)
                except NotFound:
                    continue  # The conversation has been deleted since.
                print_json(drafted(thread, name=one.response_id, comment=one.comment))


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")

"""Shows how the time of an answer was spent: its phases and their chart. Computing the phases is pure."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import altair as alt

from codeact.dashboard.drawing.colours import PHASES
from codeact.dashboard.drawing.markup import visible
from codeact.events import CodeInterpreterCall, Compaction, Item, McpCall, Message, Reasoning, Response
from codeact.store.repositories.periods import time_of_id

__all__ = ["Phase", "chart", "phases"]


@dataclass(frozen=True, slots=True)
class Phase:
    """From `begin_s` to `end_s`, counted from when the request was accepted."""

    lane: str
    phase: str
    begin_s: float
    end_s: float
    what: str = ""


def phases(response: Response) -> list[Phase]:
    """The phases, from the response's timings and from its items, whose ids say when they began.

    Empty without timings.
    """
    ledger, total_s = response.ledger, response.ledger.total_s
    if total_s is None:
        return []
    found = []
    if ledger.sandbox_wait_s:
        found.append(Phase("sandbox", "waiting for the sandbox", 0.0, min(ledger.sandbox_wait_s, total_s)))
    if ledger.first_token_s:
        found.append(Phase("model", "waiting for the model", 0.0, min(ledger.first_token_s, total_s)))
    # An id is made shortly before or after the clock of the timings starts. The first item begins with the first token.
    accepted_at = time_of_id(response.id).timestamp()
    begins = [max(0.0, min(time_of_id(item.id).timestamp() - accepted_at, total_s)) for item in response.output]
    for item, begin_s, end_s in zip(response.output, begins, [*begins[1:], total_s], strict=True):
        found += _of_item(item, begin_s, max(begin_s, end_s))
    return found


def _of_item(item: Item, begin_s: float, end_s: float) -> Iterator[Phase]:
    match item:
        case Message():
            yield Phase("model", "writing", begin_s, end_s, _first_line("".join(part.text for part in item.content)))
        case Reasoning():
            yield Phase("model", "reasoning", begin_s, end_s)
        case Compaction():
            yield Phase("model", "waiting for the model", begin_s, end_s, "summarising earlier messages")
        case McpCall():
            yield Phase("tools", "calling tools", begin_s, end_s, visible(f"{item.server_label}.{item.name}", 80))
        case CodeInterpreterCall():
            starts_s = min(end_s, max(begin_s, item.started_s or begin_s))
            ends_s = min(end_s, starts_s + (item.result.duration_s if item.result is not None else 0.0))
            failed = item.result is not None and item.result.status != "ok"
            line = _first_line(item.code)
            yield Phase("model", "writing code", begin_s, starts_s, line)
            yield Phase("sandbox", "code that failed" if failed else "running code", starts_s, ends_s, line)
            yield Phase("model", "waiting for the model", ends_s, end_s)


def _first_line(text: str) -> str:
    return visible(text.strip().partition("\n")[0], 80)


def chart(found: list[Phase]) -> alt.Chart:
    """One lane for the model, one for the sandbox and one for tools."""
    used = [name for name in PHASES if any(phase.phase == name for phase in found)]
    return (
        alt.Chart(alt.Data(values=[asdict(phase) for phase in found]), height=alt.Step(34))
        .mark_bar(cornerRadius=2)
        .encode(
            x=alt.X("begin_s:Q", title="time since the request (s)"),
            x2="end_s:Q",
            y=alt.Y("lane:N", title=None),
            color=alt.Color(
                "phase:N",
                title=None,
                scale=alt.Scale(domain=used, range=[PHASES[name] for name in used]),
                legend=alt.Legend(orient="bottom", columns=3),
            ),
            tooltip=[
                "phase:N",
                "what:N",
                alt.Tooltip("begin_s:Q", title="from (s)", format=".3f"),
                alt.Tooltip("end_s:Q", title="to (s)", format=".3f"),
            ],
        )
    )

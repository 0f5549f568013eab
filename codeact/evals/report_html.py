"""The report as one HTML file: figures, and every transcript behind a click. It loads nothing and runs no script."""

import time
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from codeact.evals.record import Attempt, Plan, Step, by_task
from codeact.evals.report import Row, by_failure, by_tag, rows
from codeact.evals.statistics import share

__all__ = ["html_report"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c1f23;--dim:#5d6570;--line:#d9dde3;--soft:#f5f6f8;--good:#14713a}
:root{--bad:#b3261e}
@media(prefers-color-scheme:dark){
:root{--bg:#16181c;--fg:#e6e8eb;--dim:#9aa3ad;--line:#343a42;--soft:#1f2328;--good:#5cc98a;--bad:#ff8a80}
}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1.5rem;background:var(--bg);color:var(--fg)}
body{font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{margin:.3rem 0;color:var(--dim)}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:.3rem .8rem .3rem 0;text-align:right;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}
th{font-weight:600;color:var(--dim)}
details{border:1px solid var(--line);border-radius:.4rem;margin:.4rem 0;background:var(--bg)}
details details{margin:.4rem .6rem}
summary{padding:.4rem .7rem;cursor:pointer;overflow-wrap:anywhere}
.good{color:var(--good)}
.bad{color:var(--bad)}
.dim{color:var(--dim)}
.step{padding:.2rem .9rem .5rem}
.kind{font-size:.8rem;color:var(--dim)}
pre{margin:.2rem 0;padding:.5rem .7rem;background:var(--soft);border-radius:.3rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;max-height:30rem;overflow:auto}
pre{font:13px/1.45 ui-monospace,monospace}
img{max-width:100%;background:#fff}
"""
MOST_NAMED = 20
"""How many tasks a line names."""
_HEAD = (
    "",
    "solved",
    "of",
    "share",
    "95 %",
    "score",
    "blocks",
    "calls",
    "tokens in",
    "cached",
    "tokens out",
    "cost",
    "time",
    "sandbox",
    "first token",
    "code",
    "first output",
)


def html_report(plan: Plan, attempts: Sequence[Attempt]) -> Iterator[str]:
    """Yields the file's text in pieces. All text of models and tasks is escaped."""
    yield (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(plan.suite)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body>'
    )
    yield f"<h1>Evaluation: {escape(plan.suite)}</h1>"
    yield from (f"<p>{escape(line)}</p>" for line in _facts(plan, attempts))
    if plan.stopped:
        yield f'<p class="bad">Stopped by {escape(plan.stopped)}.</p>'
    setups = rows(attempts)
    yield from _table("Setups", setups)
    yield from _failures(setups, [kind for kind, _ in by_failure(attempts)])
    yield from _table("Tags", by_tag(attempts))
    yield "<h2>Tasks</h2>"
    for task, those in by_task(attempts).items():
        solved = share(those)
        state = "good" if solved.passed == solved.total else "bad" if not solved.passed else "dim"
        yield f'<details><summary><span class="{state}">{solved.passed}/{solved.total}</span> {escape(task)}</summary>'
        for attempt in those:
            yield from _attempt(attempt)
        yield "</details>"
    yield "</body></html>\n"


def _facts(plan: Plan, attempts: Sequence[Attempt]) -> Iterator[str]:
    begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(plan.started_at))
    seed = "" if plan.seed is None else f", seed {plan.seed}"
    yield (
        f"{len(attempts)} of {plan.size} attempts, {plan.repeat} at each task{seed}."
        f" Begun {begun}, codeact {plan.version}, sandboxes: {plan.sandbox}."
    )
    if retries := sum(attempt.attempts_before for attempt in attempts):
        yield f"The infrastructure spoilt {retries} further attempts, which were made again."
    for label, tasks in plan.not_asked.items():
        yield f"{label} was not asked {len(tasks)} of the tasks, which do not suit it: {', '.join(tasks[:MOST_NAMED])}."


def _failures(setups: Sequence[Row], kinds: Sequence[str]) -> Iterator[str]:
    """A table of the failures: a row for each kind, a column for each setup."""
    if not kinds:
        return
    heads = "".join(f"<th>{escape(row.name)}" for row in setups)
    yield f"<h2>Failures</h2><div class=wide><table><tr><th>kind{heads}</tr>"
    for kind in kinds:
        cells = "".join(f"<td>{row.failures.get(kind, 0)}" for row in setups)
        yield f"<tr><td>{escape(kind)}{cells}</tr>"
    yield "</table></div>"


def _table(title: str, found: Iterable[Row]) -> Iterator[str]:
    listed = list(found)
    if not listed:
        return
    heads = "".join(f"<th>{head}" for head in _HEAD)
    yield f"<h2>{title}</h2><div class=wide><table><tr>{heads}</tr>"
    for row in listed:
        low, high = row.share.bounds
        cells = (
            escape(row.name),
            str(row.share.passed),
            str(row.share.total),
            f"{row.share.value:.0%}",
            f"{low:.0%} to {high:.0%}",
            _figure(row.score, ".2f"),
            _figure(row.blocks, ".1f"),
            _figure(row.calls, ".1f"),
            f"{row.input_tokens:,}",
            f"{row.cached_tokens:,}",
            f"{row.output_tokens:,}",
            _figure(row.cost_usd, ".4f", " USD"),
            _figure(row.total_s, ".2f", " s"),
            _figure(row.sandbox_wait_s, ".2f", " s"),
            _figure(row.first_token_s, ".2f", " s"),
            _figure(row.code_detected_s, ".2f", " s"),
            _figure(row.first_output_s, ".2f", " s"),
        )
        yield "<tr>" + "".join(f"<td>{cell}" for cell in cells) + "</tr>"
    yield "</table></div>"


def _figure(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"


def _attempt(attempt: Attempt) -> Iterator[str]:
    label = attempt.setup.label + (f", repetition {attempt.repeat + 1}" if attempt.repeat else "")
    state = (
        '<span class="good">solved</span>'
        if attempt.passed
        else f'<span class="bad">{escape(attempt.failure or "")}</span>'
    )
    cost = f"<span class=dim>{attempt.total_s:.1f} s, {attempt.tokens:,} tokens</span>"
    yield f"<details><summary>{state} {escape(label)} {cost}</summary>"
    if attempt.reason:
        yield f'<div class="step"><p class="bad">{escape(attempt.reason)}</p></div>'
    for step in attempt.transcript:
        yield _step(step)
    yield "</details>"


def _step(step: Step) -> str:
    kind = f'<div class="kind{" bad" if step.failed else ""}">{escape(step.kind)}</div>'
    text = f"<pre>{escape(step.text)}</pre>" if step.text else ""
    output = f"<pre>{escape(step.output)}</pre>" if step.output else ""
    images = "".join(f'<img alt="" src="{escape(url)}">' for url in step.images if url.startswith("data:image/"))
    return f'<div class="step">{kind}{text}{output}{images}</div>'

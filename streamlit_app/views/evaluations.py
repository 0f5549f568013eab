"""The page Evaluations: runs of `codeact eval`, their figures, what changed between two, and every transcript."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from codeact.dashboard.drawing.figures import count, dollars, moment, percent, seconds
from codeact.dashboard.drawing.markup import plain, revealed, visible
from codeact.dashboard.evaluations import Run, folder, runs
from codeact.dashboard.frame import empty, title
from codeact.evals.record import Attempt, Step, by_task
from codeact.evals.report import Row, by_tag, rows
from codeact.evals.statistics import difference, share

NAME_CHARS = 120
SHOWN_NAMES = 20

title("Evaluations", "Runs of `codeact eval` in the data directory. Times are UTC.")


def overview(found: Sequence[Run]) -> None:
    listed = [
        {
            "run": visible(run.name, NAME_CHARS),
            "begun": moment(run.plan.started_at),
            "setups": ", ".join(visible(setup.label, NAME_CHARS) for setup in run.plan.setups[:SHOWN_NAMES]),
            "attempts": f"{len(run.attempts)} of {run.plan.size}",
            "solved": percent(sum(one.passed for one in run.attempts), len(run.attempts)),
            "tokens": count(sum(one.tokens for one in run.attempts)),
            "cost": dollars(sum(one.cost_usd or 0.0 for one in run.attempts)),
        }
        for run in found
    ]
    st.dataframe(pd.DataFrame(listed), hide_index=True)


def trend(found: Sequence[Run], suite: str) -> None:
    """The share of solved attempts of each setup, over all runs of one suite."""
    points = [
        {
            "begun": pd.Timestamp(run.plan.started_at, unit="s"),
            "setup": visible(row.name, NAME_CHARS),
            "solved": row.share.value,
        }
        for run in found
        if run.plan.suite == suite
        for row in rows(run.attempts)
    ]
    if len({point["begun"] for point in points}) > 1:
        st.subheader(f"Share solved over time: {plain(suite, NAME_CHARS)}", anchor=False)
        st.line_chart(pd.DataFrame(points), x="begun", y="solved", color="setup")


def figures(name: str, found: Sequence[Row]) -> None:
    table = [
        {
            name: visible(row.name, NAME_CHARS),
            "solved": f"{row.share.passed} of {row.share.total}",
            "95 %": "{:.0%} to {:.0%}".format(*row.share.bounds),
            "blocks": None if row.blocks is None else round(row.blocks, 1),
            "tokens in": count(row.input_tokens),
            "cached": count(row.cached_tokens),
            "tokens out": count(row.output_tokens),
            "cost": "–" if row.cost_usd is None else dollars(row.cost_usd),
            "time": seconds(row.total_s),
            "sandbox": seconds(row.sandbox_wait_s),
            "first token": seconds(row.first_token_s),
            "code": seconds(row.code_detected_s),
            "first output": seconds(row.first_output_s),
        }
        for row in found
    ]
    st.dataframe(pd.DataFrame(table), hide_index=True)


def compared(found: Sequence[Run], run: Run) -> None:
    others = [other for other in found if other.plan.suite == run.plan.suite and other.name != run.name]
    if not others:
        return
    names = [other.name for other in others]
    chosen = st.selectbox("Compared to", names, index=None, placeholder="another run of this suite", key="other")
    if chosen is None:
        return
    before = others[names.index(chosen)]
    changed = difference(before.attempts, run.attempts)
    first, second = changed.first, changed.second
    meaning = "This may be chance" if changed.is_noise else "This is more than chance"
    st.markdown(
        f"{first.passed} of {first.total} before, {second.passed} of {second.total} now."
        f" {meaning}: p = {changed.p:.3f}."
    )
    if changed.note:
        st.caption(plain(changed.note, 4 * NAME_CHARS))
    for word, tasks in (("Won", changed.won), ("Lost", changed.lost)):
        if tasks:
            st.markdown(f"**{word}:** {', '.join(plain(task, NAME_CHARS) for task in tasks[:SHOWN_NAMES])}")


def transcripts(run: Run) -> None:
    groups = by_task(run.attempts)
    only = st.segmented_control("Tasks", ["all", "with failures"], default="all", key="only")
    names = [task for task, those in groups.items() if only != "with failures" or share(those).passed < len(those)]
    if not names:
        st.caption("Every attempt solved its task.")
        return
    task = st.selectbox(
        "Task", names, format_func=lambda name: f"{share(groups[name]).passed}/{len(groups[name])}  {name}", key="task"
    )
    for attempt in groups[task]:
        transcript(attempt)


def transcript(attempt: Attempt) -> None:
    again = f", repetition {attempt.repeat + 1}" if attempt.repeat else ""
    end = ":green[solved]" if attempt.passed else f":red[{plain(attempt.failure or 'wrong')}]"
    label = f"{end} {plain(attempt.setup.label, NAME_CHARS)}{again}, {seconds(attempt.total_s)}"
    with st.expander(label, expanded=not attempt.passed):
        if attempt.reason:
            st.text(revealed(attempt.reason))
        for step in attempt.transcript:
            show(step)


def show(step: Step) -> None:
    st.caption(plain(step.kind) + (" (failed)" if step.failed else ""))
    if step.kind == "code":
        st.code(revealed(step.text), language="python")
    else:
        st.text(revealed(step.text))
    if step.output:
        st.code(revealed(step.output), language=None)
    for url in step.images:
        if url.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")):
            st.image(url)


found = runs()
if not found:
    empty("No evaluations yet.", f"`codeact eval codeact --model NAME` puts one into `{folder()}`.")
    st.stop()
overview(found)
names = [one.name for one in found]
name = st.selectbox("Run", names, key="run", bind="query-params")
run = found[names.index(name)]
if run.plan.stopped:
    st.warning(f"Stopped by {plain(run.plan.stopped)}.")
setups = rows(run.attempts)
figures("setup", setups)
if tagged := by_tag(run.attempts):
    figures("tag", tagged)
for row in setups[:SHOWN_NAMES]:
    if row.failures:
        kinds = ", ".join(f"{number} {plain(kind)}" for kind, number in row.failures.items())
        st.markdown(f"Failures of {plain(row.name, NAME_CHARS)}: {kinds}")
trend(found, run.plan.suite)
compared(found, run)
st.subheader("Transcripts", anchor=False)
transcripts(run)

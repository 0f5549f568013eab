"""The pure parts: tables in HTML, figures with units, phases of an answer."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("streamlit", reason="make install-dashboard")

from codeact import events as e
from codeact.dashboard import ranges
from codeact.dashboard.drawing import charts, colours, figures, timeline
from codeact.dashboard.drawing.tables import read_table
from codeact.dashboard.drawing.timeline import phases
from codeact.dashboard.replay import Recorded, at_moment
from codeact.store import StoredResponse
from codeact.store.repositories.periods import Period
from sandbox_pool.outputs import ExecutionResult


def test_a_dataframes_markup_becomes_rows_of_text() -> None:
    html = "<div><style>p{}</style><table border=1><thead><tr><th></th><th>a</th><th>a</th></tr></thead>"
    html += "<tbody><tr><th>0</th><td>1 &lt; 2</td><td><b>x</b></td></tr></tbody></table></div>"
    assert read_table(html) == (["", "a", "a (2)"], [["0", "1 < 2", "x"]])


def test_the_name_of_an_index_stands_over_it() -> None:
    head = "<thead><tr><th></th><th>sum</th></tr><tr><th>region</th><th></th></tr></thead>"
    assert read_table(f"<table>{head}<tbody><tr><th>North</th><td>5</td></tr></tbody></table>") == (
        ["region", "sum"],
        [["North", "5"]],
    )


@pytest.mark.parametrize(
    "html",
    [
        "<p>no table</p>",
        "<table><tr><th>a</th></tr></table>",
        "<table><tr><th colspan=2>a</th></tr><tr><td>1</td><td>2</td></tr></table>",
        "<table><tr><th>a</th></tr><tr><td><img src=x></td></tr></table>",
        "<table><tr><th>a</th></tr><tr><td>1</td></tr></table><table></table>",
        "<td>a</td>",
    ],
)
def test_what_is_more_than_a_plain_table_is_none(html: str) -> None:
    assert read_table(html) is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0 ms"), (0.0004, "0.4 ms"), (0.042, "42 ms"), (3.14159, "3.14 s"), (200, "3 min 20 s")],
)
def test_seconds_have_three_digits_that_matter(value: float | None, shown: str) -> None:
    assert figures.seconds(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(9_999, "9,999"), (12_345, "12.3 k"), (7_890_000, "7.89 M")])
def test_counts_are_short(value: float, shown: str) -> None:
    assert figures.count(value) == shown


def periods() -> Iterator[Period]:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    for length in ranges.LENGTHS.values():
        yield ranges.rounded(length, None, now)


def test_charts_are_what_their_schema_allows() -> None:
    """The dashboard skips this validation, for speed."""
    for period in periods():
        rows = [{"start": start, "runs": 2, "name": name} for start in period.starts() for name in "abcdefghi"]
        few = charts.summed(rows, "runs", "name")
        assert {row["name"] for row in few} == {*"abcdefg", charts.OTHERS}
        charts.stacked(few, period, value="runs", unit="count", colour="name").to_dict()
        charts.lines(rows, period, value="runs", unit="s", colour="name", palette={"a": "#fff", "b": "#000"}).to_dict()
    charts.moments(rows, value="runs", colour="name", palette=colours.POOL).to_dict()
    charts.bars(rows, value="runs", name="name", sort=["b", "a"]).to_dict()
    timeline.chart(phases(answered())).to_dict()


def test_periods_begin_with_a_whole_bar_and_end_about_now() -> None:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    for period, length in zip(periods(), ranges.LENGTHS.values(), strict=True):
        assert period.since == period.start_of(period.since)
        assert now < period.until <= now + timedelta(minutes=1)
        assert length <= period.until - period.since < length + timedelta(seconds=period.bin_s)


def answered() -> e.Response:
    made = f"{1_700_000_000_000:012x}"
    response = e.Response(id=f"resp_{made}", created_at=1.7e9, model="m")
    response.ledger = e.Ledger(sandbox_wait_s=0.1, first_token_s=0.2, total_s=3.0)
    call = e.CodeInterpreterCall(id=f"ci_{1_700_000_000_200:012x}", container_id="c", code="1/0", started_s=1.0)
    call.result = ExecutionResult(status="error", duration_s=0.5)
    response.output = [call, e.Message(id=f"msg_{1_700_000_002_000:012x}", content=[e.OutputText("Oh.")])]
    return response


def test_phases_tell_where_the_time_of_an_answer_went() -> None:
    found = [(one.phase, round(one.begin_s, 3), round(one.end_s, 3)) for one in phases(answered())]
    assert found == [
        ("waiting for the sandbox", 0.0, 0.1),
        ("waiting for the model", 0.0, 0.2),
        ("writing code", 0.2, 1.0),
        ("code that failed", 1.0, 1.5),
        ("waiting for the model", 1.5, 2.0),
        ("writing", 2.0, 3.0),
    ]


def test_a_moment_holds_what_had_happened_by_then() -> None:
    message = e.Message(id="msg_1", content=[])
    frames = [
        e.encode(event).decode()
        for event in (
            e.OutputItemAdded(output_index=0, item=message),
            e.ContentPartAdded(item_id="msg_1", output_index=0, part=e.OutputText("")),
            e.OutputTextDelta(item_id="msg_1", output_index=0, delta="Hello"),
        )
    ]
    recorded = [Recorded(StoredResponse(answered(), []), frames)] * 2
    assert at_moment(recorded, 0) == []
    [(_, _, ended), (_, replay, still)] = at_moment(recorded, 5)
    assert (ended, still) == (True, False)
    assert replay.output == [e.Message(id="msg_1", content=[e.OutputText("")])]

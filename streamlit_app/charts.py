"""Charts with units: rows of plain values enter, Altair charts leave. Times are UTC."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import altair as alt
import streamlit as st

from codeact.store.periods import Period

__all__ = ["bars", "lines", "moments", "show", "stacked", "summed"]

Rows = Sequence[Mapping[str, Any]]
HEIGHT = 320
MOST_NAMES = 12
OTHERS = "others"
SECONDS = alt.Axis(format="%H:%M:%S", tickCount=6, labelOverlap=True)


def show(chart: alt.Chart | alt.LayerChart) -> None:
    st.altair_chart(chart, width="stretch")


def stacked(
    rows: Rows, period: Period, *, value: str, unit: str, colour: str, palette: Mapping[str, str] | None = None
) -> alt.Chart:
    """Bars over time, one on the other; each row has `start`, the value and the name that colours it."""
    names = list(palette) if palette else list(dict.fromkeys(row[colour] for row in rows))
    scale = alt.Scale(domain=names, range=list(palette.values())) if palette else alt.Scale(domain=names)
    return (
        alt.Chart(_data(_piled(rows, period, value, colour, names)), height=HEIGHT)
        .mark_rect()
        .encode(
            x=_time(period),
            x2="end:T",
            y=alt.Y("from:Q", title=f"{value} ({unit})", axis=alt.Axis(format=_format(unit), tickCount=5)),
            y2="to:Q",
            color=alt.Color(f"{colour}:N", title=None, scale=scale, legend=_legend(names)),
            tooltip=[_start(), alt.Tooltip(f"{colour}:N"), alt.Tooltip(f"{value}:Q", title=f"{value} ({unit})")],
        )
    )


def lines(rows: Rows, period: Period, *, value: str, unit: str, colour: str, palette: Mapping[str, str]) -> alt.Chart:
    """Lines with points over time; each row has `start`, the value and the name that colours it."""
    return (
        alt.Chart(_data(rows), height=HEIGHT)
        .mark_line(point=alt.OverlayMarkDef(size=18))
        .encode(
            x=_time(period),
            y=alt.Y(f"{value}:Q", title=f"{value} ({unit})", scale=alt.Scale(zero=True)),
            color=alt.Color(
                f"{colour}:N",
                title=None,
                scale=alt.Scale(domain=list(palette), range=list(palette.values())),
                legend=_legend(palette),
            ),
            tooltip=[_start(), f"{colour}:N", alt.Tooltip(f"{value}:Q", title=f"{value} ({unit})", format=".3~s")],
        )
    )


def moments(rows: Rows, *, value: str, unit: str, colour: str, palette: Mapping[str, str]) -> alt.Chart:
    """Steps over the last minutes; each row has `start`, the value and the name that colours it."""
    return (
        alt.Chart(_data(rows), height=HEIGHT)
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("start:T", title="time (UTC)", scale=alt.Scale(type="utc"), axis=SECONDS),
            y=alt.Y(f"{value}:Q", title=f"{value} ({unit})", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color(
                f"{colour}:N",
                title=None,
                scale=alt.Scale(domain=list(palette), range=list(palette.values())),
                legend=_legend(palette),
            ),
        )
    )


def bars(rows: Rows, *, value: str, unit: str, name: str, colour: str = "#4c7fe0") -> alt.Chart:
    """Horizontal bars, the longest first."""
    return (
        alt.Chart(_data(rows), height=alt.Step(26))
        .mark_bar(color=colour, cornerRadiusEnd=3)
        .encode(
            x=alt.X(f"{value}:Q", title=f"{value} ({unit})", axis=alt.Axis(format="~s", tickMinStep=1)),
            y=alt.Y(f"{name}:N", title=None, sort="-x", axis=alt.Axis(labelLimit=220)),
            tooltip=[f"{name}:N", alt.Tooltip(f"{value}:Q", title=f"{value} ({unit})")],
        )
    )


def summed(rows: Rows, value: str, colour: str) -> list[dict[str, Any]]:
    """One row for each bin and name. Of many names the twelve largest stay, the others become one."""
    totals: Counter[str] = Counter()
    for row in rows:
        totals[row[colour]] += row[value]
    named = {name for name, _ in totals.most_common(MOST_NAMES)}
    sums: Counter[tuple[Any, str]] = Counter()
    for row in rows:
        sums[row["start"], row[colour] if row[colour] in named else OTHERS] += row[value]
    return [{"start": start, colour: name, value: total} for (start, name), total in sums.items()]


def _data(rows: Rows) -> alt.Data:
    return alt.Data(values=[{name: _plain(value) for name, value in row.items()} for row in rows])


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _piled(rows: Rows, period: Period, value: str, colour: str, names: Sequence[str]) -> Rows:
    """With where each part of a bar begins and ends, in both directions; a bar ends a little before the next one."""
    width = timedelta(seconds=period.bin_s * 0.9)
    tops: Counter[Any] = Counter()
    piled = []
    for row in sorted(rows, key=lambda row: names.index(row[colour])):
        low = tops[row["start"]]
        tops[row["start"]] += row[value]
        piled.append({**row, "end": row["start"] + width, "from": low, "to": tops[row["start"]]})
    return piled


def _time(period: Period) -> alt.X:
    domain = [_plain(period.start_of(period.since)), _plain(period.until)]
    within_days = period.until - period.since <= timedelta(days=2)
    axis = alt.Axis(format="%H:%M" if within_days else "%b %d", tickCount=6 if within_days else 7, labelOverlap=True)
    return alt.X("start:T", title="time (UTC)", scale=alt.Scale(type="utc", domain=domain), axis=axis)


def _format(unit: str) -> str:
    """Of numbers on an axis (d3-format): thousands with a letter, money as it is."""
    return "~s" if unit == "count" else "~g"


def _legend(names: Iterable[str]) -> alt.Legend:
    """As many columns as fit into half of a page."""
    return alt.Legend(orient="top", columns=2 if max(map(len, names), default=0) > 12 else 3, labelLimit=160)


def _start() -> alt.Tooltip:
    return alt.Tooltip("start:T", title="from (UTC)", format="%Y-%m-%d %H:%M", timeUnit="utcyearmonthdatehoursminutes")

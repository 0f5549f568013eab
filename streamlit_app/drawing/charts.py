"""Draws charts of plain values with Altair, with units. Times are UTC."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import altair as alt
import streamlit as st
from altair.utils import schemapi

from codeact.dashboard.drawing.colours import BLUE
from codeact.dashboard.drawing.markup import visible
from codeact.store.repositories.periods import Period

__all__ = ["bars", "lines", "moments", "show", "stacked", "summed"]

# Altair validates each part of a chart while it is built: 80 ms per chart, four fifths of a page's time. A test
# validates each kind of chart instead.
schemapi.disable_debug_mode()

Rows = Sequence[Mapping[str, Any]]
HEIGHT = 300
MOST_NAMES = 7
"""There are this many distinguishable colours, besides the one for the others."""
OTHERS = "others"
SECONDS = alt.Axis(format="%H:%M:%S", tickCount=6, labelOverlap=True)
DASHES = [[1, 0], [6, 3], [2, 2]]


def show(chart: alt.Chart | alt.LayerChart) -> None:
    spec = chart.to_dict(validate=False)
    spec.pop("config", None)  # Altair's own theme; Streamlit's is used instead.
    st.vega_lite_chart(spec, width="stretch")


def stacked(
    rows: Rows, period: Period, *, value: str, unit: str, colour: str, palette: Mapping[str, str] | None = None
) -> alt.Chart:
    """Stacked bars over time. Each row has `start`, the value and the name that determines its colour."""
    names = list(palette) if palette else list(dict.fromkeys(row[colour] for row in rows))
    return (
        alt.Chart(_data(_piled(rows, period, value, colour, names)), height=HEIGHT)
        .mark_rect()
        .encode(
            x=_time(period),
            x2="end:T",
            y=alt.Y("from:Q", title=_axis(value, unit), axis=alt.Axis(format=_format(unit), tickCount=5)),
            y2="to:Q",
            color=_coloured(colour, palette, names),
            tooltip=[_start(), _name(colour), _number(value, unit)],
        )
    )


def lines(rows: Rows, period: Period, *, value: str, unit: str, colour: str, palette: Mapping[str, str]) -> alt.Chart:
    """Lines with points over time. Each row has `start`, the value and the name that determines its colour.

    Each name also has its own dash pattern, so there can be at most three.
    """
    dashes = alt.Scale(domain=list(palette), range=DASHES)
    return (
        alt.Chart(_data(rows), height=HEIGHT)
        .mark_line(point=alt.OverlayMarkDef(size=18))
        .encode(
            x=_time(period),
            y=alt.Y(f"{value}:Q", title=_axis(value, unit), scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5)),
            color=_coloured(colour, palette, palette),
            strokeDash=alt.StrokeDash(f"{colour}:N", title=None, scale=dashes, legend=None),
            tooltip=[_start(), _name(colour), _number(value, unit)],
        )
    )


def moments(rows: Rows, *, value: str, colour: str, palette: Mapping[str, str]) -> alt.Chart:
    """Steps over the last minutes. Each row has `start`, the value and the name that determines its colour."""
    return (
        alt.Chart(_data(rows), height=HEIGHT)
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("start:T", title="time (UTC)", scale=alt.Scale(type="utc"), axis=SECONDS),
            y=alt.Y(f"{value}:Q", title=_axis(value, "count"), axis=alt.Axis(tickMinStep=1)),
            color=_coloured(colour, palette, palette),
        )
    )


def bars(rows: Rows, *, value: str, name: str, colour: str = BLUE, sort: Sequence[str] | None = None) -> alt.Chart:
    """Horizontal bars, the longest first unless `sort` gives another order."""
    return (
        alt.Chart(_data(rows), height=alt.Step(26))
        .mark_bar(color=colour, cornerRadiusEnd=3)
        .encode(
            x=alt.X(f"{value}:Q", title=_axis(value, "count"), axis=alt.Axis(format="~s", tickMinStep=1, tickCount=4)),
            y=alt.Y(f"{name}:N", title=None, sort=sort or "-x", axis=alt.Axis(labelLimit=130)),
            tooltip=[_name(name), _number(value, "count")],
        )
    )


def summed(rows: Rows, value: str, colour: str) -> list[dict[str, Any]]:
    """Sums the values per bin and name.

    The names with the largest sums stay; the others are combined as the last name.
    """
    totals: Counter[str] = Counter()
    for row in rows:
        totals[row[colour]] += row[value]
    named = [name for name, _ in totals.most_common(MOST_NAMES)]
    sums: Counter[tuple[Any, str]] = Counter()
    for row in rows:
        sums[row["start"], row[colour] if row[colour] in named else OTHERS] += row[value]
    order = {name: place for place, name in enumerate(named)}
    found = sorted(sums.items(), key=lambda item: order.get(item[0][1], MOST_NAMES))
    return [{"start": start, colour: name, value: total} for (start, name), total in found]


def _data(rows: Rows) -> alt.Data:
    return alt.Data(values=[{name: _plain(value) for name, value in row.items()} for row in rows])


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _piled(rows: Rows, period: Period, value: str, colour: str, names: Sequence[str]) -> Rows:
    """Adds the beginning and end of each part of a bar, in both directions.

    A bar ends shortly before the next one begins.
    """
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


def _axis(value: str, unit: str) -> str:
    """The title of an axis: the quantity and its unit, except for counts."""
    return value if unit == "count" else f"{value} ({unit})"


def _format(unit: str) -> str:
    """The number format of an axis (d3-format): thousands with a letter, money in full."""
    return "~s" if unit == "count" else "~g"


def _number(value: str, unit: str) -> alt.Tooltip:
    return alt.Tooltip(f"{value}:Q", title=_axis(value, unit), format="," if unit == "count" else ",.4~g")


def _name(colour: str) -> alt.Tooltip:
    return alt.Tooltip(f"{colour}:N")


def _coloured(colour: str, palette: Mapping[str, str] | None, names: Iterable[str]) -> alt.Color:
    """The colour of each name, with a legend in as many columns as fit into half a page."""
    shown = [visible(name) for name in names]
    scale = alt.Scale(domain=shown, range=list(palette.values())) if palette else alt.Scale(domain=shown)
    columns = 2 if max(map(len, shown), default=0) > 9 else 3
    legend = alt.Legend(orient="top", columns=columns, labelLimit=125, columnPadding=6, symbolDash=[1, 0])
    return alt.Color(f"{colour}:N", title=None, scale=scale, legend=legend)


def _start() -> alt.Tooltip:
    return alt.Tooltip("start:T", title="from (UTC)", format="%Y-%m-%d %H:%M", timeUnit="utcyearmonthdatehoursminutes")

"""Formats seconds, dollars, counts and times as short texts with units. Pure."""

from datetime import UTC, datetime

__all__ = ["ago", "count", "dollars", "moment", "percent", "seconds"]


def seconds(value: float | None) -> str:
    """Three significant digits: `8 ms`, `0.42 s`, `12.3 s`, `3 min 20 s`."""
    if value is None:
        return "–"
    if value < 0.1:
        return f"{value * 1000:.0f} ms" if value >= 0.001 or value == 0 else f"{value * 1000:.1f} ms"
    if value < 10:
        return f"{value:.2f} s"
    if value < 100:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def dollars(value: float | None) -> str:
    if value is None:
        return "–"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def count(value: float | None) -> str:
    """`1,234`, `45.6 k`, `7.89 M`."""
    if value is None:
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{value:,.0f}"


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def moment(time: datetime | float | None) -> str:
    """The time in UTC, like all times of the dashboard."""
    if time is None:
        return "–"
    if not isinstance(time, datetime):
        time = datetime.fromtimestamp(time, UTC)
    return f"{time:%Y-%m-%d %H:%M:%S}"


def ago(time: datetime) -> str:
    return seconds(max(0.0, (datetime.now(UTC) - time).total_seconds()))

"""Draws the charts of docs/scaling.md from `benchmarks/results/load.json`: `python -m benchmarks.charts`."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.scaling import curve

__all__ = ["bars", "lines"]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "load.json"
WIDTH, LEFT, RIGHT, ROW = 720, 250, 90, 30
PLOT_HEIGHT, MARGIN = 260, 48
COLOURS = ("#3b6fd4", "#d4643b")
STYLE = "<style>text{font:13px sans-serif;fill:#777}.bar{fill:#3b6fd4}.axis{stroke:#999}</style>"


def bars(title: str, rows: Sequence[tuple[str, float]], unit: str) -> str:
    """A chart with a bar for each row, as SVG."""
    most = max(value for _, value in rows) or 1.0
    height = 40 + ROW * len(rows)
    parts = [f'<text x="8" y="20">{escape(title)}</text>']
    for number, (name, value) in enumerate(rows):
        y = 34 + ROW * number
        width = max(1.0, (WIDTH - LEFT - RIGHT) * value / most)
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="bar" x="{LEFT}" y="{y}" width="{width:.1f}" height="20"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{y + 15}">{value:g} {escape(unit)}</text>',
        ]
    return _svg(title, height, parts)


def lines(title: str, x_name: str, series: dict[str, Sequence[tuple[float, float]]]) -> str:
    """A chart with a line for each series, whose values are shares from 0 to 1, as SVG."""
    most = max(x for points in series.values() for x, _ in points)

    def at(x: float, y: float) -> str:
        return f"{MARGIN + (WIDTH - 2 * MARGIN) * x / most:.1f},{PLOT_HEIGHT - (PLOT_HEIGHT - 60) * min(y, 1.0):.1f}"

    parts = [f'<text x="8" y="20">{escape(title)}</text>']
    parts.append(f'<polyline class="axis" fill="none" points="{at(0, 1)} {at(0, 0)} {at(most, 0)}"/>')
    for share in (0.0, 0.5, 1.0):
        x, y = at(0, share).split(",")
        parts.append(f'<text x="{float(x) - 6}" y="{float(y) + 4}" text-anchor="end">{share:.0%}</text>')
    for x_value in (0, most / 2, most):
        x, y = at(x_value, 0).split(",")
        parts.append(f'<text x="{x}" y="{float(y) + 18}" text-anchor="middle">{x_value:,.0f}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{PLOT_HEIGHT + 36}" text-anchor="middle">{escape(x_name)}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(at(x, y) for x, y in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        parts.append(f'<text x="{MARGIN + 12}" y="{44 + 18 * number}" style="fill:{colour}">{escape(name)}</text>')
    return _svg(title, PLOT_HEIGHT + 48, parts)


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", STYLE, *parts, "</svg>", ""])


def main() -> None:
    """Writes the charts into docs/images."""
    found = json.loads(RESULTS.read_text())
    images = ROOT / "docs" / "images"
    delays = [(one["name"], one["token_p99_ms"]) for one in found["streams"]]
    (images / "scaling-delays.svg").write_text(bars("A token's way, p99", delays, "ms"))
    points = curve(found["costs"])
    late = [(number, late_ms / 100) for number, late_ms, _ in points]
    busy = [(number, share) for number, _, share in points]
    title = "One server process, simulated"
    series = {"processor busy": busy, "99th wait for the processor, of 100 ms": late}
    (images / "scaling-process.svg").write_text(lines(title, "conversations in use", series))


if __name__ == "__main__":
    main()

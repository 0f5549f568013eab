"""The colours of charts: distinguishable for everyone, on light and dark backgrounds."""

import itertools
import math
import operator
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from codeact.dashboard.drawing import colours

# Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision Deficiency (2009).
SIGHTS = {
    "trichromat": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanope": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranope": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanope": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
THEME = tomllib.loads((Path(colours.__file__).parents[1] / ".streamlit" / "config.toml").read_text())["theme"]
PALETTES = [
    colours.STATUSES,
    colours.PERCENTILES,
    colours.FAILURE_COLOURS,
    colours.POOL,
    colours.KINDS,
    colours.PHASES,
    {colour: colour for colour in THEME["chartCategoricalColors"]},
]


def linear(colour: str) -> list[float]:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def luminance(rgb: Sequence[float]) -> float:
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def lab(rgb: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = rgb
    x, z = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, luminance(rgb), z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_of_a_chart_can_be_told_apart_by_everybody(palette: dict[str, str], sight: str) -> None:
    def seen(colour: str) -> tuple[float, float, float]:
        parts = linear(colour)
        return lab([min(1, max(0, sum(map(operator.mul, row, parts)))) for row in SIGHTS[sight]])

    for one, other in itertools.combinations(palette.values(), 2):
        assert math.dist(seen(one), seen(other)) >= 19, (one, other)


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_a_chart_stand_out_from_the_ground(palette: dict[str, str], theme: str) -> None:
    ground = luminance(linear(THEME[theme]["backgroundColor"]))
    for colour in palette.values():
        high, low = sorted((luminance(linear(colour)), ground), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 2.2, colour

"""Text that moves back to earlier lines, as a reader finally sees it."""

import time

import pytest

from codeact.observations.screen import COLUMNS, ROWS, climbed


def nested(outer: int, inner: int) -> str:
    """The output of tqdm for two loops."""
    parts = ["\router: 0"]
    for number in range(outer):
        parts += [f"\n\rinner: {step}\x1b[A" for step in range(inner)]
        parts += ["\n\r          \x1b[A", f"\router: {number + 1}"]
    return "".join([*parts, "\n"])


def test_nested_bars_end_as_one_line() -> None:
    assert climbed(nested(8, 30)).strip() == "outer: 8"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\r\x1b[32mgreen\x1b[0m\n", "plain\r\x1b[32mgreen\x1b[0m\n"),
        ("a\nb\x1b[Ac", "ac\nb"),
        ("ab\ncd\x1b[1A\rx", "xb\ncd"),
        ("a\nb\nc\x1b[2F\x1b[2Kz", "z\nb\nc"),
        ("abc\n\x1b[Ax\x1b[Ky", "xy\n"),
        ("a\n\x1b[99Ab\x1b[5Bc", "b\n c"),
        ("\x1b[31mred\x1b[0m\n\x1b[Ag", "ged\n"),
        ("ab\n\x1b[A\x1b[4Gx", "ab x\n"),
    ],
)
def test_moves_are_obeyed(text: str, shown: str) -> None:
    assert climbed(text) == shown


def test_it_climbs_a_bounded_number_of_rows() -> None:
    assert climbed("\n" * 5 * ROWS + "\x1b[9999Atop").index("top") == 4 * ROWS + 1


@pytest.mark.parametrize(
    "piece",
    [
        "\x1b[9999A\n\n",
        "x" * 50 + "\x1b[A\x1b[1K",
        f"\x1b[A\x1b[{COLUMNS}Gx\x1b[1K",
        "\x1b[A\x1b[9999Gx\x1b[E",
        "\x1b[A\x1b[",
    ],
)
def test_the_time_grows_with_the_text_alone(piece: str) -> None:
    def cost(count: int) -> float:
        text = piece * count
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            climbed(text)
            best = min(best, time.process_time() - began)
        return best

    assert cost(8_000) < 2.5 * cost(4_000) + 0.02

"""Drawing outputs for operators is linear, too: twice the output costs at most 2.5 times the CPU."""

import logging
from collections.abc import Callable, Iterator

import msgspec
import pytest

pytest.importorskip("streamlit", reason="make install-dashboard")

from codeact.dashboard.drawing.outputs import draw
from sandbox_pool.outputs import DisplayData, Error, Output, Stream
from tests.growth import TEXTS, growth

MOST, ATTEMPTS = 2.5, 3
MIMES = ("text/html", "text/latex", "text/markdown", "text/plain", "image/svg+xml", "image/png")


def in_json(text: str) -> Output:
    return DisplayData({"application/json": msgspec.Raw(msgspec.json.encode(text))}, {})


def shown_as(mime: str) -> Callable[[str], Output]:
    return lambda text: DisplayData({mime: text}, {})


KINDS: dict[str, Callable[[str], Output]] = {
    "stdout": lambda text: Stream("stdout", text),
    "error": lambda text: Error(text, text, [text]),
    "application/json": in_json,
    **{mime: shown_as(mime) for mime in MIMES},
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Hides Streamlit's warnings at each element, because there is no page."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("kind", KINDS)
def test_twice_the_output_is_drawn_in_at_most_two_and_a_half_times_the_time(kind: str) -> None:
    grown = dict(TEXTS)
    for _ in range(ATTEMPTS):
        grown = {
            name: make
            for name, make in grown.items()
            if growth(lambda text: draw([KINDS[kind](text)], ""), make) > MOST
        }
    assert not list(grown)


def test_many_outputs_are_drawn_in_linear_time() -> None:
    assert growth(lambda count: draw([Error("E", "v", [])] * len(count), ""), lambda n: "x" * (n // 20)) <= MOST

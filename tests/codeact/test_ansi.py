"""One set of patterns removes escape sequences everywhere."""

import pytest

from codeact.ansi import SGR, without_sequences


@pytest.mark.parametrize(
    "text",
    ["\x1b[31mred\x1b[0m", "\x1b[1;38;5;4mred\x1b[m", "\x1b[?25lred\x1b[?25h", "\x1b[2Kred", "\x1b[38:2::1:2:3mred"],
)
def test_colours_and_moves_are_removed(text: str) -> None:
    assert without_sequences(text) == "red"


def test_text_that_begins_no_sequence_stays() -> None:
    assert without_sequences("a[0m b\x1b") == "a[0m b\x1b"


def test_only_colours_are_colours() -> None:
    assert SGR.fullmatch("\x1b[1;31m")
    assert not SGR.fullmatch("\x1b[2K")

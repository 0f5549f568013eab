"""Raw program output made readable and bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeact.observations.plaintext import as_terminal, excerpt


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\tb\n", "a\tb\n"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "xlink"),
        ("\x1b(Bcharset\x1b7\x1b8", "charset"),
        (" 10%\r 50%\r100%\n", "100%\n"),
        ("longer\rab", "abnger"),
        ("longer\r\x1b[Kab", "ab"),
        ("longer\x1b[2K\rab", "ab"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("abc\b\bX", "aXc"),
        ("\b\b\ra", "a"),
        ("nul\x00bell\x07", "nulbell"),
        ("cut \x1b", "cut "),
    ],
)
def test_text_is_shown_as_a_terminal_would(raw: str, shown: str) -> None:
    assert as_terminal(raw) == shown


@given(st.text(alphabet=st.sampled_from("a é\n\r\b\x1b[K0m;]\x07"), max_size=60))
def test_no_control_characters_are_left(raw: str) -> None:
    assert not set(as_terminal(raw)) & set("\x1b\r\b\x07")


def test_a_short_text_is_not_cut() -> None:
    assert excerpt("\x1b[1mshort\x1b[0m", 5) == "short"


def test_a_long_text_keeps_head_and_tail_and_says_what_is_missing() -> None:
    text = "".join(f"{number}\n" for number in range(10_000))
    shown = excerpt(text, 200)
    head, marker, tail = shown.partition("\n… [")
    count, _, tail = tail.partition(" characters cut] …\n")
    assert marker
    assert text.startswith(head)
    assert text.endswith(tail)
    assert int(count.replace(",", "")) == len(text) - len(head) - len(tail)
    assert min(len(head), len(tail)) >= 75


@given(st.text(max_size=3000), st.integers(50, 400))
def test_an_excerpt_is_never_longer_than_its_size(text: str, size: int) -> None:
    assert len(excerpt(text, size)) <= size

"""Texts of others are shown literally, and load, typeset and colour nothing."""

import time

import pytest

from codeact.dashboard.drawing.markup import JOINER, plain, prose, revealed, visible


def test_a_name_is_one_line_in_which_nothing_is_hidden() -> None:
    assert visible("a\nb\x00\u202ec") == "a b⟨U+0000⟩⟨U+202E⟩c"
    assert visible("x" * 500) == "x" * 299 + "…"
    assert revealed("a\n\u202eb\u200f") == "a\n⟨U+202E⟩b\u200f"


def test_no_mark_of_a_name_means_anything() -> None:
    assert plain("**a** [b](c) $d$") == r"\*\*a\*\* \[b\]\(c\) \$d\$"


@pytest.mark.parametrize("text", ["![a](b)", "\\![a](b)", "`![a](b)`", "\\`![a](b)\\`", "```\n![a](b)", "[![a](b)](c)"])
def test_no_prose_loads_an_image_wherever_it_says_so(text: str) -> None:
    assert "![" not in prose(text)


def test_prose_has_no_directives_of_ours() -> None:
    assert prose(":red[x] :blue-badge[x] :material/home:").count(":" + JOINER) == 3
    assert prose("a[:n] {b: red}") == "a[:n] {b: red}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("$5 and $10", r"\$5 and \$10"),
        ("so $a + b$ holds", "so $a + b$ holds"),
        ("$$x$$", "$$x$$"),
        (r"\(x\) and \[ y \]", "$x$ and $$\ny\n$$"),
        ("`$HOME` costs $5", r"`$HOME` costs \$5"),
        ("```sh\necho $A $B\n```\n$5", "```sh\necho $A $B\n```\n\\$5"),
        (r"\$5", r"\$5"),
    ],
)
def test_dollars_open_formulas_and_nothing_else(text: str, shown: str) -> None:
    assert prose(text) == shown


@pytest.mark.parametrize("part", ["`", "$", "\\(", "$$ ", "``` ", "\n```", "` `` "])
def test_prose_of_any_length_is_read_in_bounded_time(part: str) -> None:
    """For searches that start again at each mark: ten times the text must not take a hundred times as long."""
    times = []
    for size in (8_000, 80_000):
        text = part * (size // len(part))
        began = time.process_time()
        prose(text)
        times.append(max(0.01, time.process_time() - began))
    assert times[1] < 50 * times[0]


def test_endless_prose_is_cut_and_says_so() -> None:
    assert prose("a" * 100_010).endswith("… 10 more characters …")

"""Markdown on a terminal: the same whether it comes at once or letter by letter, and harmless whatever it says."""

import io
import re

import pytest
from rich.console import Console

from codeact.cli.markdown import StreamedMarkdown

ERASE = re.compile(r"\x1b\[(\d+)A\r\x1b\[J")
STYLE = re.compile(r"\x1b\[[\d;]*m")
TEXT = """# Sales

The **sum** is `42`, as ~~41~~ [the report](https://example.com/r) says in a sentence that is longer than one line.

1. one
2. two

| a | b |
|---|---|
| x | 1 |

```python
print("# no heading")

print(2)
```

<b>no HTML</b> & done
"""


def drawn(*pieces: str, width: int = 60, height: int = 40, colours: bool = False) -> str:
    """What a terminal shows in the end."""
    file = io.StringIO()
    system = "standard" if colours else None
    console = Console(
        file=file, force_terminal=True, color_system=system, width=width, height=height, legacy_windows=False
    )
    text = StreamedMarkdown(console)
    for piece in pieces:
        text.feed(piece)
    text.end()
    shown: list[str] = []
    rest = file.getvalue()
    while (erase := ERASE.search(rest)) is not None:
        shown = "".join([*shown, rest[: erase.start()]]).splitlines(keepends=True)
        assert int(erase[1]) <= height
        shown = shown[: len(shown) - int(erase[1])]
        rest = rest[erase.end() :]
    return "".join([*shown, rest])


def test_markdown_is_rendered_and_words_are_wrapped() -> None:
    shown = drawn(TEXT)
    assert "**" not in shown
    assert "the report (https://example.com/r)" in " ".join(shown.split())
    assert " 1 one" in shown
    assert 'print("# no heading")' in shown
    assert "<b>no HTML</b> & done" in shown
    assert max(map(len, shown.splitlines())) <= 60


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_it_is_the_same_in_whatever_pieces_it_comes(step: int) -> None:
    pieces = [TEXT[at : at + step] for at in range(0, len(TEXT), step)]
    assert drawn(*pieces) == drawn(TEXT)


def test_a_block_that_is_higher_than_the_terminal_is_shown_whole_in_the_end() -> None:
    lines = [f"- line {number}\n" for number in range(60)]
    assert [line.strip(" •") for line in drawn(*lines, height=10).splitlines()] == [line[2:-1] for line in lines]


@pytest.mark.parametrize(
    "hostile",
    [
        "[click](javascript:alert(1)) ![x](https://tracker.example/x.png)",
        "[a](https://example.com/\u202ecod)",
        "`" * 3000,
        "[" * 5000,
        "*a_" * 2000,
        "> " * 2000 + "x",
        "- " * 500 + "x",
        "|" * 5000 + "\n" + "|-" * 2500,
        "```x\n" + "y\n" * 5000,
        "<a href='x'>" * 500,
        "&#27;]0;owned&#7;",
    ],
)
def test_hostile_markdown_draws_text_and_colours_alone(hostile: str) -> None:
    shown = drawn(hostile, colours=True)
    assert "\x1b" not in STYLE.sub("", shown)
    assert "\x07" not in shown

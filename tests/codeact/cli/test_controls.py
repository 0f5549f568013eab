"""What may reach a terminal: colours and line breaks pass; every other control sequence is removed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeact.ansi import SGR
from codeact.cli.controls import TerminalText, escaped, print_json

HOSTILE = {
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "title": "\x1b]0;you are root\x1b\\",
    "device control": "\x1bP+q544e\x1b\\",
    "cursor": "\x1b[2A\x1b[1;1H",
    "clear": "\x1b[2J",
    "screen": "\x1b[?1049h",
    "reset": "\x1bc",
    "charset": "\x1b(0",
    "bell and backspace": "\x07\x08\x7f",
    "eight bit": "\x9b\x9d",
    "lone surrogate": "\ud800",
}


def feed(*pieces: str, colours: bool = True) -> str:
    text = TerminalText(colours=colours)
    return "".join(text.feed(piece) for piece in pieces)


@pytest.mark.parametrize("sequence", HOSTILE.values(), ids=HOSTILE.keys())
def test_sequences_that_a_terminal_would_obey_are_removed_however_they_are_split(sequence: str) -> None:
    text = f"before {sequence}after"
    assert feed(text) == "before after"
    assert feed(*text) == "before after"


def test_colours_pass_only_where_they_are_wanted() -> None:
    assert feed("\x1b[1;38;5;9mred\x1b[0m") == "\x1b[1;38;5;9mred\x1b[0m"
    assert feed("\x1b[1;38;5;9mred\x1b[0m", colours=False) == "red"


def test_line_breaks_carriage_returns_and_tabs_pass() -> None:
    assert feed("a\tb\r50%\r\n") == "a\tb\r50%\r\n"


def test_a_sequence_that_never_ends_becomes_text_instead_of_holding_output_back() -> None:
    shown = feed("\x1b]0;" + "x" * 5000, "later")
    assert shown == "]0;" + "x" * 5000 + "later"


@given(st.lists(st.text(alphabet="\x1b\x07\x9b[]();?0123mHJPX\\ab\r\n")))
def test_nothing_but_colours_is_left_of_any_text(pieces: list[str]) -> None:
    shown = SGR.sub("", feed(*pieces))
    assert all(character.isprintable() or character in "\r\n" for character in shown)


@given(st.text(alphabet="\x1b\x07[]0;mHJP\\ab"), st.data())
def test_where_a_text_is_split_changes_nothing(text: str, data: st.DataObject) -> None:
    middle = data.draw(st.integers(0, len(text)))
    assert feed(text[:middle], text[middle:]) == feed(text)


def test_json_holds_nothing_that_a_terminal_would_obey_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(HOSTILE[name] for name in HOSTILE if name != "lone surrogate") + "\u202eabc\u2066\u2028"
    print_json({"a": text})
    written = capsys.readouterr().out
    assert json.loads(written) == {"a": text}
    assert written.isascii()
    assert not [each for each in written if ord(each) < 32 and each != "\n"]
    assert escaped('{"é":"ü"}') == '{"é":"ü"}'


def test_every_command_prints_json_by_the_function_that_escapes_it() -> None:
    """`json.dumps` escapes all that is not ASCII by itself; the encoders of events and of msgspec do not."""
    commands = Path(__file__).parents[3] / "codeact" / "cli"
    for path in commands.rglob("*.py"):
        if path.name != "controls.py":
            source = path.read_text("utf-8")
            assert "json.encode(" not in source, path
            assert "ensure_ascii" not in source, path

"""Pictures that code displayed: saved, and shown in terminals that can, whatever their bytes are."""

import base64
from pathlib import Path

import pytest

from codeact.cli.pictures import Picture, Pictures, protocol_of

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
HOSTILE = b"\x89PNG\r\n\x1a\n\x1b\\\x1b]52;c;cm0gLXJm\x07" * 1000


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, None),
        ({"TERM": "dumb", "TERM_PROGRAM": "iTerm.app"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
    ],
)
def test_a_terminal_is_known_by_its_environment(environment: dict[str, str], protocol: str | None) -> None:
    assert protocol_of(environment) == protocol


def test_a_picture_is_saved_once_for_its_content(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path / "pictures", {})
    picture = Picture.of({"image/png": base64.b64encode(PNG).decode(), "text/plain": "<Figure>"})
    assert picture is not None
    assert picture.size == " 1×1"
    path = pictures.save(picture)
    assert path == pictures.save(picture)
    assert path.read_bytes() == PNG
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == [path.name]
    assert (tmp_path / "pictures").stat().st_mode & 0o077 == 0
    assert pictures.shown(picture) == ""


@pytest.mark.parametrize("environment", [{"TERM": "xterm-kitty"}, {"TERM_PROGRAM": "iTerm.app"}])
def test_the_bytes_of_a_picture_cannot_end_the_sequence_that_draws_it(environment: dict[str, str]) -> None:
    shown = Pictures(Path("/nowhere"), environment).shown(Picture("image/png", HOSTILE))
    assert shown.count("\x07") <= 1
    assert "52;c" not in shown
    assert shown.count("\x1b]") <= 1
    chunks = shown.split("\x1b\\")
    assert max(map(len, chunks[:-1]), default=0) <= 4_200
    assert base64.b64encode(HOSTILE).decode()[:4000] in shown.replace("\n", "")


@pytest.mark.parametrize("value", [None, 1, ["x"], "é\ud800", "x" * 50_000_000, "="])
def test_what_is_no_picture_is_left_alone(value: object) -> None:
    picture = Picture.of({"image/png": value})
    assert picture is None or picture.size == ""

"""Pictures that code displayed: saved, and shown in terminals that can, whatever their bytes are."""

import base64
import io
import re
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from codeact.cli.pictures import Picture, Pictures, protocol_of
from codeact.cli.sixel import sixels

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
        ({"TERM": "foot-extra"}, "sixel"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "230801"}, "sixel"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "210800"}, None),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "²"}, None),
        ({"TERM_PROGRAM": "mintty"}, "sixel"),
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


def drawn(sequence: str) -> list[list[tuple[int, ...]]]:
    """The rows of pixels that a terminal draws for a sequence of sixels, as percentages of red, green and blue."""
    found = re.fullmatch(r'\x1bPq"1;1;(\d+);(\d+)((?:#\d+;2;\d+;\d+;\d+)*)([^\x1b]*)\x1b\\\n', sequence)
    assert found is not None
    width, height = int(found[1]), int(found[2])
    palette = {
        number: tuple(map(int, colour)) for number, *colour in re.findall(r"#(\d+);2;(\d+);(\d+);(\d+)", found[3])
    }
    rows: list[list[tuple[int, ...]]] = [[(-1,)] * width for _ in range(height)]
    top, left, colour = 0, 0, ""
    for kind, repeats, character in re.findall(r"(#\d+|[$-])|(?:!(\d+))?([?-~])", found[4]):
        if kind.startswith("#"):
            colour = kind[1:]
        elif kind:
            top, left = (top + 6, 0) if kind == "-" else (top, 0)
        for _ in range(int(repeats or 1) if character else 0):
            for place in range(6):
                if (ord(character) - 63) >> place & 1:
                    rows[top + place][left] = palette[colour]
            left += 1
    return rows


def test_sixels_draw_the_picture() -> None:
    picture = Image.new("RGBA", (20, 9), (255, 0, 0, 255))
    picture.paste((0, 0, 255, 255), (0, 7, 3, 9))
    picture.paste((0, 0, 0, 0), (19, 0, 20, 1))
    file = io.BytesIO()
    picture.save(file, "PNG")
    shown = Pictures(Path("/nowhere"), {"TERM": "foot"}).shown(Picture("image/png", file.getvalue()))
    rows = drawn(shown)
    red, blue, white = (100, 0, 0), (0, 0, 100), (100, 100, 100)
    assert rows[0] == [red] * 19 + [white]  # What is transparent is white.
    assert rows[1:7] == [[red] * 20] * 6
    assert rows[7:] == [[blue] * 3 + [red] * 17] * 2


def test_a_large_picture_is_made_smaller_and_a_huge_or_broken_one_is_not_drawn() -> None:
    file = io.BytesIO()
    Image.new("L", (4000, 1000)).save(file, "PNG")
    assert sixels(file.getvalue()).startswith('\x1bPq"1;1;800;200#')
    huge = bytearray(file.getvalue())
    huge[16:24] = struct.pack(">II", 50_000, 50_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(huge[12:29]))
    for broken in (
        bytes(huge),
        file.getvalue()[:200],
        HOSTILE,
        b"",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ):
        assert sixels(broken) == ""

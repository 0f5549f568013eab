"""Draws a picture as sixels (DEC's graphics of the VT340), for terminals that know no newer protocol.

Pillow reads the picture. It is installed with the extra `sandbox`; without it, no picture is drawn.
"""

import io
import re

__all__ = ["sixels"]

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
MOST_PIXELS = 20_000_000
"""Of a picture that is read. Its header says how many it has, before any of them is decoded."""
WIDEST, TALLEST = 800, 600
COLOURS = 128
BAND = 6
"""Rows that one line of sixels draws: each character has a bit for each of them."""

_CHARACTERS = bytes(63 + bits if bits < 64 else 0 for bits in range(256))
_REPEATED = re.compile(rb"([?-~])\1{3,}")


def sixels(data: bytes) -> str:
    """The sequence that draws the picture, at most 800×600 pixels; empty if it cannot be read.

    The sequence is made of the pixels, so that nothing in `data` can end it.
    """
    try:
        from PIL import Image
    except ImportError:
        return ""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                return ""
            opened.thumbnail((WIDEST, TALLEST))
            picture = Image.new("RGB", opened.size, "white")
            shown = opened.convert("RGBA")
            picture.paste(shown, mask=shown)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow's errors for broken files
        return ""
    reduced = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    palette = reduced.getpalette() or []
    width, height = reduced.size
    pixels = reduced.tobytes()
    rows = [pixels[at : at + width] for at in range(0, width * height, width)]
    used = sorted(set(pixels))
    colours = "".join(
        f"#{each};2;" + ";".join(str(round(value * 100 / 255)) for value in palette[3 * each : 3 * each + 3])
        for each in used
    )
    bands = "-".join(_band(rows[at : at + BAND], width) for at in range(0, height, BAND))
    return f'\x1bPq"1;1;{width};{height}{colours}{bands}\x1b\\\n'


def _band(rows: list[bytes], width: int) -> str:
    """Draws up to six rows: for each colour one pass over the line, with a bit for each row that has the colour."""
    passes = []
    for colour in sorted(set(b"".join(rows))):
        is_colour = bytes(value == colour for value in range(256))
        # A row's bits are added as one long number: no byte of it exceeds 63, so none runs into its neighbour.
        bits = sum(int.from_bytes(row.translate(is_colour)) << place for place, row in enumerate(rows))
        line = bits.to_bytes(width).translate(_CHARACTERS)
        passes.append(f"#{colour}{_REPEATED.sub(_shortened, line).decode()}")
    return "$".join(passes)


def _shortened(repeated: "re.Match[bytes]") -> bytes:
    return b"!%d%s" % (len(repeated[0]), repeated[1])

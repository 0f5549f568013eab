"""Saves pictures that code displayed, and shows them in terminals that can.

Which terminal it is, is read from the environment: asking the terminal itself would have to wait for an answer that may
never come. Inside tmux and screen, which pass no pictures on, none is shown.
"""

import base64
import binascii
import hashlib
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeact.cli.sixel import sixels

__all__ = ["Picture", "Pictures", "protocol_of"]

SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "image/svg+xml": "svg"}
MOST_CHARS = 40_000_000
SHOWN_BYTES = 4_000_000
"""A larger picture is saved, but not sent to the terminal."""
CHUNK = 4_096
KITTY = ("xterm-kitty", "xterm-ghostty")
ITERM = ("iTerm.app", "WezTerm")
SIXEL = ("foot", "mlterm", "contour", "yaft")
"""How `TERM` begins in terminals that always draw sixels."""
KONSOLE_WITH_SIXEL = 220_400


def protocol_of(environment: Mapping[str, str]) -> str | None:
    """How this terminal shows pictures: `kitty`, `iterm2`, `sixel`, or None if it does not, or if that is not known."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or environment.get("STY") or term.startswith(("screen", "tmux", "dumb")):
        return None
    if term in KITTY or environment.get("KITTY_WINDOW_ID") or program == "ghostty":
        return "kitty"
    if program in ITERM or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    konsole = environment.get("KONSOLE_VERSION", "")
    is_konsole = konsole.isascii() and konsole.isdigit() and int(konsole[:9]) >= KONSOLE_WITH_SIXEL
    return "sixel" if term.startswith(SIXEL) or program == "mintty" or is_konsole else None


class Picture:
    """The first image of a MIME bundle: its type and its bytes."""

    def __init__(self, kind: str, data: bytes) -> None:
        self.kind = kind
        self.data = data

    @classmethod
    def of(cls, bundle: Mapping[str, Any]) -> "Picture | None":
        """None if the bundle has no image whose bytes are in it."""
        for kind in SUFFIXES:
            encoded = bundle.get(kind)
            if not isinstance(encoded, str) or len(encoded) > MOST_CHARS:
                continue
            if kind == "image/svg+xml":
                return cls(kind, encoded.encode(errors="replace"))
            try:
                return cls(kind, base64.b64decode(encoded, validate=False))
            except (binascii.Error, ValueError):
                continue
        return None

    @property
    def size(self) -> str:
        """` WIDTH×HEIGHT` from the header of a PNG (8 bytes of signature, then IHDR); empty if it is none."""
        if self.kind != "image/png" or len(self.data) < 24:
            return ""
        width, height = struct.unpack(">II", self.data[16:24])
        return f" {width}×{height}"


class Pictures:
    """Saves to a folder, which is created with the first picture. `environment` is that of the terminal."""

    def __init__(self, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._protocol = protocol_of(environment)

    def save(self, picture: Picture) -> Path:
        """Saves the picture under a name made of its content; returns the path. Raises `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{hashlib.sha256(picture.data).hexdigest()[:16]}.{SUFFIXES[picture.kind]}"
        if not path.exists():
            path.write_bytes(picture.data)
        return path

    def shown(self, picture: Picture) -> str:
        """What draws the picture at the cursor of this terminal; empty if it cannot.

        The picture is encoded anew, so that nothing in them can end the sequence.
        """
        if len(picture.data) > SHOWN_BYTES or picture.kind == "image/svg+xml":
            return ""
        if self._protocol == "sixel":
            return sixels(picture.data)
        encoded = base64.b64encode(picture.data).decode()
        if self._protocol == "iterm2":
            return f"\x1b]1337;File=inline=1;size={len(picture.data)}:{encoded}\x07\n"
        if self._protocol != "kitty" or picture.kind != "image/png":
            return ""
        chunks = [encoded[at : at + CHUNK] for at in range(0, len(encoded), CHUNK)]
        first, last = "f=100,a=T,q=2,", len(chunks) - 1
        return (
            "".join(
                f"\x1b_G{first if index == 0 else ''}m={int(index < last)};{chunk}\x1b\\"
                for index, chunk in enumerate(chunks)
            )
            + "\n"
        )

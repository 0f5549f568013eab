"""Draws outputs of code on an operator's page, without running or loading anything in them."""

import base64
import html
import io
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pandas as pd
import streamlit as st
import structlog
from PIL import Image

from codeact.dashboard import reading
from codeact.dashboard.drawing.markup import plain, prose, revealed
from codeact.dashboard.drawing.tables import lines_of, read_table
from codeact.errors import NotFound, StoreUnavailable
from codeact.exports.inline import whole_output
from codeact.observations.plaintext import excerpt
from codeact.store.records import Blob
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Output, Stream, fold

__all__ = ["TEXT_CHARS", "draw"]

log = structlog.get_logger(__name__)

TEXT_CHARS = 20_000
MOST_PIXELS = 50_000_000
TALL_PX, TABLE_PX = 420, 320
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
FRAME = (
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    "<style>body{font:14px system-ui;background:#fff;color:#111}</style>"
)
NUMBER = re.compile(r"[-+]?[\d.,]+(?:e[-+]?\d+)?%?|nan|NaN|None|<NA>|")
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def draw(outputs: list[Output], owner: str) -> None:
    """Draws each output in its richest safe form. Live outputs are first combined as in a notebook."""
    for output in fold(outputs):
        try:
            _one(output, owner)
        except StoreUnavailable:
            raise
        except Exception:  # A library failed to draw it; the rest of the page should still appear.
            log.exception("an output could not be drawn", output_type=type(output).__name__)
            st.caption("This output cannot be shown here; *json* above has it as it was stored.")


def _one(output: Output, owner: str) -> None:
    match output:
        case Stream(name=name, text=text):
            _text(text, warn=name == "stderr")
        case Error():
            _error(output)
        case DisplayData() | ExecuteResult():
            _rich(output, owner)


def _text(text: str, *, warn: bool = False) -> None:
    shown = revealed(excerpt(text, TEXT_CHARS))
    if not shown.strip():
        return
    if warn:
        st.caption("stderr")
    st.code(shown, language=None, wrap_lines=True, height=TALL_PX if shown.count("\n") > 25 else "content")


def _error(error: Error) -> None:
    st.error(f"**{plain(error.ename, 80)}**: {plain(excerpt(error.evalue, 500), 500)}")
    if error.traceback:
        with st.expander("Traceback"):
            _text("\n".join(error.traceback))


def _rich(output: DisplayData | ExecuteResult, owner: str) -> None:
    def get_blob(sha256: str) -> Blob | None:
        try:
            return reading.blob(sha256, owner)
        except NotFound:
            return None

    whole = whole_output(output, get_blob)
    assert isinstance(whole, DisplayData | ExecuteResult)
    _bundle(whole.data)


def _bundle(data: Mapping[str, Any]) -> None:
    for mime in IMAGES:
        if mime in data and (image := _decoded(data[mime])) is not None:
            st.image(image)
            return
    if isinstance(svg := data.get("image/svg+xml"), str):
        # As an image, because browsers neither run nor load anything inside images.
        st.image(f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}")
    elif isinstance(markup := data.get("text/html"), str):
        _html(markup)
    elif isinstance(latex := data.get("text/latex"), str):
        st.latex(latex.strip().strip("$"))
    elif isinstance(markdown := data.get("text/markdown"), str):
        st.markdown(prose(markdown))
    elif "application/json" in data:
        _json(data["application/json"])
    else:
        _text(str(data.get("text/plain", f"(shown as {', '.join(data)})")))


def _json(value: Any) -> None:
    """As a tree, unless it is too large for a browser."""
    text = (
        str(bytes(value), "utf-8", "replace") if isinstance(value, msgspec.Raw) else msgspec.json.encode(value).decode()
    )
    if len(text) <= TEXT_CHARS:
        st.json(text, expanded=1)
    else:
        _text(text)


def _html(markup: str) -> None:
    table = read_table(markup)
    if table is None:
        _isolated(markup)
        return
    names, rows = table
    numbers = {
        name: st.column_config.TextColumn(alignment="right")
        for place, name in enumerate(names)
        if all(NUMBER.fullmatch(row[place]) for row in rows)
    }
    st.dataframe(
        pd.DataFrame(rows, columns=names),
        hide_index=True,
        height=TABLE_PX if len(rows) > 8 else "content",
        column_config=numbers,
    )


def _isolated(markup: str) -> None:
    """In a frame within a frame: the inner one has its own origin, runs no scripts and loads nothing."""
    inner = html.escape(FRAME + markup, quote=True)
    # The frame cannot report its height, so it is estimated from the number of lines.
    lines = lines_of(markup)
    height_px = TABLE_PX if lines is None else min(TABLE_PX, 60 + 26 * lines)
    style = f"width:100%;height:{height_px - 20}px;border:0"
    frame = f'<iframe sandbox="" style="{style}" title="output" srcdoc="{inner}"></iframe>'
    st.iframe(frame, height=height_px, alt="Output of the code")


def _decoded(text: Any) -> bytes | None:
    """The bytes if they are an image of reasonable size (decoding a huge one would fill our memory); otherwise None."""
    try:
        data = base64.b64decode(text)
        with Image.open(io.BytesIO(data)) as image:
            return data if image.width * image.height <= MOST_PIXELS else None
    except (TypeError, ValueError, SyntaxError, OSError, Image.DecompressionBombError):
        return None

"""What code showed, on a page of operators: outputs enter and are drawn; nothing of theirs runs or loads anything."""

import base64
import binascii
import html
from collections.abc import Mapping
from typing import Any

import anyio
import pandas as pd
import streamlit as st

from codeact.errors import NotFound
from codeact.exports.inline import whole_output
from codeact.plaintext import excerpt
from codeact.store.records import Blob
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Output, Stream, fold
from streamlit_app import reading
from streamlit_app.markup import plain, prose
from streamlit_app.tables import read_table

__all__ = ["TEXT_CHARS", "draw"]

TEXT_CHARS = 20_000
TALL_PX, TABLE_PX = 420, 320
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
FRAME = (
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    "<style>body{font:14px system-ui;background:#fff;color:#111}</style>"
)
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def draw(outputs: list[Output], owner: str) -> None:
    """Each output, in its richest form that is safe to show; live ones as a notebook would hold them."""
    for output in fold(outputs):
        match output:
            case Stream(name=name, text=text):
                _text(text, warn=name == "stderr")
            case Error():
                _error(output)
            case DisplayData() | ExecuteResult():
                _rich(output, owner)


def _text(text: str, *, warn: bool = False) -> None:
    shown = excerpt(text, TEXT_CHARS)
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
    async def get_blob(sha256: str) -> Blob | None:
        try:
            return reading.blob(sha256, owner)
        except NotFound:
            return None

    whole = anyio.run(whole_output, output, get_blob)
    assert isinstance(whole, DisplayData | ExecuteResult)
    _bundle(whole.data)


def _bundle(data: Mapping[str, Any]) -> None:
    for mime in IMAGES:
        if mime in data and (image := _decoded(data[mime])) is not None:
            st.image(image)
            return
    if isinstance(svg := data.get("image/svg+xml"), str):
        encoded = base64.b64encode(svg.encode()).decode()
        _isolated(f"<img alt='' style='max-width:100%' src='data:image/svg+xml;base64,{encoded}'>")
    elif isinstance(markup := data.get("text/html"), str):
        _html(markup)
    elif isinstance(latex := data.get("text/latex"), str):
        st.latex(latex.strip().strip("$"))
    elif isinstance(markdown := data.get("text/markdown"), str):
        st.markdown(prose(markdown))
    elif "application/json" in data:
        st.json(data["application/json"], expanded=1)
    else:
        _text(str(data.get("text/plain", f"(shown as {', '.join(data)})")))


def _html(markup: str) -> None:
    table = read_table(markup)
    if table is None:
        _isolated(markup)
        return
    names, rows = table
    st.dataframe(pd.DataFrame(rows, columns=names), hide_index=True, height=TABLE_PX if len(rows) > 8 else "content")


def _isolated(markup: str) -> None:
    """In a frame within a frame: the inner one has an origin of its own, runs no scripts and loads nothing."""
    inner = html.escape(FRAME + markup, quote=True)
    style = f"width:100%;height:{TABLE_PX - 20}px;border:0"
    frame = f'<iframe sandbox="" style="{style}" title="output" srcdoc="{inner}"></iframe>'
    st.iframe(frame, height=TABLE_PX, alt="Output of the code")


def _decoded(text: Any) -> bytes | None:
    try:
        return base64.b64decode(text) or None
    except (binascii.Error, TypeError, ValueError):
        return None

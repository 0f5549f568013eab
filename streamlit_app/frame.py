"""What every page has around it: a title enters; errors leave as sentences, emptiness as what to do about it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st
import structlog

from codeact.errors import CodeActError
from streamlit_app import login
from streamlit_app.markup import plain

__all__ = ["LONGEST", "empty", "guarded", "live", "title"]

LONGEST = 1_000

log = structlog.get_logger(__name__)


@contextmanager
def guarded() -> Iterator[None]:
    """Shows an error as a sentence in place of what would have come; ours say how to mend it."""
    try:
        yield
    except CodeActError as error:
        st.error(plain(error.message, LONGEST), icon=":material/error:")
    except Exception:
        log.exception("a page of the dashboard failed")
        st.error("This page failed; the log of `codeact dashboard` tells where. Reload it to try again.")


def live(every_s: float | None, show: Callable[[], None]) -> None:
    """Shows something, and again every so many seconds, alone; None: once."""

    @st.fragment(run_every=every_s)
    def fragment() -> None:
        with guarded():
            if login.admitted():
                show()

    fragment()


def title(text: str, caption: str) -> None:
    st.title(text, anchor=False)
    st.caption(caption)


def empty(what: str, todo: str) -> None:
    """Says what is not there, and what to do about it."""
    st.info(f"**{what}** {todo}", icon=":material/inbox:")

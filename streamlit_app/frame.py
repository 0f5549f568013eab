"""What all pages share: a title, errors as sentences, and hints if there is nothing to show."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import streamlit as st
import structlog

from codeact.dashboard import login
from codeact.dashboard.bridge import ask
from codeact.dashboard.drawing.markup import plain
from codeact.errors import CodeActError, StoreUnavailable

__all__ = ["LONGEST", "empty", "guarded", "live", "title"]

LONGEST = 1_000
RETRY_S = 3.0

log = structlog.get_logger(__name__)


@contextmanager
def guarded() -> Iterator[None]:
    """Shows an error as a sentence instead of the page. Our own errors say what to do.

    If the database does not answer, the page reloads by itself when it answers again.
    """
    try:
        yield
    except StoreUnavailable as error:
        st.error(plain(error.message, LONGEST), icon=":material/database_off:")
        _wait_for_store()
    except CodeActError as error:
        st.error(plain(error.message, LONGEST), icon=":material/error:")
    except Exception:
        log.exception("a page of the dashboard failed")
        st.error("This page failed; the log of `codeact dashboard` has the reason. Reload it to try again.")


@st.fragment(run_every=RETRY_S)
def _wait_for_store() -> None:
    st.caption("The page returns automatically as soon as the database answers.")
    if st.session_state.pop("store_is_away", False):
        with suppress(CodeActError):
            ask(lambda store: store.ping())
            st.rerun()
    st.session_state["store_is_away"] = True


def live(every_s: float | None, show: Callable[[], None]) -> None:
    """Runs `show` now, and then every `every_s` seconds without the rest of the page; None: only once."""

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
    """Says what is missing and what to do about it."""
    st.info(f"**{what}** {todo}", icon=":material/inbox:")

"""Decides who may see the history: anybody on loopback, otherwise holders of an operator's key."""

import streamlit as st

from codeact.dashboard.bridge import ask, settings
from codeact.loopback import is_loopback
from codeact.store import Store

__all__ = ["admitted", "given_key", "sign_out_button"]

KEY = "operator_key"


def admitted() -> bool:
    """Whether this session may continue: on loopback always, elsewhere with an operator's key.

    The key is looked up each time, so that revoking it ends every session. Shows the form if the key is missing or
    refused.
    """
    if not _is_needed():
        return True
    key = given_key()
    if key is not None and _is_operators(key):
        return True
    if key is not None:
        del st.session_state[KEY]
    _form(refused=key is not None)
    return False


def given_key() -> str | None:
    """The key that was entered in this session, for the server's API."""
    key: str | None = st.session_state.get(KEY)
    return key


def sign_out_button() -> None:
    """Shown if somebody has signed in."""
    if given_key() is not None and st.sidebar.button("Sign out", icon=":material/logout:", width="stretch"):
        del st.session_state[KEY]
        st.rerun()


def _is_needed() -> bool:
    is_required = settings().require_keys is True
    return is_required or not is_loopback(st.get_option("server.address"))


def _is_operators(key: str) -> bool:
    async def find(store: Store) -> bool:
        credential = await store.access.find(key)
        return credential is not None and credential.kind == "key" and credential.operator

    return ask(find)


def _form(*, refused: bool) -> None:
    _, middle, _ = st.columns([1, 2, 1])
    with middle, st.form("login"):
        st.subheader("codeact history")
        key = st.text_input("Operator's key", type="password", placeholder="codeact_…")
        entered = st.form_submit_button("Sign in", type="primary")
        st.caption("`codeact keys create --owner you --operator` makes one.")
        if entered and key.strip():
            st.session_state[KEY] = key.strip()
            st.rerun()
        if refused:
            st.error("This is not an operator's key, or it was revoked.")

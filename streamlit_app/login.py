"""Decides who may see the history: anybody on loopback, otherwise operators: by key, session or proxy."""

import streamlit as st

from codeact.dashboard.bridge import ask, settings
from codeact.dashboard.proxied import proxied
from codeact.login_settings import SECURE_PREFIX, SESSION_COOKIE
from codeact.loopback import is_loopback
from codeact.store import Credential, Store

__all__ = ["admitted", "given_key", "session_secret", "sign_out_button"]

KEY = "operator_key"


def admitted() -> bool:
    """Whether this session may continue: on loopback always, elsewhere for operators.

    An operator has an operator's key, or has signed in at the chat in this browser, or at a proxy. All are looked up
    each time, so that revoking the key or ending the session ends this one. Shows the form if none is there.
    """
    if not _is_needed():
        return True
    key, session = given_key(), session_secret()
    if (key is not None and _is_operators(key)) or (session is not None and _is_operators(session, kind="session")):
        return True
    person = proxied()
    if person is not None and person.role in ("operator", "admin"):
        return True
    if key is not None:
        del st.session_state[KEY]
    is_signed_in = person is not None or (session is not None and _is_known(session))
    _form(refused=key is not None, is_signed_in=is_signed_in)
    return False


def session_secret() -> str | None:
    """The browser's session of the chat, whose cookie reaches this dashboard too if both are on the same host."""
    if not settings().people_sign_in:
        return None
    cookies = st.context.cookies
    is_secure = (settings().public_url or "").startswith("https:")
    return cookies.get(f"{SECURE_PREFIX}{SESSION_COOKIE}" if is_secure else SESSION_COOKIE) or None


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
    is_required = settings().require_keys is True or settings().people_sign_in
    return is_required or not is_loopback(st.get_option("server.address"))


def _find(secret: str) -> Credential | None:
    async def find(store: Store) -> Credential | None:
        return await store.access.find(secret)

    return ask(find)


def _is_operators(secret: str, *, kind: str = "key") -> bool:
    credential = _find(secret)
    if credential is None or credential.kind != kind or not credential.operator:
        return False
    return kind == "key" or credential.parent_id == settings().login_parent


def _is_known(session: str) -> bool:
    credential = _find(session)
    return credential is not None and credential.kind == "session"


def _form(*, refused: bool, is_signed_in: bool) -> None:
    _, middle, _ = st.columns([1, 2, 1])
    with middle, st.form("login"):
        st.subheader("codeact history")
        if is_signed_in:
            st.warning("You are signed in, but only operators see the history. Ask an admin for that role.")
        elif settings().oidc_issuer is not None and settings().public_url is not None:
            st.link_button("Sign in", f"{(settings().public_url or '').rstrip('/')}/login?next=dashboard")
        key = st.text_input("Operator's key", type="password", placeholder="codeact_…")
        entered = st.form_submit_button("Sign in with the key", type="primary")
        st.caption("`codeact keys create --owner you --operator` makes one.")
        if entered and key.strip():
            st.session_state[KEY] = key.strip()
            st.rerun()
        if refused:
            st.error("This is not an operator's key, or it was revoked.")

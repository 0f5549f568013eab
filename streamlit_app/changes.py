"""Makes the changes that the dashboard allows, through the server's API.

Changes are off until somebody switches them on for their session.
"""

import json
from typing import Any

import streamlit as st

from codeact.cli.commands.conversation import address_and_key
from codeact.dashboard import login
from codeact.dashboard.bridge import run, settings
from codeact.dashboard.drawing.markup import plain
from codeact.errors import CodeActError
from codeact.http_client import request
from codeact.login_settings import SECURE_PREFIX, SESSION_COOKIE

__all__ = ["allowed", "chat_url", "delete", "pin", "server", "stop", "switch"]

KEY = "api_key"


def switch() -> None:
    """Shows the switch in the sidebar, and asks for a key if the server needs one and we have none."""
    with st.sidebar:
        st.toggle(
            "Allow changes", key="changes", help="Stop runs, pin and delete conversations. Else all is read-only."
        )
        if st.session_state["changes"] and _key() is None and login.session_secret() is None:
            st.text_input("API key", type="password", key=KEY, help="Not needed if the server requires none.")


def allowed() -> bool:
    return bool(st.session_state.get("changes"))


def stop(response_id: str, *, owner: str) -> None:
    """Stops a run. Raises `ClientError`, like the other functions here."""
    server("POST", f"responses/{response_id}/cancel", owner=owner)


def pin(conversation_id: str, pinned: bool, *, owner: str) -> None:
    server("PATCH", f"conversations/{conversation_id}", owner=owner, json={"pinned": pinned})


def delete(conversation_id: str, *, owner: str) -> None:
    server("DELETE", f"conversations/{conversation_id}", owner=owner)


def server(method: str, path: str, *, owner: str | None = None, **options: Any) -> Any:
    """The server's answer to a request. `owner`: the owner for whom an operator acts."""
    headers = {"Codeact-Owner": owner} if owner is not None else {}
    if _key() is None and (session := login.session_secret()) is not None:
        headers["Cookie"] = f"{SESSION_COOKIE}={session}; {SECURE_PREFIX}{SESSION_COOKIE}={session}"
    options["headers"] = headers
    address, _ = address_and_key(settings(), None)
    return json.loads(run(request(address, _key(), method, path, **options)))


def chat_url(conversation_id: str) -> str:
    """The address of the chat in which the conversation continues."""
    address, _ = address_and_key(settings(), None)
    return f"{(settings().public_url or address).rstrip('/')}/c/{conversation_id}"


def done(message: str) -> None:
    st.toast(message, icon=":material/check:")


def attempt(change: Any, message: str) -> bool:
    """Makes a change and reports success or the reason of its failure; returns whether it succeeded."""
    try:
        change()
    except CodeActError as error:
        st.error(plain(error.message, 1_000))
        return False
    done(message)
    return True


def _key() -> str | None:
    _, from_settings = address_and_key(settings(), None)
    return login.given_key() or st.session_state.get(KEY) or from_settings

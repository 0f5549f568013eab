"""Finds who has signed in at the proxy before the dashboard: from its headers, by the rules of the server."""

import os
from dataclasses import dataclass

import streamlit as st

from codeact.dashboard.bridge import ask, settings
from codeact.login_settings import PROXY
from codeact.networks import is_in
from codeact.roles import Role, highest, role_of
from codeact.store import Person, Store
from codeact.store.repositories.people import owner_of_subject

__all__ = ["FORWARDED", "Proxied", "proxied"]

FORWARDED = "FORWARDED_ALLOW_IPS"
"""The variable of uvicorn, which serves Streamlit. Unless it is empty, a header can change whose address it is."""
MOST_USER_CHARS, MOST_GROUPS_CHARS = 255, 16_000


@dataclass(frozen=True, slots=True)
class Proxied:
    """`role` None: this person may not use the server, or is disabled."""

    owner: str
    role: Role | None


def proxied() -> Proxied | None:
    """The person whom a trusted proxy names; None if the connection comes from elsewhere, or names nobody.

    The headers are those with which the page was opened. What an admin changes is looked up each time.
    """
    header = settings().login_header
    peer = st.context.ip_address or "127.0.0.1"  # Streamlit gives no address for connections from this machine.
    if header is None or os.environ.get(FORWARDED) != "" or not is_in(peer, settings().trusted_proxies):
        return None
    user = _one(header, MOST_USER_CHARS)
    if not user:
        return None
    email = _one(settings().login_header_email, MOST_USER_CHARS)
    groups = _one(settings().login_header_groups, MOST_GROUPS_CHARS)
    names = frozenset(filter(None, (one.strip() for one in groups.split(","))))
    role = role_of(settings().login_rules, groups=names, email=email)
    owner = owner_of_subject(PROXY, user)

    async def find(store: Store) -> Person | None:
        return await store.people.get(owner)

    person = ask(find)
    if role is None or (person is not None and person.disabled):
        return Proxied(owner, None)
    return Proxied(owner, highest(role, person.granted if person is not None else None))


def _one(name: str | None, most_chars: int) -> str:
    """The header's value; empty if it is missing, or came as no proxy sends it: twice, too long, or unprintable."""
    values = st.context.headers.get_all(name) if name is not None else []
    text = values[0].strip() if len(values) == 1 else ""
    return text if len(text) <= most_chars and text.isprintable() else ""

"""A conversation as a file: a conversation and a format enter, the file's bytes leave, made when they are asked for."""

from functools import partial

import streamlit as st

from codeact.errors import NotFound
from codeact.exports import archive_pieces, markdown, notebook
from codeact.store import Blob, Conversation, Store
from streamlit_app.bridge import ask

__all__ = ["buttons", "exported"]

FORMATS = {"ipynb": "application/x-ipynb+json", "md": "text/markdown", "json": "application/json"}


def buttons(conversation: Conversation) -> None:
    """One for each format."""
    name = (conversation.title or "Conversation").rstrip(".…")
    for kind, mime in FORMATS.items():
        st.download_button(
            kind,
            partial(exported, conversation, kind),
            file_name=f"{name}.{kind}",
            mime=mime,
            icon=":material/download:",
            on_click="ignore",
            key=f"export-{kind}",
        )


def exported(conversation: Conversation, kind: str) -> bytes:
    """A notebook and Markdown show the latest branch, JSON all of them (docs/history.md)."""

    async def export(store: Store) -> bytes:
        owner = conversation.owner

        async def get_blob(sha256: str) -> Blob | None:
            try:
                return await store.get_blob(sha256, owner=owner)
            except NotFound:
                return None

        if kind == "json":
            responses = await store.history.responses(conversation.id, owner=owner)
            return b"".join([piece async for piece in archive_pieces(conversation, responses, get_blob)])
        last = conversation.last_response_id
        thread = await store.thread(last, owner=owner) if last is not None else []
        write = markdown if kind == "md" else notebook
        return await write(conversation.title or "Conversation", thread, get_blob)

    return ask(export)

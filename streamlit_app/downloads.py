"""Makes a conversation's file when somebody downloads it."""

from functools import partial

import anyio.from_thread
import anyio.to_thread
import streamlit as st

from codeact.dashboard import trail
from codeact.dashboard.bridge import ask
from codeact.errors import NotFound
from codeact.exports import archive_pieces, markdown, notebook
from codeact.store import Blob, Conversation, Store

__all__ = ["buttons", "exported"]

FORMATS = {"ipynb": "application/x-ipynb+json", "md": "text/markdown", "json": "application/json"}


def buttons(conversation: Conversation) -> None:
    """One download button for each format."""
    reader = trail.reader()  # here, because the files are made outside of the session's script
    name = (conversation.title or "Conversation").rstrip(".…")
    for kind, mime in FORMATS.items():
        st.download_button(
            kind,
            partial(exported, conversation, kind, reader),
            file_name=f"{name}.{kind}",
            mime=mime,
            icon=":material/download:",
            on_click="ignore",
            key=f"export-{kind}",
        )


def exported(conversation: Conversation, kind: str, reader: trail.Reader) -> bytes:
    """The conversation's file. A notebook and Markdown contain the latest branch, JSON all branches (docs/history.md).

    Records the download in the audit log.
    """
    reader.record(f"dashboard.export {kind}", conversation.id, owner=conversation.owner)

    async def export(store: Store) -> bytes:
        owner = conversation.owner

        async def get_blob(sha256: str) -> Blob | None:
            try:
                return await store.get_blob(sha256, owner=owner)
            except NotFound:
                return None

        if kind == "json":
            responses = await store.turns.stream(conversation.id, owner=owner)
            return b"".join([piece async for piece in archive_pieces(conversation, responses, get_blob)])
        last = conversation.last_response_id
        thread = await store.thread(last, owner=owner) if last is not None else []
        write = markdown if kind == "md" else notebook
        title = conversation.title or "Conversation"

        def get_blob_from_thread(sha256: str) -> Blob | None:
            return anyio.from_thread.run(get_blob, sha256)

        return await anyio.to_thread.run_sync(write, title, thread, get_blob_from_thread)

    return ask(export)

"""Reading something in the dashboard is recorded in the audit log."""

from collections.abc import Callable
from typing import Any

import pytest

from codeact.errors import StoreUnavailable
from codeact.settings import Settings
from codeact.store import AuditEntry, open_store
from tests.server.conftest import Running
from tests.streamlit_app.conftest import conversation_of
from tests.streamlit_app.test_login import exposed

pytest.importorskip("streamlit", reason="make install-dashboard")
pytestmark = pytest.mark.anyio

__all__ = ["exposed"]
App = Callable[..., Any]


async def entries(subject: str, action: str) -> list[AuditEntry]:
    async with open_store(Settings.load()) as store:
        return [entry for _, entry in await store.access.audit(subject=subject, action=action)]


async def key_of(owner: str) -> tuple[str, str]:
    async with open_store(Settings.load()) as store:
        credential, secret = await store.access.create_key(owner=owner, name="", operator=True)
    return credential.id, secret


def signed_in(exposed: App, secret: str, conversation_id: str) -> Any:
    page = exposed("conversation", id=conversation_id)
    page.text_input[0].set_value(secret)
    page.button[0].click().run()
    assert [one.value for one in page.title] != ["Conversation"]
    return page


async def test_what_is_opened_and_exported_in_the_dashboard_is_in_the_audit_log(exposed: App, server: Running) -> None:
    from codeact.dashboard.downloads import exported
    from codeact.dashboard.trail import Reader

    conversation_id = conversation_of(server, "fibonacci")
    key_id, secret = await key_of("olga")
    page = signed_in(exposed, secret, conversation_id)
    page.run()
    found = await entries(conversation_id, "dashboard.conversation")
    [entry] = [one for one in found if one.credential_id == key_id]  # once, though the page ran three times
    assert (entry.owner, entry.credential_id, entry.status) == ("local", key_id, 200)

    async with open_store(Settings.load()) as store:
        conversation = await store.history.get(conversation_id)
    assert exported(conversation, "md", Reader(secret, "192.0.2.7"))
    [entry] = [one for one in await entries(conversation_id, "dashboard.export md") if one.credential_id == key_id]
    assert (entry.owner, entry.credential_id, entry.address) == ("local", key_id, "192.0.2.7")


async def test_the_owner_s_own_conversation_is_not(exposed: App, server: Running) -> None:
    conversation_id = conversation_of(server, "fibonacci")
    before = await entries(conversation_id, "dashboard.conversation")
    _, secret = await key_of("local")
    signed_in(exposed, secret, conversation_id)
    assert await entries(conversation_id, "dashboard.conversation") == before


async def test_where_no_key_is_asked_for_a_read_is_recorded_without_one(app: App, server: Running) -> None:
    conversation_id = conversation_of(server, "sine")
    page = app("conversation", id=conversation_id)
    assert len(page.exception) == 0
    assert None in [entry.credential_id for entry in await entries(conversation_id, "dashboard.conversation")]


def test_a_page_comes_though_its_entry_cannot_be_stored(
    app: App, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codeact.store.repositories.access import Access

    async def refuse(self: Access, entries: object) -> None:
        raise StoreUnavailable("The database is away.")

    monkeypatch.setattr(Access, "record", refuse)
    page = app("conversation", id=conversation_of(server, "fibonacci"))
    assert [one.value for one in page.error] == []
    assert [one.value for one in page.title] != ["Conversation"]


def test_a_session_remembers_a_bounded_number_of_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    from codeact.dashboard import trail

    state: dict[str, Any] = {}
    recorded: list[str] = []
    monkeypatch.setattr(trail.st, "session_state", state)
    monkeypatch.setattr(trail.Reader, "record", lambda self, action, subject, owner: recorded.append(subject))
    monkeypatch.setattr(trail, "reader", lambda: trail.Reader(None, ""))
    for number in (*range(trail.MOST_REMEMBERED + 5), trail.MOST_REMEMBERED, 0):
        trail.opened("read", str(number), owner="ann")
    assert len(state[trail.KEY]) == trail.MOST_REMEMBERED
    assert recorded == [*map(str, range(trail.MOST_REMEMBERED + 5)), "0"]

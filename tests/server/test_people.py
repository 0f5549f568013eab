"""People in the database: sessions and keys end with their account; settings let neither nobody nor everybody in."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from codeact.cli.commands import keys
from codeact.errors import ConfigurationError, InvalidRequest
from codeact.roles import Role
from codeact.settings import Settings
from codeact.store import Credential, OwnerLimits, Person, Store
from tests.openid import oidc_settings
from tests.server.conftest import Work


async def somebody(store: Store, subject: str, *, issuer: str = "moment", role: Role = "user") -> Person:
    return await store.people.sign_in(issuer=issuer, subject=subject, name="", email="", role=role)


def session_of(store: Store, person: Person) -> Awaitable[tuple[Credential, str]]:
    return store.people.create_session(person, parent_id="login-", lasts=timedelta(hours=1), address="", browser="")


def test_no_session_begins_after_all_were_ended(in_store: Callable[[Work], None]) -> None:
    async def work(store: Store) -> None:
        person = await somebody(store, "late")
        changes: list[dict[str, Any] | None] = [None, {"granted": "admin"}, {"granted": None}, {"disabled": True}]
        for change in changes:
            if change is None:
                await store.people.shut_out(person.owner)
            else:
                await store.people.change(person.owner, change)
            with pytest.raises(InvalidRequest):
                await session_of(store, person)
            assert await store.people.sessions(person.owner) == []
            person = await somebody(store, "late")

    in_store(work)


def test_no_key_is_made_after_the_session_was_ended(in_store: Callable[[Work], None]) -> None:
    async def work(store: Store) -> None:
        person = await somebody(store, "keyless")
        session, _ = await session_of(store, person)
        await store.people.shut_out(person.owner)
        for session_id in (session.id, None):
            with pytest.raises(InvalidRequest):
                await store.people.create_key(person.owner, name="x", lasts=None, session_id=session_id)
            assert await store.people.keys(person.owner) == []
            await store.people.change(person.owner, {"disabled": True})

    in_store(work)


def test_a_key_that_is_revoked_gives_no_more_sessions(in_store: Callable[[Work], None]) -> None:
    async def work(store: Store) -> None:
        access, person = store.access, await somebody(store, "revoked")
        now, none, hour = datetime.now(UTC), OwnerLimits(), timedelta(hours=1)
        made, _ = await store.people.create_key(person.owner, name="x", lasts=hour, session_id=None)
        below: Any = {"parent_id": made.id, "owner": person.owner, "limits": none}
        secret = await access.create_session(**below, operator=False, lasts=hour)
        assert await access.find(secret) is not None
        # The key has expired; the session that was made from it ends with the account all the same.
        expired = {"$set": {"expires_at": now - hour}}
        await store.people._credentials.get_pymongo_collection().update_one({"_id": made.id}, expired)
        await store.people.change(person.owner, {"disabled": True})
        assert await access.find(secret) is None
        with pytest.raises(InvalidRequest):
            await access.create_session(**below, operator=False, lasts=hour)
        with pytest.raises(InvalidRequest):
            await access.create_embed_session(**below, origin="x", expires_at=now + hour, account_limits=none)

    in_store(work)


def test_only_admins_of_today_keep_a_new_one_from_coming(in_store: Callable[[Work], None]) -> None:
    async def work(store: Store) -> None:
        for issuer, granted in (("admins of before", "admin"), ("admins by rule", None)):
            person = await somebody(store, "root", issuer=issuer, role="admin")
            await store.people.change(person.owner, {"granted": granted})
        issuers = ["admins by rule"]
        assert not await store.people.has_admin(issuers, by_rules=False)
        assert await store.people.has_admin(issuers, by_rules=True)
        code = await store.people.create_setup_code()
        assert not await store.people.use_setup_code(code, ["admins of before"])
        assert await store.people.use_setup_code(code, issuers)
        code = await store.people.create_setup_code()
        await store.people.delete_setup_codes()
        assert not await store.people.use_setup_code(code, issuers)

    in_store(work)


def test_a_key_has_a_name_that_a_terminal_can_show(in_store: Callable[[Work], None]) -> None:
    async def work(store: Store) -> None:
        person = await somebody(store, "named")
        for name in ("a\x1b[2Jb", "a\nb", "a\u202eb"):
            with pytest.raises(InvalidRequest) as refused:
                await store.people.create_key(person.owner, name=name, lasts=None, session_id=None)
            assert refused.value.param == "name"
            with pytest.raises(InvalidRequest):
                await store.access.create_key(owner="x", name=name)

    in_store(work)


def test_the_list_of_keys_shows_any_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    key = Credential("key_1", "key", "[/y]", "[/x]\x1b[2J", False, "codeact_a…", now, None, None, None, OwnerLimits())
    monkeypatch.setattr(keys, "_with_store", lambda settings, ask: [key])
    keys.show(Settings(), as_json=False)
    shown = capsys.readouterr().out
    assert "[/x][2J" in shown
    assert "[/y]" in shown
    assert "\x1b[2J" not in shown


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"login_users": "", "login_operators": "", "login_admins": ""}, "CODEACT_LOGIN_USERS"),
        ({"oidc_issuer": "http://provider.example"}, "CODEACT_OIDC_ISSUER"),
        ({"oidc_issuer": "https://provider.example/?x"}, "CODEACT_OIDC_ISSUER"),
        ({"oidc_issuer": ""}, "CODEACT_LOGIN_USERS"),
        ({"oidc_client_id": ""}, "CODEACT_OIDC_CLIENT_ID"),
        ({"oidc_scopes": "profile"}, "CODEACT_OIDC_SCOPES"),
        ({"host": "0.0.0.0"}, "CODEACT_PUBLIC_URL"),
        ({"login_header": "Remote-User"}, "CODEACT_TRUSTED_PROXIES"),
    ],
)
def test_settings_that_let_nobody_or_anybody_in_are_refused(changes: dict[str, Any], name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(data_dir=tmp_path, **oidc_settings("https://provider.example") | changes)
    assert refused.value.param == name

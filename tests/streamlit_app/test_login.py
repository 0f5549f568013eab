"""Who may use a dashboard that listens on more than loopback."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from codeact.settings import Settings
from codeact.store import Store, open_store

pytest.importorskip("streamlit", reason="make install-dashboard")
pytestmark = pytest.mark.anyio


@pytest.fixture
def exposed(app: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    from streamlit import config

    config.set_option("server.address", "0.0.0.0")
    yield app
    config.set_option("server.address", "127.0.0.1")


async def key_of(store: Store, *, operator: bool) -> tuple[str, str]:
    credential, secret = await store.access.create_key(owner="ann", name="", operator=operator)
    return credential.id, secret


def is_inside(page: Any) -> bool:
    return [one.value for one in page.title] == ["Overview"]


async def test_an_operators_key_opens_the_dashboard_until_it_is_revoked(exposed: Callable[..., Any]) -> None:
    async with open_store(Settings.load()) as store:
        key_id, secret = await key_of(store, operator=True)
        page = exposed()
        assert not is_inside(page)
        assert len(page.get("vega_lite_chart")) == 0
        page.text_input[0].set_value(secret)
        page.button[0].click().run()
        assert is_inside(page)
        await store.access.revoke_key(key_id)
        page.run()
        assert not is_inside(page)
        assert "revoked" in page.error[0].value


async def test_other_keys_do_not(exposed: Callable[..., Any]) -> None:
    async with open_store(Settings.load()) as store:
        _, secret = await key_of(store, operator=False)
        for given in ("wrong", secret):
            page = exposed()
            page.text_input[0].set_value(given)
            page.button[0].click().run()
            assert not is_inside(page)
            assert "not an operator's key" in page.error[0].value


def test_no_address_means_every_address(exposed: Callable[..., Any]) -> None:
    from streamlit import config

    config.set_option("server.address", None)
    assert not is_inside(exposed())


class Context:
    """The connection of a page: the headers with which it was opened, and whose address it is."""

    def __init__(self, address: str | None, *headers: tuple[str, str]) -> None:
        self.ip_address = address
        self.headers = self
        self.cookies: dict[str, str] = {}
        self._headers = headers

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self._headers if key.lower() == name.lower()]


USER, GROUPS = "X-Forwarded-User", "X-Forwarded-Groups"
BOB = (USER, "bob")


@pytest.fixture
def connected(exposed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Opens the dashboard from this address with these headers, as a proxy sends them."""
    import streamlit

    from codeact.dashboard import bridge

    for name, value in {
        "CODEACT_LOGIN_HEADER": USER,
        "CODEACT_LOGIN_HEADER_GROUPS": GROUPS,
        "CODEACT_LOGIN_USERS": "*",
        "CODEACT_LOGIN_OPERATORS": "ops",
        "CODEACT_TRUSTED_PROXIES": "10.0.0.5,127.0.0.1",
        "FORWARDED_ALLOW_IPS": "",
    }.items():
        monkeypatch.setenv(name, value)

    def open_page(address: str | None, *headers: tuple[str, str]) -> Any:
        monkeypatch.setattr(streamlit, "context", Context(address, *headers))
        bridge.settings.clear()  # `st.cache_resource` keeps those of an earlier test.
        page = exposed()
        assert [one.value for one in page.exception] == []
        return page

    yield open_page
    bridge.settings.clear()


async def test_who_has_signed_in_at_a_proxy_sees_the_history_by_the_same_roles(connected: Callable[..., Any]) -> None:
    for address in ("10.0.0.5", "::ffff:10.0.0.5", None):
        assert is_inside(connected(address, BOB, (GROUPS, "staff, ops")))
    refused = connected("10.0.0.5", BOB, (GROUPS, "staff"))
    assert not is_inside(refused)
    assert "only operators" in refused.warning[0].value


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("10.0.0.6", [BOB, (GROUPS, "ops")]),
        ("10.0.0.5", [(GROUPS, "ops")]),
        ("10.0.0.5", [BOB, ("x-forwarded-user", "eve"), (GROUPS, "ops")]),
        ("10.0.0.5", [BOB, (GROUPS, "ops"), (GROUPS, "staff")]),
        ("10.0.0.5", [(USER, "b\x00b"), (GROUPS, "ops")]),
        ("10.0.0.5", [(USER, "b" * 300), (GROUPS, "ops")]),
    ],
)
async def test_headers_of_others_and_headers_that_came_twice_let_nobody_in(
    connected: Callable[..., Any], address: str, headers: list[tuple[str, str]]
) -> None:
    assert not is_inside(connected(address, *headers))


async def test_headers_do_not_count_where_another_one_could_change_the_address(
    connected: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS")
    assert not is_inside(connected("10.0.0.5", BOB, (GROUPS, "ops")))


async def test_what_an_admin_changes_counts_at_the_next_step(connected: Callable[..., Any]) -> None:
    async with open_store(Settings.load()) as store:
        person = await store.people.sign_in(issuer="proxy", subject="bob", name="bob", email="", role="user")
        page = connected("10.0.0.5", BOB, (GROUPS, "staff"))
        assert not is_inside(page)
        await store.people.change(person.owner, {"granted": "operator"})
        assert is_inside(page.run())
        await store.people.change(person.owner, {"disabled": True})
        assert not is_inside(page.run())

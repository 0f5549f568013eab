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

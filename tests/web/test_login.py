"""A person signs in with a real provider in the browser, makes a key, and signs out."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.openid import oidc_settings, openid_provider
from tests.server.conftest import Running, in_thread
from tests.web.chat import Chat

NOT_YET = ("401 (Unauthorized)", "4401", "fonts.googleapis.com")
"""What the browser's console says while nobody is signed in, and on the provider's own pages."""


@pytest.fixture(scope="module")
def with_people(make_server: Callable[..., Running]) -> Iterator[Running]:
    with openid_provider() as issuer:
        yield in_thread(lambda: make_server(pool_min=0, **oidc_settings(issuer)))


def enter(page: Page, name: str) -> None:
    """Signs in on the provider's own pages."""
    page.get_by_role("link", name="Sign in with Test provider").click()
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def test_a_person_signs_in_makes_a_key_and_signs_out(
    with_people: Running, visit: Callable[..., Chat], tmp_path: Path
) -> None:
    page = visit(f"{with_people.url}/", expected=NOT_YET).page
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    enter(page, "alice")
    page.wait_for_url(f"{with_people.url}/")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Settings").first.click()
    dialog = page.get_by_role("dialog", name="Settings")
    expect(dialog.get_by_text("Alice · alice@example.com User")).to_be_visible()
    dialog.get_by_label("What for").fill("<b>my laptop</b>")
    dialog.get_by_role("button", name="Make a key").click()
    secret = dialog.locator(".made code").inner_text()
    assert secret.startswith("codeact_")
    expect(dialog.get_by_text("<b>my laptop</b>")).to_be_visible()
    page.screenshot(path=tmp_path / "settings.png")
    headers = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{with_people.url}/v1/models", headers=headers, trust_env=False).status_code == 200
    expect(dialog.get_by_text("This browser")).to_be_visible()
    assert page.evaluate("document.cookie") == ""
    dialog.get_by_role("button", name="Revoke <b>my laptop</b>").click()
    expect(dialog.get_by_text("<b>my laptop</b>")).to_have_count(0)
    assert httpx.get(f"{with_people.url}/v1/models", headers=headers, trust_env=False).status_code == 401
    dialog.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in with Test provider")).to_be_visible()


def test_a_sign_in_that_did_not_work_is_a_page_that_says_so(with_people: Running, visit: Callable[..., Chat]) -> None:
    page = visit(f"{with_people.url}/login/callback?code=x&state=y", expected=("400 (Bad Request)", *NOT_YET)).page
    expect(page.get_by_role("heading", name="You are not signed in")).to_be_visible()
    page.get_by_role("link", name="Back to the chat").click()
    expect(page.get_by_role("link", name="Sign in with Test provider")).to_be_visible()

"""Scenes of dialogs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from playwright.sync_api import expect

from tests.web.chat import Chat
from tests.web.scenes.stage import Stage


def of_the_page(stage: Stage) -> Iterator[Chat]:
    """Each dialog of the page."""
    chat = stage.visit(stage.scripted)
    expect(chat.page.get_by_label("Model", exact=True)).to_be_visible()
    dialog = chat.page.get_by_role("dialog")
    for name in ("Settings", "Keyboard shortcuts"):
        stage.open_list(chat)
        chat.page.get_by_role("button", name=name, exact=True).click()
        expect(chat.page.get_by_role("dialog", name=name)).to_be_visible()
        yield chat
        chat.page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        stage.close_list(chat)
    chat.page.keyboard.press("Control+.")
    expect(chat.page.get_by_role("dialog", name="Commands")).to_be_visible()
    yield chat
    chat.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    chat.page.get_by_role("button", name="This conversation").click()
    expect(chat.page.get_by_role("dialog", name="This conversation")).to_be_visible()
    yield chat


PROFILES = (
    {
        "name": "Sales analyst",
        "description": "Knows our regions, and answers with a chart.",
        "instructions": "Our year begins in April. Answer with one chart and one sentence.",
        "effort": "high",
    },
    {"name": "Proofreader", "description": "Finds mistakes and leaves the style alone.", "instructions": "Be brief."},
)


@contextmanager
def saved(stage: Stage) -> Iterator[list[dict[str, Any]]]:
    """Keeps the profiles for a scene."""
    with httpx.Client(base_url=stage.scripted, trust_env=False, timeout=60) as client:
        given = {"file": ("regions.csv", b"region,head\nnorth,Kim\n")}
        file = client.post("/v1/files", files=given, data={"purpose": "user_data"}).raise_for_status().json()
        extra = ({"file_ids": [file["id"]]}, {})
        made = [client.post("/v1/profiles", json=one | more).json() for one, more in zip(PROFILES, extra, strict=True)]
        yield made
        for one in made:
            client.delete(f"/v1/profiles/{one['id']}").raise_for_status()
        client.delete(f"/v1/files/{file['id']}").raise_for_status()


def profiles(stage: Stage) -> Iterator[Chat]:
    """Profiles: one is chosen, all are listed, one is changed, and somebody else opens the link to it."""
    with saved(stage):
        chat = stage.visit(stage.scripted)
        chat.page.get_by_role("button", name="Sales analyst").click()
        expect(chat.page.locator(".model")).to_contain_text("Sales analyst")
        yield chat
        chat.page.keyboard.press("Control+.")
        chat.page.get_by_role("combobox", name="Commands").fill("profiles")
        chat.page.keyboard.press("Enter")
        chat.page.get_by_role("button", name="Share Sales analyst").click()
        chat.page.get_by_role("button", name="Make a link").click()
        link = chat.page.get_by_label("Link", exact=True)
        expect(link).to_be_visible()
        address = link.input_value()
        yield chat
        chat.page.get_by_role("button", name="Edit Sales analyst").click()
        expect(chat.page.get_by_text("regions.csv")).to_be_visible()
        chat.page.get_by_role("button", name="Add a server").click()
        chat.page.get_by_label("Name of the server").fill("wiki")
        chat.page.get_by_label("Address of the server").fill("https://wiki.example/mcp")
        yield chat
        other = stage.visit(address)
        expect(other.page.get_by_role("dialog", name="Sales analyst")).to_contain_text("regions.csv")
        yield other

"""Profiles in the page: made, chosen, kept with the conversation, shared by link and copied by another person."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.server.conftest import Running
from tests.web.chat import Chat, example

pytestmark = pytest.mark.browser

ASKED = """async () => {
    const { data } = await (await fetch(`/v1/conversations/${location.pathname.split("/").at(-1)}/responses`)).json();
    return data.filter(({ input }) => input.length).map(({ response }) => response);
}"""


def enter(chat: Chat, key: str) -> None:
    chat.page.get_by_label("API key").fill(key)
    chat.page.keyboard.press("Enter")


def asked(chat: Chat) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chat.page.evaluate(ASKED)
    return found


def test_a_profile_is_made_asked_with_shared_and_copied_by_another_person(
    locked: Running, visit: Callable[..., Chat], tmp_path: Path
) -> None:
    chat = visit(locked.url, expected=("401", "400", "404"))
    enter(chat, "secret")
    chat.page.get_by_role("button", name="Settings", exact=True).click()
    chat.page.get_by_role("button", name="Manage profiles").click()
    chat.page.get_by_role("button", name="New profile").click()
    dialog = chat.page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("Sales")
    dialog.get_by_label("What for").fill("Reads our sales.")
    dialog.get_by_label("Instructions").fill("Answer in rhymes.")
    dialog.get_by_label("Effort").select_option("high")
    given = tmp_path / "sales.csv"
    given.write_text("1,2")
    dialog.locator("input[type=file]").set_input_files(given)
    expect(dialog.get_by_text("sales.csv · 3 B")).to_be_visible()
    dialog.get_by_role("button", name="Add a server").click()
    dialog.get_by_label("Name of the server").fill("wiki")
    dialog.get_by_label("Address of the server").fill("https://wiki.example/mcp?key=sk")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("holds no keys")  # and what was typed is still there
    dialog.get_by_role("button", name="Remove wiki").click()
    dialog.get_by_role("button", name="Save").click()

    expect(dialog.get_by_role("button", name="Edit Sales")).to_be_visible()
    change = """fields => fetch("/v1/profiles").then((answer) => answer.json()).then(({ data: [{ id }] }) => fetch(
        `/v1/profiles/${id}`, { method: "PATCH", headers: { "Content-Type": "application/json" }, body: fields }
    )).then((answer) => answer.json()).then(({ effort, model }) => [effort, model])"""
    by_api = '{"effort": "xhigh", "model": "elsewhere/large"}'
    assert chat.page.evaluate(change, by_api) == ["xhigh", "elsewhere/large"]
    chat.page.reload()
    chat.page.get_by_role("button", name="Settings", exact=True).click()
    chat.page.get_by_role("button", name="Manage profiles").click()
    dialog.get_by_role("button", name="Edit Sales").click()
    dialog.get_by_label("What for").fill("Reads sales.")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_text("Reads sales.")).to_be_visible()
    assert chat.page.evaluate(change, "{}") == ["xhigh", "elsewhere/large"]
    chat.page.evaluate(change, '{"effort": "high", "model": ""}')

    dialog.get_by_role("button", name="Share Sales").click()
    dialog.get_by_label("Copies also get the contents of sales.csv").check()
    dialog.get_by_role("button", name="Make a link").click()
    link = dialog.get_by_label("Link").input_value()
    dialog.get_by_role("button", name="Begin with Sales").click()
    expect(chat.page.get_by_role("button", name="Sales", exact=True)).to_have_attribute("aria-pressed", "true")
    chat.ended(chat.ask(example("fibonacci")))
    chat.page.reload()
    expect(chat.page.locator(".model")).to_contain_text("Sales")
    chat.ended(chat.ask(example("fibonacci")))
    for response in asked(chat):
        assert (response["instructions"], response["reasoning"]["effort"]) == ("Answer in rhymes.", "high")
        assert len(response["tools"][0]["container"]["file_ids"]) == 1

    other = visit(link, expected=("401",))
    enter(other, "other")
    shared = other.page.get_by_role("dialog", name="Sales")
    expect(shared).to_contain_text("Answer in rhymes.")
    expect(shared).to_contain_text("sales.csv · 3 B")
    shared.get_by_role("button", name="Copy and begin").click()
    expect(other.page.get_by_role("button", name="Sales", exact=True)).to_have_attribute("aria-pressed", "true")
    other.ended(other.ask(example("fibonacci")))
    assert asked(other)[0]["instructions"] == "Answer in rhymes."
    other.page.get_by_role("button", name="This conversation").click()
    other.page.get_by_role("dialog").get_by_label("Profile").select_option("None")
    other.page.keyboard.press("Escape")
    other.ended(other.ask(example("fibonacci")))
    assert asked(other)[-1]["instructions"] is None

    chat.page.keyboard.press("Control+.")
    chat.page.get_by_role("combobox", name="Commands").fill("profiles")
    chat.page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Delete Sales").click()
    dialog.get_by_role("button", name="Delete?").click()
    expect(dialog.get_by_text("You have no profile yet.")).to_be_visible()
    chat.page.goto(link)
    expect(dialog.get_by_role("alert")).to_contain_text("link was revoked")

"""Scenes of what is done with a conversation: said meanwhile, edited, found, deleted, rated, shared."""

from collections.abc import Iterator

from playwright.sync_api import expect

from tests.model_server import Gate
from tests.web.chat import Chat
from tests.web.scenes.stage import Stage


def steering(stage: Stage) -> Iterator[Chat]:
    gate = Gate()
    stage.model.reset()
    stage.model.reply("I take the average of the last", gate, " seven days.")
    stage.model.reply("Then I take the **median**, which a single outlier does not move.")
    chat = stage.visit(stage.scripted)
    answer = chat.ask("Smooth the curve")
    expect(answer.locator(".prose")).to_contain_text("last")
    chat.box.fill("Better the median, there are outliers")
    chat.page.keyboard.press("Enter")
    expect(chat.page.locator(".waits .bubble")).to_be_visible()
    yield chat
    gate.open()
    expect(chat.answers).to_have_count(2)
    chat.ended(chat.answers.last)
    yield chat


def branch_and_edit(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("Name a prime", "**7** is one.")
    chat.page.locator(".bubble").hover()
    chat.page.get_by_role("button", name="Edit", exact=True).click()
    stage.script("**104,729** is the ten-thousandth.")
    chat.page.get_by_label("Edit your question").fill("Name a large prime")
    chat.page.keyboard.press("Enter")
    expect(chat.answers.locator(".prose")).to_contain_text("104,729")
    chat.ended(chat.answers)
    yield chat
    chat.page.locator(".bubble").hover()
    chat.page.get_by_role("button", name="Edit", exact=True).click()
    yield chat


def menu_and_bin(stage: Stage) -> Iterator[Chat]:
    """The menu of a conversation, the folder it can get, and the bin into which it goes."""
    chat, _ = stage.ask("Compare three sorting algorithms", "Merge sort is the steadiest.")
    stage.open_list(chat)
    actions = chat.page.get_by_role("button", name="Actions for Compare").first
    actions.click()
    expect(chat.page.get_by_role("menuitem", name="Rename")).to_be_visible()
    yield chat
    chat.page.get_by_role("menuitem", name="Folder").click()
    expect(chat.page.get_by_label("Folder", exact=True)).to_be_focused()
    yield chat
    chat.page.keyboard.press("Escape")
    expect(chat.page.get_by_role("dialog")).to_have_count(0)
    actions.click()
    chat.page.get_by_role("menuitem", name="Delete").click()
    stage.open_list(chat)
    expect(chat.page.get_by_role("button", name="Undo")).to_be_visible()
    yield chat
    chat.page.get_by_role("button", name="Bin").click()
    expect(chat.page.get_by_role("dialog").get_by_role("button", name="Restore").first).to_be_visible()
    yield chat


def search(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("Draw the orbit of Halley's comet", "It is long and thin.")
    stage.open_list(chat)
    chat.page.get_by_label("Search conversations").fill("comet")
    # The list before the search has the same title; its excerpt comes with the search's answer.
    expect(chat.page.locator(".entry[data-here] .excerpt mark")).to_have_text("comet")
    yield chat


def export_and_feedback(stage: Stage) -> Iterator[Chat]:
    chat, answer = stage.ask("How far is the Moon?", "**384,400 km** on average.")
    chat.page.get_by_role("button", name="Export", exact=True).click()
    expect(chat.page.get_by_role("menuitem", name="Notebook")).to_be_visible()
    yield chat
    chat.page.keyboard.press("Escape")
    answer.get_by_role("button", name="Good answer").click()
    chat.page.get_by_role("dialog").get_by_role("textbox").fill("Short and right")
    yield chat

"""Scenes of what is done with a conversation: said meanwhile, edited, found, deleted, rated, shared."""

from collections.abc import Iterator

from playwright.sync_api import expect

from tests.model_server import Gate
from tests.web.chat import Chat, execute
from tests.web.scenes.answers import TABLE, TABLE_ANSWER, table
from tests.web.scenes.stage import Stage


def bin_dialog(stage: Stage) -> Iterator[Chat]:
    for chat in deleted(stage):
        chat.page.get_by_role("button", name="Bin").click()
        expect(chat.page.get_by_role("dialog").get_by_role("button", name="Restore").first).to_be_visible()
        yield chat


def steered(stage: Stage, *, to_its_end: bool = True) -> Iterator[Chat]:
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
    if not to_its_end:
        yield chat
    gate.open()
    expect(chat.answers).to_have_count(2)
    chat.ended(chat.answers.last)
    if to_its_end:
        yield chat


def steering(stage: Stage) -> Iterator[Chat]:
    yield from steered(stage, to_its_end=False)


def branch(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("Name a prime", "**7** is one.")
    chat.page.locator(".bubble").hover()
    chat.page.get_by_role("button", name="Edit", exact=True).click()
    stage.script("**104,729** is the ten-thousandth.")
    chat.page.get_by_label("Edit your question").fill("Name a large prime")
    chat.page.keyboard.press("Enter")
    expect(chat.answers.locator(".prose")).to_contain_text("104,729")
    chat.ended(chat.answers)
    yield chat


def editing(stage: Stage) -> Iterator[Chat]:
    for chat in branch(stage):
        chat.page.locator(".bubble").hover()
        chat.page.get_by_role("button", name="Edit", exact=True).click()
        yield chat


def menu(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("Compare three sorting algorithms", "Merge sort is the steadiest.")
    stage.open_list(chat)
    chat.page.get_by_role("button", name="Actions for Compare").first.click()
    expect(chat.page.get_by_role("menuitem", name="Rename")).to_be_visible()
    yield chat


def folder(stage: Stage) -> Iterator[Chat]:
    for chat in menu(stage):
        chat.page.get_by_role("menuitem", name="Folder").click()
        expect(chat.page.get_by_label("Folder", exact=True)).to_be_focused()
        yield chat


def deleted(stage: Stage) -> Iterator[Chat]:
    for chat in menu(stage):
        chat.page.get_by_role("menuitem", name="Delete").click()
        stage.open_list(chat)
        expect(chat.page.get_by_role("button", name="Undo")).to_be_visible()
        yield chat


def search(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("Draw the orbit of Halley's comet", "It is long and thin.")
    stage.open_list(chat)
    chat.page.get_by_label("Search conversations").fill("comet")
    # The list before the search has the same title; its excerpt comes with the search's answer.
    expect(chat.page.locator(".entry[data-here] .excerpt mark")).to_have_text("comet")
    yield chat


def ledger(stage: Stage) -> Iterator[Chat]:
    for chat in table(stage):
        chat.answers.get_by_role("button", name="Where the time went").click()
        yield chat


def feedback(stage: Stage) -> Iterator[Chat]:
    chat, answer = stage.ask("How far is the Moon?", "**384,400 km** on average.")
    answer.get_by_role("button", name="Good answer").click()
    chat.page.get_by_role("dialog").get_by_role("textbox").fill("Short and right")
    yield chat


def export(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("How far is the Sun?", "**149.6 million km** on average.")
    chat.page.get_by_role("button", name="Export", exact=True).click()
    expect(chat.page.get_by_role("menuitem", name="Notebook")).to_be_visible()
    yield chat


def share(stage: Stage, question: str = "How far is Mars?", *replies: str) -> Iterator[Chat]:
    chat, _ = stage.ask(question, *(replies or ("**225 million km** on average.",)))
    chat.page.get_by_role("button", name="Share", exact=True).click()
    chat.page.get_by_role("button", name="Make a link").click()
    expect(chat.page.get_by_label("Link", exact=True)).to_be_visible()
    yield chat


def shared(stage: Stage) -> Iterator[Chat]:
    for chat in share(stage, "Sum up the sales", execute(TABLE), TABLE_ANSWER):
        reader = stage.visit(chat.page.get_by_label("Link", exact=True).input_value())
        expect(reader.answers.locator(".prose").last).to_contain_text("Sales grew")
        expect(reader.page.get_by_text("Markdown block")).to_have_count(0)
        yield reader

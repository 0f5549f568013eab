"""Scenes of what goes wrong, and of a server that wants a key."""

from collections.abc import Iterator

from playwright.sync_api import expect

from tests.model_server import Gate
from tests.web.chat import Chat, Line
from tests.web.scenes.stage import Stage


def refused(stage: Stage) -> Iterator[Chat]:
    stage.model.reset()
    stage.model.reply(status=401, error={"message": "no such key"})
    chat = stage.visit(stage.scripted)
    chat.ended(chat.ask("Are you there?"))
    yield chat


def lost(stage: Stage) -> Iterator[Chat]:
    gate = Gate()
    stage.model.reset()
    stage.model.reply("The first three are 2, 3", gate, " and 5.")
    chat = stage.visit(stage.scripted)
    line = Line(chat)
    answer = chat.ask("Name the first three primes")
    expect(answer.locator(".prose")).to_contain_text("2, 3")
    line.cut()
    yield chat
    gate.open()
    line.mend()
    chat.ended(answer)


def missing(stage: Stage) -> Iterator[Chat]:
    chat = stage.visit(f"{stage.scripted}/c/conv_00000000000000000000000000000000", expected=("404",))
    expect(chat.page.get_by_role("alert")).to_be_visible()
    yield chat


def not_isolated(stage: Stage) -> Iterator[Chat]:
    chat = stage.visit(stage.bare)
    expect(chat.page.get_by_role("note").first).to_contain_text("not isolated")
    expect(chat.page.locator(".examples button")).to_have_count(4)
    yield chat


def key(stage: Stage) -> Iterator[Chat]:
    chat = stage.visit(stage.locked, expected=("401", "[DOM]"))
    expect(chat.page.get_by_label("API key")).to_be_visible()
    yield chat

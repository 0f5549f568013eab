"""What waits for approval in the page: approved, changed and rejected by mouse and keys, on a desktop and a phone."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.model_server import ModelServer
from tests.server.conftest import Running, in_thread
from tests.server.test_approvals import MCP_SERVER, connected
from tests.web.axe import serious
from tests.web.chat import AWAY, Chat, execute
from tests.web.window import SIZE

pytestmark = pytest.mark.browser

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
PICTURES = os.environ.get("APPROVAL_PICTURES")
"""A directory for pictures, for whoever wants to look at them."""


@pytest.fixture(scope="module")
def calling(
    make_server: Callable[..., Running], model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Running:
    """A server whose calls wait, with functions of an MCP server."""
    config = tmp_path_factory.mktemp("mcp") / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"sums": {"command": sys.executable, "args": [str(MCP_SERVER)]}}}))

    def make() -> Running:
        server = make_server(
            model="openai/scripted",
            model_api_base=model_server.base_url,
            model_api_key="test",
            approval="calls",
            mcp_config=config,
            checkpoint=True,
        )
        connected(server)
        return server

    return in_thread(make)


def card(chat: Chat) -> Locator:
    return chat.page.get_by_role("region", name="waits for your approval")


def sizes(chat: Chat, name: str) -> Iterator[str]:
    """Makes the page as small as a phone's screen, then as large as before. Nothing is wider than it."""
    for size, viewport in (("phone", PHONE["viewport"]), ("desktop", SIZE)):
        chat.page.set_viewport_size(viewport)
        picture(chat, f"{size}-{name}")
        assert chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        yield size


def picture(chat: Chat, name: str) -> None:
    if PICTURES is not None:
        for theme in ("light", "dark"):
            chat.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            expect(chat.page.locator("html")).to_have_attribute("data-theme", theme)
            chat.page.screenshot(path=Path(PICTURES) / f"approval-{name}-{theme}.png")


def test_code_waits_below_its_cell_through_a_reload_until_it_is_approved_changed_or_rejected(
    asking: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    """On a screen that can be touched, as wide as a desktop's and as a phone's."""
    code = "import shutil\nshutil.rmtree('reports/2023', ignore_errors=True)\nprint('as written')"
    script(execute(code), "The reports are gone.")
    chat = visit(asking.url, has_touch=True)
    answer = chat.ended(chat.ask("Tidy up the reports of 2023."))
    approve = card(chat).get_by_role("button", name="Approve")
    expect(approve).to_be_visible()
    expect(answer.locator(".cell")).to_have_attribute("data-state", "waiting")
    expect(answer.locator(".outputs")).to_have_count(0)
    for size in sizes(chat, "waits"):
        assert serious(chat.page) == []
        if size == "phone":
            assert all(box.bounding_box()["height"] >= 40 for box in card(chat).get_by_role("button").all())  # type: ignore[index]
    chat.page.reload()
    expect(approve).to_be_visible()
    approve.focus()
    chat.page.keyboard.press("y")
    expect(card(chat)).to_have_count(0)
    expect(chat.answers.last.locator(".stdout")).to_contain_text("as written")
    expect(chat.answers.last.locator(".prose")).to_contain_text("The reports are gone.")

    script(execute("print('as written')"), "Changed.")
    chat.ended(chat.ask("Again."))
    expect(approve).to_be_focused()
    chat.page.keyboard.press("e")
    chat.page.keyboard.press("Escape")
    expect(approve).to_be_focused()
    chat.page.keyboard.press("e")
    field = card(chat).get_by_role("textbox", name="What is to run instead")
    expect(field).to_have_value("print('as written')")
    field.fill("print('as changed')")
    for size in sizes(chat, "edit"):
        if size == "phone":
            assert all(box.bounding_box()["height"] >= 40 for box in card(chat).get_by_role("button").all())  # type: ignore[index]
            expect(field).to_have_css("font-size", "16px")  # Safari enlarges the page for a smaller one.
    card(chat).get_by_role("button", name="Run this").click()
    expect(chat.answers.last.locator(".stdout")).to_contain_text("as changed")
    expect(chat.answers.last.locator(".source")).to_contain_text("print('as changed')")

    script(execute("print('never')"), "As you like.")
    chat.ended(chat.ask("And now?"))
    approve.focus()
    chat.page.keyboard.press("n")
    reason = card(chat).get_by_role("textbox")
    reason.fill("Not today.")
    assert list(sizes(chat, "reject")) == ["phone", "desktop"]
    reason.press("Enter")
    expect(chat.answers.last.locator(".prose")).to_contain_text("As you like.")
    expect(chat.page.get_by_text("Rejected. Not today.")).to_be_visible()
    expect(chat.page.get_by_text("never", exact=True)).to_have_count(0)


def test_always_in_this_conversation_is_not_asked_again(
    asking: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    """Who looks elsewhere is told that something waits, and the next time that the answer is there."""
    script(execute("print('first')"), "One.", execute("print('second')"), "Two.")
    granted = 'Notification.permission = "granted"; localStorage.setItem("codeact", \'{"notify": true}\'); leave(true);'
    chat = visit(asking.url, script=AWAY + granted)
    chat.ended(chat.ask("One?"))
    expect(chat.page).to_have_title(re.compile(r"^\(1\) "))
    chat.page.wait_for_function("told.length")
    assert chat.page.evaluate("told") == [["Something waits for your approval", "Let me run this."]]
    card(chat).get_by_role("button", name="Always here").click()
    expect(chat.answers.last.locator(".prose")).to_contain_text("One.")
    answer = chat.ended(chat.ask("Two?"))
    expect(answer.locator(".stdout")).to_contain_text("second")
    expect(card(chat)).to_have_count(0)
    chat.page.wait_for_function("told.length > 2")
    assert chat.page.evaluate("told.map(([title]) => title)")[1:] == ["The answer is ready"] * 2


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_call_waits_until_it_is_approved_changed_or_rejected_by_keys_or_touch(
    calling: Running, script: Callable[..., None], visit: Callable[..., Chat], size: str
) -> None:
    by_touch = size == "phone"
    chat = visit(calling.url, **(PHONE if by_touch else {}))

    def choose(name: str, key: str) -> None:
        button = card(chat).get_by_role("button", name=name)
        if by_touch:
            button.tap()
        else:
            button.focus()
            chat.page.keyboard.press(key)

    def asked(code: str, answer: str) -> None:
        script(execute(code), answer)
        chat.ended(chat.ask(f"For {answer}"))
        expect(card(chat)).to_contain_text("The call of sums.add waits for your approval")

    asked("print('before')\nprint('sum', sums.add(a=1, b=2)['result'])", "Added.")
    expect(card(chat).locator(".source")).to_contain_text('"a": 1')
    picture(chat, f"{size}-call")
    assert serious(chat.page) == []
    assert chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if by_touch:
        assert all(box.bounding_box()["height"] >= 40 for box in card(chat).get_by_role("button").all())  # type: ignore[index]
    # The sandbox expires meanwhile: the code runs again in another one, and shows nothing twice.
    calling.run(partial(calling.state.workspaces.expire, unused_since=time.monotonic() + 3600))
    chat.page.reload()
    choose("Approve", "y")
    expect(chat.answers.last.locator(".prose")).to_contain_text("Added.")
    expect(chat.page.locator(".stdout").last).to_contain_text("sum 3")
    expect(chat.page.locator(".stdout", has_text="before")).to_have_count(1)
    expect(chat.page.get_by_text("The state before the code that waited came back")).to_be_visible()

    asked("print('sum', sums.add(a=3, b=4)['result'])", "Changed.")
    choose("Edit", "e")
    field = card(chat).get_by_role("textbox", name="What is to run instead")
    field.fill("[]")
    expect(card(chat).get_by_role("button", name="Run this")).to_be_disabled()  # A function's arguments are an object.
    field.fill('{"a": 30, "b": 4}')
    if by_touch:
        card(chat).get_by_role("button", name="Run this").tap()
    else:
        field.press("Control+Enter")
    expect(chat.answers.last.locator(".prose")).to_contain_text("Changed.")
    expect(chat.page.locator(".stdout").last).to_contain_text("sum 34")

    asked("print('sum', sums.add(a=5, b=6)['result'])", "As you like.")
    choose("Reject", "n")
    card(chat).get_by_role("textbox").fill("Not today.")
    chat.page.keyboard.press("Enter")
    expect(chat.answers.last.locator(".prose")).to_contain_text("As you like.")
    expect(chat.page.get_by_text("Rejected. Not today.")).to_be_visible()
    expect(chat.page.get_by_text("sum 11")).to_have_count(0)

"""What the page says about its server: that it is starting, busy, not isolated, or has lost a kernel."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.server.conftest import Running
from tests.web.chat import Chat, execute

pytestmark = pytest.mark.browser


def test_a_server_that_does_not_isolate_code_is_known_by_a_banner_that_stays(
    bare: Running, visit: Callable[..., Chat]
) -> None:
    chat = visit(bare.url)
    banner = chat.page.get_by_role("note").filter(has_text="not isolated")
    banner.get_by_text("not isolated").click()
    expect(banner.get_by_text("bubblewrap is not installed")).to_be_visible()
    expect(banner.get_by_role("button", name="Dismiss")).to_have_count(0)


def test_while_a_part_of_the_server_starts_the_page_says_which(starting: Running, visit: Callable[..., Chat]) -> None:
    chat = visit(starting.url, expected=("503",))
    expect(chat.line).to_contain_text("Waiting for the database")


def test_an_answer_that_waits_for_a_sandbox_says_so(
    narrow: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(execute("import time\nprint('here')\ntime.sleep(600)"), execute("print('there')"), "Done.")
    first = visit(narrow.url)
    busy = first.ask("long")
    expect(busy.locator(".stdout")).to_contain_text("here")
    second = visit(narrow.url)
    waiting = second.ask("short")
    expect(waiting.locator(".waiting")).to_contain_text("All sandboxes are in use")
    first.page.keyboard.press("Escape")
    first.ended(busy)
    second.ended(waiting)
    expect(waiting.locator(".stdout")).to_have_text("there\n")


def test_when_the_variables_are_gone_the_next_answer_says_why(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(execute("x = 1"), "Kept.", "Gone.")
    chat = visit(scripted.url)
    chat.ended(chat.ask("keep it"))
    chat.lose_kernel()
    answer = chat.ended(chat.ask("still there?"))
    expect(answer.locator(".notice")).to_contain_text("New kernel")
    expect(answer.locator(".notice")).to_contain_text("container was deleted")

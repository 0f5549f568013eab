"""Themes, phones, keyboards, keys and screen readers."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.web.chat import Chat, example, execute

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}


def test_the_first_load_is_small(demo: Running, visit: Callable[..., Chat]) -> None:
    """The transferred, compressed size. Fonts and mathematics are loaded when they are needed."""
    chat = visit(demo.url, own=True)
    expect(chat.page.locator(".examples button")).to_have_count(4)
    sizes = chat.page.evaluate(
        "performance.getEntries().filter(one => one.encodedBodySize && !one.name.includes('/v1/'))"
        ".map(one => [one.name, one.encodedBodySize])"
    )
    assert sum(size for _, size in sizes) <= 150_000, sizes
    assert len(sizes) > 2


def test_the_theme_is_the_systems_until_it_is_chosen(demo: Running, visit: Callable[..., Chat]) -> None:
    chat = visit(demo.url, color_scheme="dark")
    root = chat.page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    chat.page.emulate_media(color_scheme="light")
    expect(root).to_have_attribute("data-theme", "light")
    chat.page.get_by_role("button", name="Settings").click()
    chat.page.get_by_text("Dark", exact=True).click()
    expect(root).to_have_attribute("data-theme", "dark")
    chat.page.reload()
    expect(root).to_have_attribute("data-theme", "dark")


def test_on_a_phone_nothing_is_wider_than_the_screen(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    long = "x" * 300
    script(f"{long}\n\n" + execute(f"print({long!r})\nraise ValueError({long!r})"), long)
    chat = visit(scripted.url, **PHONE)
    chat.ended(chat.ask(long))
    assert chat.page.evaluate("document.documentElement.scrollWidth") == 390
    chat.page.get_by_role("button", name="Show conversations").click()
    expect(chat.page.get_by_role("navigation")).to_be_in_viewport()
    chat.page.keyboard.press("Escape")
    expect(chat.page.get_by_role("navigation")).not_to_be_in_viewport()


CUT = """() => [...document.querySelectorAll("button, legend, label > span, summary, dt, h2, .hint")]
    .filter(one => one.checkVisibility() && !one.closest(".entry, .chip, .heading, [popover]:not(:popover-open)"))
    .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline")
    .map(one => one.textContent || one.ariaLabel)"""
"""The words of controls that do not fit into them."""


def test_a_german_browser_gets_german_words_that_fit_a_phone(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(execute("print('ja')\nraise ValueError"), "Fertig.")
    chat = visit(scripted.url, locale="de-AT", **PHONE)
    page = chat.page

    def fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate(CUT) == []

    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_role("heading", name="Was soll Python")).to_be_visible()
    fits()
    page.get_by_label("Ihre Frage").fill("Frage")
    expect(page.get_by_role("button", name="Senden")).to_be_enabled()
    page.keyboard.press("Enter")
    answer = page.get_by_role("article", name="Antwort")
    expect(answer).to_have_attribute("aria-busy", "false")
    expect(answer.locator(".cell")).to_contain_text("Fehler")
    fits()
    for name in ("Einstellungen", "Tastenkürzel", "Papierkorb"):
        page.get_by_role("button", name="Unterhaltungen anzeigen").click()
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.get_by_role("dialog", name=name)).to_be_visible()
        fits()
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        expect(page.get_by_role("navigation")).not_to_be_in_viewport()


def test_everything_can_be_done_by_keyboard(demo: Running, visit: Callable[..., Chat]) -> None:
    chat = visit(demo.url)
    keys = chat.page.keyboard
    expect(chat.box).to_be_focused()
    keys.type("What is 6 * 7?")
    keys.press("Shift+Enter")
    keys.press("Backspace")
    expect(chat.send).to_be_enabled()
    keys.press("Enter")
    chat.ended(chat.answers)
    expect(chat.box).to_be_focused()
    keys.press("Control+K")
    expect(chat.page.get_by_label("Search conversations")).to_be_focused()
    for command in (False, True):
        keys.press("Control+B")
        expect(chat.page.get_by_role("navigation")).not_to_be_visible()
        if command:
            keys.press("Control+.")
            chat.page.get_by_role("combobox", name="Commands").fill("search")
        keys.press("Enter" if command else "Control+K")
        expect(chat.page.get_by_label("Search conversations")).to_be_focused()
    keys.press("Control+Shift+O")
    expect(chat.answers).to_have_count(0)
    expect(chat.box).to_be_focused()
    chat.page.get_by_role("button", name=example("plot"), exact=True).focus()
    keys.press("?")
    expect(chat.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    keys.press("Escape")
    expect(chat.page.get_by_role("dialog")).to_have_count(0)
    keys.press("/")
    expect(chat.box).to_be_focused()


def test_a_model_is_chosen_and_kept(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    script("One.", "Two.")
    chat = visit(scripted.url)
    picker = chat.page.get_by_label("Model", exact=True)
    expect(picker.locator("option")).to_have_text(["openai/scripted", "openai/other"])
    chat.ended(chat.ask("first"))
    picker.select_option("openai/other")
    chat.page.reload()
    expect(picker).to_have_value("openai/other")
    chat.ended(chat.ask("second"))
    assert [request.body["model"] for request in model_server.requests] == ["scripted", "other"]


def test_a_key_is_asked_for_once(locked: Running, visit: Callable[..., Chat]) -> None:
    chat = visit(locked.url, expected=("401", "[DOM]"))
    field = chat.page.get_by_label("API key")
    field.fill("wrong")
    chat.page.keyboard.press("Enter")
    expect(chat.page.get_by_role("alert")).to_contain_text("not")
    field.fill("secret")
    chat.page.keyboard.press("Enter")
    expect(field).to_have_count(0)
    chat.ended(chat.ask("What is 6 * 7?"))
    chat.page.reload()
    expect(chat.answers.locator(".prose").last).to_contain_text("42")
    cookies = chat.page.context.cookies()
    assert [(cookie["name"], cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [
        ("codeact_session", True, "Strict")
    ]
    chat.page.get_by_role("button", name="Settings").click()
    chat.page.get_by_role("button", name="Forget the key").click()
    expect(field).to_be_visible()
    assert chat.page.context.cookies() == []

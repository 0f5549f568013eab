"""The embed on pages of other origins: how visitors and host pages use it."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from codeact.server.routes.page import STATIC
from examples.embed.host import create_app
from tests.model_server import Gate, ModelServer
from tests.ports import free_port
from tests.web.axe import serious
from tests.web.chat import Chat, example, execute
from tests.web.hosts import LISTEN, OPEN_ROOTS, Embed, Host, Servers, serving, until
from tests.web.test_connection import process, ready
from tests.web.test_faces import PHONE

pytestmark = pytest.mark.browser

LARGEST_LOADER = 5_000


# ---- what the visitor does ----------------------------------------------------------------------------


def test_one_line_embeds_a_chat_that_outlives_reloads_and_a_killed_server(
    visit: Callable[..., Chat], tmp_path: Path
) -> None:
    """With the example's page and backend, the demo model and a real kernel."""
    host = Host(free_port())
    url = f"http://127.0.0.1:{(port := free_port())}"
    settings = {"CODEACT_API_KEYS": "secret", "CODEACT_EMBED_ORIGINS": host.origin}
    quiet = ("ERR_", "WebSocket", "favicon", "Failed to load")
    with serving(create_app(codeact_url=url, api_key="secret", origin=host.origin), host.port):
        with process(port, tmp_path, **settings) as server:
            embed = Embed(visit("about:blank", script=OPEN_ROOTS, expected=quiet).page)
            ready(url, embed.chat)
            embed.page.goto(host.origin)
            chat = embed.opened()
            embed.frame.get_by_role("button", name=example("table"), exact=True).click()
            chat.ended(chat.answers)
            expect(embed.frame.get_by_role("region", name="Table")).to_contain_text("North")
            embed.page.reload()
            chat = embed.opened()
            expect(chat.answers.locator(".prose").last).to_contain_text("North sells most")
            counting = chat.ask("Count to 100, live")
            expect(counting.locator(".stdout")).to_have_count(0)  # Steps are folded in the embed.
            counting.get_by_role("button", name="Show code").click()
            expect(counting.locator(".stdout")).to_contain_text("3")
            server.kill()
            server.wait(90)
            expect(chat.line).to_contain_text("Reconnecting")
        with process(port, tmp_path, **settings):
            ready(url, chat)
            chat.ended(counting)
            expect(counting.get_by_role("alert")).to_contain_text("server stopped")
            expect(chat.line).to_be_empty()
            expect(chat.ended(chat.ask("What is 6 * 7?")).locator(".prose").last).to_contain_text("42")


def test_pointing_at_the_launcher_prepares_everything_once(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    embed = enter(servers.shop.shows())
    before = len(servers.shop.minted)
    expect(embed.page.locator("iframe")).to_have_count(0)
    embed.launcher.hover()
    embed.hears("ready")
    until(embed.page, lambda: len(servers.claimed) == 1)
    for _ in range(3):
        embed.page.mouse.move(0, 0)
        embed.launcher.hover()
    assert embed.panel.evaluate("panel => getComputedStyle(panel).opacity") == "0"
    embed.launcher.click()
    expect(embed.chat.box).to_be_focused()
    script("At once.")
    embed.chat.ended(embed.chat.ask("hello"))
    assert len(servers.shop.minted) == before + 1
    assert len(servers.claimed) == 1


def test_passing_over_the_launcher_prepares_nothing(servers: Servers, enter: Callable[..., Embed]) -> None:
    embed = enter(servers.shop.shows(), own=True)
    embed.page.clock.install()
    embed.page.reload()
    embed.launcher.hover()
    embed.page.clock.run_for(50)
    embed.page.mouse.move(0, 0)
    embed.page.clock.run_for(1000)
    expect(embed.page.locator("iframe")).to_have_count(0)
    embed.launcher.hover()
    embed.page.clock.run_for(100)
    expect(embed.page.locator("iframe")).to_have_count(1)


def test_a_hover_after_a_reload_claims_no_second_sandbox(servers: Servers, enter: Callable[..., Embed]) -> None:
    embed = enter(servers.shop.shows())
    embed.launcher.hover()
    until(embed.page, lambda: len(servers.claimed) == 1)
    embed.hears("ready")
    embed.page.reload()
    embed.page.evaluate(LISTEN)
    embed.launcher.hover()
    embed.hears("ready")
    embed.opened()
    assert len(servers.claimed) == 1


def test_everything_can_be_done_by_keyboard_and_focus_comes_back(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    script("Hello.")
    embed = enter(servers.shop.shows())
    keys = embed.page.keyboard
    embed.page.locator("#before").focus()
    keys.press("Tab")
    expect(embed.launcher).to_be_focused()
    expect(embed.launcher).to_have_attribute("aria-expanded", "false")
    embed.hears("ready")
    keys.press("Enter")
    expect(embed.chat.box).to_be_focused()
    expect(embed.launcher).to_have_attribute("aria-expanded", "true")
    keys.type("hello")
    expect(embed.chat.send).to_be_enabled()
    keys.press("Enter")
    embed.chat.ended(embed.chat.answers)
    keys.press("Escape")
    expect(embed.launcher).to_be_focused()
    expect(embed.panel).to_have_js_property("inert", True)
    embed.page.locator("#before").focus()
    embed.page.evaluate("codeact.open()")
    expect(embed.chat.box).to_be_focused()
    keys.press("Escape")
    expect(embed.page.locator("#before")).to_be_focused()
    assert len(embed.hears("close", 2)) == 2


def test_escape_stops_the_answer_before_it_closes_the_panel(
    servers: Servers, script: Callable[..., None], model_server: ModelServer, enter: Callable[..., Embed]
) -> None:
    model_server.reply("One,", gate := Gate(), " two.")
    embed = enter(servers.shop.shows())
    answer = embed.opened().ask("count")
    expect(answer.locator(".prose")).to_have_text("One,")
    embed.page.keyboard.press("Escape")
    embed.chat.ended(answer)
    gate.open()
    expect(answer.locator(".remark")).to_have_text("Stopped")
    assert embed.heard("close") == []
    embed.page.keyboard.press("Escape")
    embed.hears("close")


def test_an_answer_that_ends_while_the_panel_is_closed_is_counted_on_the_launcher(
    servers: Servers, script: Callable[..., None], model_server: ModelServer, enter: Callable[..., Embed]
) -> None:
    model_server.reply("One,", gate := Gate(), " two.")
    embed = enter(servers.shop.shows())
    chat = embed.opened()
    expect(chat.ask("count").locator(".prose")).to_have_text("One,")
    embed.launcher.click()
    gate.open()
    assert embed.hears("unread") == [1]
    expect(embed.page.get_by_role("button", name="Open chat, 1 new answer")).to_have_text("1")
    embed.launcher.click()
    expect(embed.launcher).to_have_text("")
    expect(chat.answers.locator(".prose")).to_have_text("One, two.")


def test_a_new_conversation_begins_at_a_button_and_stays_after_a_reload(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    script("First.", "Second.")
    embed = enter(servers.shop.shows())
    chat = embed.opened()
    chat.ended(chat.ask("one"))
    embed.frame.get_by_role("button", name="New conversation").click()
    expect(chat.answers).to_have_count(0)
    chat.ended(chat.ask("two"))
    embed.page.reload()
    expect(embed.opened().answers.locator(".prose")).to_have_text(["Second."])


def test_what_is_typed_before_the_last_conversation_is_there_stays_in_the_box(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    script("First.", "Second.")
    embed = enter(servers.shop.shows())
    embed.chat.ended(embed.opened().ask("one"))
    held: list[Route] = []
    embed.page.route("**/v1/conversations?limit=1", lambda route: held.append(route))
    embed.page.reload()
    embed.opened().box.fill("two")
    until(embed.page, lambda: bool(held))
    held[0].continue_()
    expect(embed.chat.answers.locator(".prose")).to_have_text(["First."])
    expect(embed.chat.box).to_have_value("two")
    embed.chat.send.click()
    expect(embed.chat.answers.locator(".prose")).to_have_text(["First.", "Second."])


def test_pictures_and_files_are_fetched_with_the_token(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    noise = "import random\nfrom PIL import Image\nimage = Image.effect_noise((400, 400), 90)\ndisplay(image)"
    script(execute(f"{noise}\nopen('result.csv', 'w').write('a,b')"), "Done: see result.csv.")
    embed = enter(servers.shop.shows())
    answer = embed.opened().ask("draw")
    embed.chat.ended(answer)
    embed.page.reload()
    answer = embed.opened().answers
    image = answer.locator("img")
    expect(image).to_have_attribute("src", re.compile("^blob:"))
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 400
    with embed.page.expect_download() as download:
        answer.get_by_role("link", name="result.csv").click()
    assert Path(download.value.path()).read_text() == "a,b"


# ---- what the host page does --------------------------------------------------------------------------


def test_without_a_face_the_page_asks_and_hears_each_event(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    script(execute("print(6 * 7)"), "It is 42.", "And 43.")
    embed = enter(servers.shop.shows('data-token-url="/token" data-ui="none"'))
    embed.page.evaluate("window.events = []; window.off = codeact.on('event', (event) => events.push(event)); null")
    embed.page.evaluate("codeact.send('compute')")
    (message,) = embed.hears("message")
    assert (message["text"], message["status"]) == ("It is 42.", "completed")
    events = embed.page.evaluate("events")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["id"] == message["response_id"]
    outputs = [event["output"] for event in events if event["type"] == "codeact:code_interpreter_call.output"]
    assert "".join(output["text"] for output in outputs) == "42\n"
    expect(embed.page.locator("codeact-embed")).to_be_hidden()
    embed.page.evaluate("off(); codeact.open(); codeact.send('more')")
    assert embed.hears("message", 2)[1]["conversation_id"] == message["conversation_id"]
    assert len(embed.page.evaluate("events")) == len(events)
    assert [name for name, _ in embed.page.evaluate("heard")] == ["ready", "message", "message"]


def test_an_answer_that_fails_is_told_to_the_page(
    servers: Servers, script: Callable[..., None], model_server: ModelServer, enter: Callable[..., Embed]
) -> None:
    model_server.reply(status=400, error={"message": "no such model"})
    embed = enter(servers.shop.shows('data-token-url="/token" data-ui="none"'))
    embed.page.evaluate("codeact.send('hello')")
    (error,) = embed.hears("error")
    assert error["message"] == "The model could not answer."
    assert embed.heard("message") == []


def test_destroy_takes_everything_out_and_init_brings_it_back(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    embed = enter(servers.shop.shows('data-token-url="/token" data-title="First"'))
    embed.opened()
    embed.hears("ready")
    embed.page.evaluate("codeact.destroy()")
    expect(embed.page.locator("codeact-embed, iframe, link[rel=preconnect]")).to_have_count(0)
    fetching = "async () => (await (await fetch('/token', {method: 'POST'})).json()).token"
    embed.page.evaluate(f"codeact.init({{title: 'Second', getToken: {fetching}}})")
    script("Again.")
    chat = embed.opened()
    expect(embed.frame.get_by_role("heading", name="Second")).to_be_visible()
    chat.ended(chat.ask("hello"))


def test_the_page_starts_the_embed_itself_where_it_wishes_and_hears_what_is_wrong(
    servers: Servers, enter: Callable[..., Embed]
) -> None:
    embed = enter(servers.shop.shows('data-auto="false" data-token-url="/token"'))
    expect(embed.page.locator("codeact-embed")).to_have_count(0)
    for options, words in (
        ({"theme": "blue"}, "'theme' cannot be \"blue\""),
        ({"colour": "red"}, "no option 'colour'"),
        ({"position": "#nowhere"}, "the page has no '#nowhere'"),
    ):
        said = embed.page.evaluate(
            "options => { try { codeact.init(options) } catch (error) { return error.message } }", options
        )
        assert words in said
    expect(embed.page.locator("codeact-embed")).to_have_count(0)
    embed.page.evaluate("codeact.init()")
    expect(embed.launcher).to_be_visible()


def test_an_element_of_the_page_can_be_the_panel_s_place(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    script("Here.")
    attributes = 'data-token-url="/token" data-position="#place"'
    url = servers.shop.shows(attributes, body='<div id="place"></div>', style="#place { width: 480px; height: 520px }")
    embed = enter(url)
    expect(embed.chat.box).to_be_visible()
    expect(embed.launcher).to_have_count(0)
    expect(embed.frame.get_by_role("button", name="Close")).to_have_count(0)
    box = embed.page.locator("#place iframe").bounding_box()
    assert box is not None
    assert (round(box["width"]), round(box["height"])) == (478, 518)
    embed.hears("ready")
    assert embed.page.evaluate("document.activeElement.tagName") == "BODY"
    assert servers.claimed == set()
    embed.chat.box.click()
    until(embed.page, lambda: len(servers.claimed) == 1)
    embed.chat.ended(embed.chat.ask("hello"))


# ---- how it looks -------------------------------------------------------------------------------------


def test_axe_finds_nothing_serious(servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]) -> None:
    """In the host page with the launcher, and in the panel."""
    script(execute("print('\\x1b[31mred')\nraise ValueError('no')"), "A [link](https://example.org) and `code`.")
    attributes = """data-token-url="/token" data-accent="#f5c518" data-greeting="Hello" data-starters='["One"]'"""
    style = "body { background: Canvas; color: CanvasText } :root { color-scheme: light dark }"
    embed = enter(servers.shop.shows(attributes, style=style))

    def examine(*, panel: bool) -> None:
        for theme in ("light", "dark"):
            embed.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            if panel:
                expect(embed.frame.locator("html")).to_have_attribute("data-theme", theme)
            for frame in embed.page.frames:
                assert serious(frame, only_colours=theme == "dark") == [], theme

    examine(panel=False)
    chat = embed.opened()
    expect(embed.frame.get_by_role("button", name="One")).to_be_enabled()
    examine(panel=True)
    chat.ended(chat.ask("everything"))
    examine(panel=True)


def test_the_page_chooses_theme_colour_and_place(servers: Servers, enter: Callable[..., Embed]) -> None:
    style = ":root { --codeact-accent: rgb(0 90 70); --codeact-radius: 3px; --codeact-offset: 40px }"
    style += "codeact-embed { --codeact-font: Georgia }"
    embed = enter(
        servers.shop.shows('data-token-url="/token" data-theme="dark" data-position="bottom-left"', style=style)
    )
    embed.opened()
    root = embed.frame.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    assert embed.launcher.evaluate("button => getComputedStyle(button).backgroundColor") == "rgb(0, 90, 70)"
    assert embed.panel.evaluate("panel => getComputedStyle(panel).borderRadius") == "3px"
    box = embed.launcher.bounding_box()
    assert box is not None
    assert box["x"] == 40
    assert root.evaluate("root => getComputedStyle(document.body).fontFamily") == "Georgia"
    accent = root.evaluate("root => root.style.getPropertyValue('--accent')")
    assert accent.startswith("rgb(")
    assert accent != "rgb(0 90 70)"  # too dark to be read on dark paper


def test_the_theme_is_the_system_s_unless_the_page_has_chosen(servers: Servers, enter: Callable[..., Embed]) -> None:
    embed = enter(servers.shop.shows(), color_scheme="dark")
    embed.opened()
    expect(embed.frame.locator("html")).to_have_attribute("data-theme", "dark")
    embed.page.emulate_media(color_scheme="light")
    expect(embed.frame.locator("html")).to_have_attribute("data-theme", "light")


def test_on_a_phone_the_panel_takes_the_whole_screen(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    script(execute(f"print({'x' * 300!r})"), "y" * 300)
    embed = enter(servers.shop.shows(), **PHONE)
    embed.launcher.tap()
    expect(embed.chat.box).to_be_visible()
    expect(embed.chat.box).not_to_be_focused()  # its keyboard would cover the half
    embed.chat.ended(embed.chat.ask("wide"))
    assert embed.page.locator("iframe").bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 800}
    assert embed.frame.locator("html").evaluate("root => root.scrollWidth") == 390
    expect(embed.launcher).not_to_be_visible()
    embed.frame.get_by_role("button", name="Close").tap()
    expect(embed.launcher).to_be_visible()


def test_the_loader_is_small_and_needs_nothing_else(page_built: None) -> None:
    loader = (STATIC / "embed.js").read_bytes()
    assert len(gzip.compress(loader, 9)) <= LARGEST_LOADER
    assert not re.search(rb"\bimport\b", loader)

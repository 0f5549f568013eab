"""The plain page in a real Chromium, against a real server with real kernels."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocketRoute, expect, sync_playwright

from codeact.models.demo import EXAMPLES
from tests.model_server import Gate, ModelServer
from tests.needs import missing
from tests.server.conftest import Running

pytestmark = pytest.mark.browser

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=30_000)

OWN = "window.owned = document.title = 'owned'"
HOSTILE = f'<script>{OWN}</script><img src="/none" onerror="{OWN}"><svg onload="{OWN}"></svg>'


@pytest.fixture(scope="module")
def locked(make_server: Callable[..., Running]) -> Running:
    """A server that wants a key."""
    return make_server(api_keys=("secret",), pool_min=0)


@pytest.fixture(scope="module")
def browser(demo: Running, scripted: Running, locked: Running) -> Iterator[Browser]:
    """Comes after every server: while Playwright is open, nothing else can run a loop in this thread."""
    if not CHROMIUM.exists():
        missing("browser", f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def script(model_server: ModelServer) -> Iterator[Callable[..., None]]:
    """Adds what the model says next: texts, each one call of the model; code goes into `execute`."""
    model_server.reset()

    def add(*replies: str) -> None:
        for reply in replies:
            model_server.reply(reply)

    yield add
    model_server.reset()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a server's page. Anything in the browser's console fails the test, unless it is `expected`."""
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(server: Running, *, expected: tuple[str, ...] = (), **options: Any) -> Page:
            context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}} | options)
            stack.callback(context.close)
            page = context.new_page()

            def complain(text: str) -> None:
                if not any(part in text for part in expected):
                    complaints.append(text)

            page.on("console", lambda message: complain(message.text))
            page.on("pageerror", lambda error: complain(str(error)))
            page.goto(server.url)
            return page

        yield open_page
    assert complaints == []


def execute(code: str) -> str:
    return f"Let me run this.\n<execute>\n{code}\n</execute>"


def ask(page: Page, question: str) -> Locator:
    """Types a question; the answer that it gets."""
    page.get_by_label("Your question").fill(question)
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.keyboard.press("Enter")
    return page.locator(".answer").last


def expect_end(answer: Locator) -> None:
    expect(answer.locator(".ledger")).to_be_visible()


def example(word: str) -> str:
    return next(text for text in EXAMPLES if word in text.lower())


def test_an_example_gives_prose_code_output_and_an_answer(demo: Running, visit: Callable[..., Page]) -> None:
    page = visit(demo)
    expect(page.locator("#status")).to_contain_text("demo")
    expect(page.locator("#banners")).to_contain_text("Demo model")
    page.get_by_role("button", name=example("fibonacci")).click()
    answer = page.locator(".answer")
    expect_end(answer)
    expect(answer.locator(".prose").first).to_be_visible()
    expect(answer.locator(".source")).to_contain_text("print")
    expect(answer.locator(".stdout")).to_contain_text("354224848179261915075")
    expect(answer.locator(".prose").last).to_contain_text("354224848179261915075")
    expect(page.locator("#announcer")).to_contain_text("Answer complete")


def test_a_plot_is_shown_as_a_picture(demo: Running, visit: Callable[..., Page]) -> None:
    page = visit(demo)
    page.get_by_role("button", name=example("plot")).click()
    picture = page.locator(".answer img")
    expect(picture).to_be_visible()
    expect_end(page.locator(".answer"))
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_output_is_shown_while_the_code_runs_and_escape_stops_it(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Page]
) -> None:
    script(execute("import time\nfor i in range(600):\n    print('line', i)\n    time.sleep(0.1)"))
    page = visit(scripted)
    answer = ask(page, "count")
    expect(answer.locator(".stdout")).to_contain_text("line 3\n")
    expect(page.get_by_role("button", name="Stop")).to_be_enabled()
    expect(answer.locator(".state")).to_have_text("running")
    page.keyboard.press("Escape")
    expect(answer.locator(".notice")).to_have_text("Stopped.")
    expect(answer.locator(".stdout")).to_contain_text("line 3\n")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_the_stop_button_stops_a_model_that_hangs(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Page]
) -> None:
    model_server.reply("Well,", Gate())
    page = visit(scripted)
    answer = ask(page, "hang")
    expect(answer.locator(".prose")).to_have_text("Well,")
    page.get_by_role("button", name="Stop").click()
    expect(answer.locator(".notice")).to_have_text("Stopped.")


def test_questions_of_one_conversation_build_on_each_other_until_a_new_one(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Page]
) -> None:
    script("One.", "Two.", "Three.")
    page = visit(scripted)
    for question, said in (("first", "One."), ("second", "Two.")):
        answer = ask(page, question)
        expect(answer.locator(".prose")).to_have_text(said)
        expect_end(answer)
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator(".answer")).to_have_count(0)
    expect_end(ask(page, "third"))
    asked = [
        [message["content"] for message in request.messages if message["role"] == "user"]
        for request in model_server.requests
    ]
    assert [len(questions) for questions in asked] == [1, 2, 1]


def test_shift_enter_makes_a_line_and_enter_sends(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Page]
) -> None:
    script("Yes.")
    page = visit(scripted)
    box = page.get_by_label("Your question")
    expect(box).to_be_focused()
    box.fill("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.keyboard.press("Enter")
    expect(page.locator(".question")).to_have_text("one\ntwo")
    expect(box).to_have_value("")
    expect_end(page.locator(".answer"))


def test_markdown_of_the_model_becomes_elements_and_its_html_stays_text(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Page]
) -> None:
    script(f"# Title\n\nA **bold** `word` and:\n- one\n- two\n\n```\nfenced <b>\n```\n\n{HOSTILE}\n\nEnd.")
    page = visit(scripted)
    prose = ask(page, "say").locator(".prose")
    expect(prose.locator("p").last).to_have_text("End.")
    expect(prose.locator("h3")).to_have_text("Title")
    expect(prose.locator("strong")).to_have_text("bold")
    expect(prose.locator("p code")).to_have_text("word")
    expect(prose.locator("li")).to_have_text(["one", "two"])
    expect(prose.locator("pre")).to_have_text("fenced <b>")
    expect(prose).to_contain_text(HOSTILE)
    assert page.evaluate("window.owned") is None


def test_what_code_prints_and_displays_runs_nowhere(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Page]
) -> None:
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><script>{OWN}</script></svg>"
    displays = "; ".join(
        f"display({{{kind!r}: {content!r}}}, raw=True)"
        for kind, content in (
            ("text/html", f"<p>shown</p>{HOSTILE}<iframe srcdoc='{HOSTILE}'></iframe>"),
            ("image/svg+xml", svg),
            ("text/markdown", HOSTILE),
            ("application/javascript", OWN),
        )
    )
    script(execute(f"print({HOSTILE!r})\n{displays}\nraise ValueError({HOSTILE!r})"), "Done.")
    page = visit(scripted, expected=("Content Security Policy", "Blocked script execution"))
    answer = ask(page, "attack")
    expect_end(answer)
    expect(answer.locator(".stdout")).to_have_text(HOSTILE)
    expect(answer.locator(".traceback")).to_contain_text(HOSTILE)
    expect(answer.frame_locator("iframe").get_by_text("shown")).to_be_visible()
    expect(answer.locator("img")).to_have_js_property("naturalWidth", 9)
    assert page.title() == "codeact"
    for frame in page.frames:
        assert frame.evaluate("window.owned") is None


def test_a_dataframe_is_a_table_in_a_frame_without_our_origin(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Page]
) -> None:
    script(execute("import pandas\npandas.DataFrame({'city': ['Rome', 'Oslo']})"), "Done.")
    page = visit(scripted)
    answer = ask(page, "table")
    expect(answer.frame_locator("iframe").locator("td").first).to_have_text("Rome")
    expect_end(answer)
    frame = page.frames[-1]
    assert frame.evaluate("window.origin") == "null"
    assert 50 < answer.locator("iframe").evaluate("frame => frame.offsetHeight") < 300


def test_terminal_output_is_shown_as_a_terminal_would(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Page]
) -> None:
    code = "\n".join(
        (
            "import sys",
            "for i in range(101): print(f'\\r{i}%', end='')",
            "print('\\n\\x1b[32mgreen\\x1b[0m \\x1b]0;title\\x07plain')",
            "print('careful', file=sys.stderr)",
        )
    )
    script(execute(code), "Done.")
    page = visit(scripted)
    answer = ask(page, "progress")
    expect_end(answer)
    expect(answer.locator(".stdout")).to_have_text("100%\ngreen plain", use_inner_text=True)
    expect(answer.locator(".ansi2")).to_have_text("green")
    expect(answer.locator(".stderr")).to_have_text("careful")


def test_thousands_of_lines_are_shown_and_followed(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Page]
) -> None:
    script(execute("for i in range(5000): print('line', i)"), "Done.\n\n" * 40)
    page = visit(scripted)
    answer = ask(page, "much")
    expect_end(answer)
    lines = answer.locator(".stdout").text_content()
    assert lines == "".join(f"line {i}\n" for i in range(5000))
    expect(answer.locator(".ledger")).to_be_in_viewport()


def test_a_failure_is_told_in_the_servers_words(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Page]
) -> None:
    model_server.reply(status=401, error={"message": "no such key"})
    page = visit(scripted)
    answer = ask(page, "fail")
    expect(answer.get_by_role("alert")).to_contain_text("key")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_on_a_phone_nothing_is_wider_than_the_screen(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Page]
) -> None:
    long = "x" * 300
    script(f"{long}\n\n" + execute(f"print({long!r})\nraise ValueError({long!r})"), long)
    page = visit(scripted, viewport={"width": 390, "height": 800}, color_scheme="dark")
    expect_end(ask(page, long))
    assert page.evaluate("document.documentElement.scrollWidth") == 390


class Line:
    """The page's socket, which a test can cut and keep cut."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._routes: list[WebSocketRoute] = []
        self.cut_off = False
        page.route_web_socket("**/v1/responses", self._open)
        page.reload()

    def _open(self, route: WebSocketRoute) -> None:
        if self.cut_off:
            route.close(code=1012)
            return
        self._routes.append(route)
        route.connect_to_server()

    def cut(self) -> None:
        self.cut_off = True
        self._routes[-1].close(code=1012)
        expect(self._page.locator("#line")).to_contain_text("Reconnecting")

    def mend(self) -> None:
        self.cut_off = False
        expect(self._page.locator("#line")).to_be_empty()


def test_an_answer_goes_on_after_a_lost_connection(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Page]
) -> None:
    gate = Gate()
    model_server.reply("One,", gate, " two,", " three.")
    page = visit(scripted)
    line = Line(page)
    answer = ask(page, "count")
    expect(answer.locator(".prose")).to_have_text("One,")
    line.cut()
    gate.open()
    line.mend()
    expect_end(answer)
    expect(answer.locator(".prose")).to_have_text("One, two, three.")


def test_an_answer_whose_events_are_gone_is_shown_as_stored(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Page]
) -> None:
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    script(execute(f"print('before')\ninput_line = open('/dev/null').read()\n{plot}\nprint('after')"), "Done.")
    page = visit(scripted)
    line = Line(page)
    answer = ask(page, "plot")
    expect(answer.locator(".code")).to_be_visible()
    line.cut()
    while scripted.state.runs.live:
        page.wait_for_timeout(50)  # the end of a run is an event of the server's loop, not of this one
    scripted.state.runs._ended.clear()
    line.mend()
    expect_end(answer)
    expect(answer.locator(".prose").last).to_have_text("Done.")
    expect(answer.locator(".stdout").first).to_contain_text("before")
    assert answer.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_a_server_that_wants_a_key_says_where_to_go(locked: Running, visit: Callable[..., Page]) -> None:
    page = visit(locked, expected=("401",))
    expect(page.locator("#line")).to_contain_text("codeact chat")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()

"""The dashboard as `codeact dashboard` starts it, in a real Chromium."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.ports import free_port

pytest.importorskip("streamlit", reason="make install-dashboard")

from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect, sync_playwright

from tests.browser import chromium
from tests.server.conftest import Running
from tests.streamlit_app.conftest import HOSTILE, conversation_of, post

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]  # Other tests use the processors, too.

ODD = "![x](https://tracker.example/x.png) **b** $x^2$ :red[r] <b>i</b> \u202egnp"
LIMIT_MS = 120_000
"""The browser's timeout: on a busy machine, the first page alone has taken over 30 s."""
expect.set_options(timeout=LIMIT_MS)


@pytest.fixture(scope="module")
def hostile(server: Running) -> str:
    """An imported conversation, all of whose parts try to run, load, typeset or hide something."""
    shown = [
        {"text/html": HOSTILE},
        {"image/png": "bm90IGFuIGltYWdl"},
        {"text/markdown": ODD},
        {"text/latex": "\\frac{"},
    ]
    outputs = [{"output_type": "display_data", "data": data, "metadata": {}} for data in shown]
    error = {"output_type": "error", "ename": ODD, "evalue": ODD, "traceback": [ODD]}
    call = {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "container_id": "c",
        "code": "show()",
        "status": "completed",
        "codeact:notebook_outputs": [
            *outputs,
            error,
            {"output_type": "stream", "name": "stdout", "text": "x\n" * 100_000},
        ],
        "codeact:result": {"status": "error", "duration_s": 1.0, "error": error, "error_kind": "runtime"},
    }
    prose = {"type": "output_text", "text": f"{ODD} {HOSTILE} The end."}
    message = {"type": "message", "id": "msg_2", "role": "assistant", "status": "completed", "content": [prose]}
    response = {"id": "resp_1", "created_at": time.time(), "model": ODD, "status": "failed", "output": [call, message]}
    response["error"] = {"code": "model_error", "message": ODD}
    said = {"type": "message", "id": "msg_1", "role": "user", "content": [{"type": "input_text", "text": ODD}]}
    archive = {
        "object": "codeact:conversation",
        "version": 1,
        "conversation": {
            "created_at": 1.0,
            "title": f"hostile {ODD}",
            "tags": [ODD[:40]],
            "metadata": {},
            "last_response_id": "resp_1",
        },
        "responses": [{"response": response, "input": [said]}],
    }
    return str(post(server, "conversations/import", archive)["id"])


@pytest.fixture(scope="module")
def address(environment: dict[str, str], server: Running, hostile: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-c", "from codeact.cli.main import main; main()", "dashboard", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any("URL" in line for line in process.stdout), "it ended before it listened"
        yield f"http://localhost:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Browser]:
    with sync_playwright() as playwright, chromium(playwright) as browser:
        yield browser


def opened(page: Page, url: str, shown: Locator) -> None:
    """Opens a page and waits until it shows this; opens it again if one of its requests is lost before.

    Chromium drops all requests when a container of another test comes or goes (net::ERR_NETWORK_CHANGED), and
    Streamlit does not ask again for the part of the page that draws an element.
    """
    lost: list[str] = []

    def note(request: Request) -> None:
        if "NETWORK_CHANGED" in str(request.failure):
            lost.append(request.url)

    page.on("requestfailed", note)
    page.goto(url)
    while not shown.is_visible():
        if lost:
            print("lost", *lost)
            lost.clear()
            page.goto(url)
        page.wait_for_timeout(100)  # A lost request and a shown element are two events.
    page.remove_listener("requestfailed", note)


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One context for all tests, whose cache has Streamlit's compiled scripts."""
    with browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce") as context:
        context.set_default_timeout(LIMIT_MS)
        yield context


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    """A page. Any request to another host fails the test."""
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    local = (address, address.replace("http", "ws", 1), "data:", "blob:", "about:")
    assert [url for url in asked if not url.startswith(local)] == []


def test_a_search_is_in_the_address_and_a_row_opens_its_conversation(page: Page, address: str) -> None:
    search = page.get_by_role("textbox", name="Search")
    opened(page, f"{address}/conversations", search)
    search.fill("fibonacci")
    search.press("Enter")
    page.wait_for_url("**/conversations?*q=fibonacci*")
    page.reload()
    expect(search).to_have_value("fibonacci")
    table = page.get_by_test_id("stDataFrame")
    expect(table).to_be_visible()
    table.click(position={"x": 200, "y": 52})  # a cell of the row; its checkbox is further left
    page.wait_for_url("**/conversation?*id=conv_*")
    expect(page.get_by_role("heading", name="What is the 100th Fibonacci number?")).to_be_visible()
    expect(page.get_by_text("354224848179261915075").first).to_be_visible()


def test_the_replay_plays_to_its_end(page: Page, address: str, server: Running) -> None:
    fast = page.get_by_text("fast", exact=True)
    opened(page, f"{address}/conversation?id={conversation_of(server, 'fibonacci')}&view=Replay", fast)
    fast.click()
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_text("still answering …")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    expect(page.get_by_text("still answering …")).not_to_be_visible()


def test_nothing_of_a_conversation_runs_loads_or_breaks_the_page(page: Page, address: str, hostile: str) -> None:
    cell = page.frame_locator("iframe").frame_locator("iframe").get_by_text("a", exact=True)
    opened(page, f"{address}/conversation?id={hostile}", cell)
    expect(page.get_by_text("The end.")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text(
        "hostile ![x](https://tracker.example/x.png) **b** $x^2$"
    )
    expect(page.get_by_role("heading", level=1)).to_contain_text("⟨U+202E⟩")
    assert_harmless(page)


@pytest.mark.parametrize("path", ["conversations", "errors?period=24+h", "?period=24+h", "cost?period=24+h"])
def test_no_page_is_broken_by_a_name(page: Page, address: str, hostile: str, path: str) -> None:
    opened(
        page, f"{address}/{path}", page.get_by_test_id("stDataFrame").or_(page.get_by_test_id("stVegaLiteChart")).first
    )
    assert_harmless(page)


def assert_harmless(page: Page) -> None:
    assert page.title() != "owned"
    assert page.evaluate("document.querySelectorAll('[src*=tracker]').length") == 0
    assert page.get_by_text("This page failed").count() == 0
